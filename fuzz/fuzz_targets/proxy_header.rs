//! A PROXY header: no input panics, each is read alike however it is cut, and a whole one lies within its bytes and its bound.
#![no_main]

use belfry::server::read_proxy_header;
use libfuzzer_sys::fuzz_target;

/// The longest header that is read, in bytes.
const BYTES_MAX: usize = 4 << 10;

fuzz_target!(|data: &[u8]| {
    let whole = read_proxy_header(data);
    if let Ok(Some(header)) = &whole {
        assert!(header.len <= data.len() && header.len <= BYTES_MAX);
        assert_eq!(read_proxy_header(&data[..header.len]), whole, "what follows the header changes nothing");
    }
    if whole == Ok(None) {
        assert!(data.len() < BYTES_MAX, "who waits for more has room for it");
    }
    // What the bytes that came so far are taken for holds for all that follow.
    for cut in 0..data.len().min(64) {
        match read_proxy_header(&data[..cut]) {
            Ok(None) => {}
            decided => assert_eq!(decided, whole, "cut at {cut}"),
        }
    }
});
