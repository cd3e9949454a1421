//! Tests of messages with references. The inflaters have exactly the window of the client.

use proptest::prelude::*;

use super::*;
use crate::frame::Deflater;
use crate::frame::exact_inflater::Client;

fn quote(step: usize) -> Vec<u8> {
    let (whole, cents) = (187 + step % 3, step * 37 % 100);
    format!(
        r#"{{"op":"message","topic":"quotes.AAPL","epoch":"k3f9x2","offset":{step},"data":{{"stock_id":"AAPL","price":{whole}.{cents:02},"bid":{whole}.{cents:02},"volume":{},"ts":17322336{:05}}}}}"#,
        step * 7919 % 5000,
        step * 1003 % 100_000
    )
    .into_bytes()
}

/// A quote with a reference takes less than a quarter of its bytes.
#[test]
fn a_reference_to_the_quote_before_saves_bytes() {
    let (mut parser, mut client) = (ReferenceParser::default(), Client::new(15));
    let mut packed = Vec::new();
    assert!(Deflater::new(3).compress_always(&quote(100), 15, &mut packed));
    assert_eq!(client.read(&packed).unwrap(), quote(100));
    for step in 101..200 {
        let (former, message) = (quote(step - 1), quote(step));
        let parsed = parser.parse(&former, &message).unwrap();
        let mut payload = b"head".to_vec();
        parsed.write(former.len() as u32, &mut payload);
        let payload = &payload[4..];
        assert!(payload.len() <= parsed.bytes_max() && payload.len() < message.len() / 4, "{} bytes", payload.len());
        assert_eq!(client.read(payload).unwrap(), message);
    }
}

/// Deflate has no checksum: with a position that is off by one, the inflated message differs without an error.
#[test]
fn a_position_that_is_off_by_one_gives_another_message() {
    for wrong in [-1, 1] {
        let mut client = Client::new(15);
        let mut packed = Vec::new();
        let (former, message) = (quote(1), quote(2));
        assert!(Deflater::new(3).compress_always(&[&former[..], &former].concat(), 15, &mut packed));
        client.read(&packed).unwrap();
        let mut payload = Vec::new();
        let parsed = ReferenceParser::default().parse(&former, &message).unwrap();
        parsed.write((former.len() as u32).wrapping_add_signed(wrong), &mut payload);
        assert_ne!(client.read(&payload), Ok(message));
    }
}

/// Both extremes of a reference: an empty message, and a whole window.
#[test]
fn the_smallest_and_the_largest_messages_round_trip() {
    let mut parser = ReferenceParser::default();
    let half: Vec<u8> = (0..REFERENCE_BYTES_MAX / 2).map(|at| (at * at / 7) as u8).collect();
    for (reference, message) in [(&b""[..], &b""[..]), (b"", b"abcdef"), (b"abcdef", b""), (b"abc", b"abc"), (&half, &half)] {
        let mut client = Client::new(15);
        let mut packed = Vec::new();
        assert!(Deflater::new(3).compress_always(reference, 15, &mut packed));
        client.read(&packed).unwrap();
        let mut payload = Vec::new();
        parser.parse(reference, message).unwrap().write(reference.len() as u32, &mut payload);
        assert_eq!(client.read(&payload).unwrap(), message);
    }
    let too_long = vec![0; REFERENCE_BYTES_MAX + 1];
    assert!(parser.parse(&too_long, b"a").is_none() && parser.parse(b"a", &too_long).is_none());
}

/// A quote, a text of few distinct bytes, noise, or a repetition.
fn message() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => (0usize..400).prop_map(quote),
        2 => prop::collection::vec(0u8..4, 0..400),
        1 => prop::collection::vec(any::<u8>(), 0..200),
        1 => (any::<u8>(), 1usize..3_000).prop_map(|(byte, bytes)| vec![byte; bytes]),
        1 => (0usize..400, 1usize..60).prop_map(|(step, times)| quote(step).repeat(times)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    /// Each message refers to any earlier one in the window, or to none.
    #[test]
    fn a_client_with_any_window_reads_the_messages(
        window_bits in 8u8..=15,
        messages in prop::collection::vec((message(), any::<prop::sample::Index>(), 0u8..8), 1..24),
    ) {
        let (mut parser, mut deflater, mut client) = (ReferenceParser::default(), Deflater::new(3), Client::new(window_bits));
        // Each message that was compressed, and where it began.
        let mut sent: Vec<(Vec<u8>, usize)> = Vec::new();
        let mut position = 0;
        for (message, reference, how) in messages {
            let mut payload = Vec::new();
            let fits = |&(_, begun): &(Vec<u8>, usize)| position - begun + message.len() <= 1 << window_bits;
            let near: Vec<&(Vec<u8>, usize)> = sent.iter().filter(|earlier| fits(earlier)).collect();
            if how > 0 && !near.is_empty() {
                let (text, begun) = reference.get(&near);
                parser.parse(text, &message).unwrap().write((position - begun) as u32, &mut payload);
            } else {
                prop_assert!(deflater.compress_always(&message, window_bits, &mut payload));
            }
            let read = client.read(&payload);
            prop_assert_eq!(read.as_ref(), Ok(&message));
            sent.push((message.clone(), position));
            position += message.len();
        }
    }
}
