//! A command of the native dialect may be any bytes (PROTOCOL section 3).
#![no_main]

use belfry::dialect::json_read;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    let _ = json_read::request(text);
    if json_read::is_json_text(text) {
        assert!(str::from_utf8(text).is_ok());
    }
});
