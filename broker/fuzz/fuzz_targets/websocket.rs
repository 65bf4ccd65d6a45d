#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| stompd_fuzz::target::websocket(data));
