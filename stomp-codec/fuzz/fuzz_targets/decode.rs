#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| stomp_codec_fuzz::decode(data));
