// Test data.

export const MEBIBYTE = 1 << 20;
export const MEBIBYTE_OF_TEXT = 'ž🐎'.repeat(Math.floor(MEBIBYTE / 6));
export const MEBIBYTE_OF_BYTES = new Uint8Array(MEBIBYTE).map((_, i) => i);
export const EVERY_BYTE = MEBIBYTE_OF_BYTES.slice(0, 512);
export const NULS = Uint8Array.of(0, 65, 0, 0);

/** A colon in a header as each receiver's stomp.js shows it: at 1.1 it arrives escaped and stomp.js leaves it so. */
export const COLON_SEEN_BY = { '1.2': 'a:b', '1.1': 'a\\cb', '1.0': 'a:b' };
