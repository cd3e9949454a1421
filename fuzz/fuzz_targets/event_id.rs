//! The `Last-Event-ID` of a stream (PROTOCOL section 11). The input is the number of its topics, as one byte, and what a client sends.
#![no_main]

use belfry::dialect::{STREAM_TOPICS_MAX, read_event_id};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Some(first) = text.chars().next() else { return };
    let (topics, id) = (first as usize % (STREAM_TOPICS_MAX + 1), &text[first.len_utf8()..]);
    let Some(places) = read_event_id(id, topics) else { return };
    assert_eq!(places.len(), topics);
    // What is read is what stands there, place by place.
    for (place, text) in places.iter().zip(id.split(',')) {
        match place {
            None => assert_eq!(text, "-"),
            Some((epoch, offset)) => {
                let digits = text.strip_prefix(epoch).and_then(|rest| rest.strip_prefix(':')).map(|digits| digits.trim_start_matches('0'));
                assert_eq!(digits, Some(offset.0.to_string().trim_start_matches('0')), "{id}");
                assert!(!epoch.is_empty() && epoch.bytes().all(|byte| byte.is_ascii_alphanumeric()));
            }
        }
    }
});
