//! A command of the native dialect may be any bytes, and what is taken for JSON is what a parser takes (PROTOCOL section 3).
#![no_main]

use belfry::dialect::{Command, RequestId, is_json_text, native};
use libfuzzer_sys::fuzz_target;
use serde::de::IgnoredAny;

/// The deepest value that is taken, and the deepest that the parser takes, which refuses deeper ones.
const DEPTH_MAX: usize = 64;
const PARSER_DEPTH_MAX: usize = 127;

fuzz_target!(|text: &[u8]| {
    let depth = depth(text);
    if depth <= PARSER_DEPTH_MAX {
        let is_json = str::from_utf8(text).is_ok_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok());
        assert_eq!(is_json_text(text), is_json && depth <= DEPTH_MAX);
    }
    let request = match native::request(text) {
        Ok(request) => request,
        Err(refusal) => return refusal.id.into_iter().for_each(|id| assert_is_whole(id, text)),
    };
    assert!(serde_json::from_slice::<IgnoredAny>(text).is_ok(), "what is no JSON is no command");
    if let Command::Publish { data, .. } = request.command {
        assert!(is_json_text(data));
        assert!(text.as_ptr_range().contains(&data.as_ptr()), "the payload is lent, not copied");
    }
});

/// The `id` of a refusal is a value of the text, even if the text is no JSON. It is not the beginning of a longer number.
fn assert_is_whole(RequestId(id): RequestId<'_>, text: &[u8]) {
    assert!(is_json_text(id.as_bytes()) && text.as_ptr_range().contains(&id.as_ptr()), "{id}");
    let end = id.as_ptr().addr() - text.as_ptr().addr() + id.len();
    let next = text[end..].iter().find(|byte| !b" \t\n\r".contains(byte));
    assert!(id.starts_with('"') || matches!(next, Some(b',' | b'}')), "{id} before {next:?}");
}

/// How deep brackets nest outside of strings.
fn depth(text: &[u8]) -> usize {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0_usize, 0, false, false);
    for &byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => depth += 1,
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}
