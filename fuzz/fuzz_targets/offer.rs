//! The extension's negotiation takes any header, and its answer is one that it would accept itself (RFC 7692 §7.1).
#![no_main]

use belfry::frame::negotiate;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    for history in [false, true] {
        agree(data, history);
    }
});

fn agree(data: &[u8], history: bool) {
    let Some(agreement) = negotiate(data.split(|&byte| byte == b'\n'), history) else { return };
    assert!((8..=15).contains(&agreement.window.bits));
    let again = negotiate([agreement.response.as_bytes()], history);
    assert_eq!(again.as_ref(), Some(&agreement));
}
