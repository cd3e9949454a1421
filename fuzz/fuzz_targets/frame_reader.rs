//! A stream of frames reads the same wherever it is cut (RFC 6455 §5.2).
//! The first byte of the input says how many of the next bytes are lengths of pieces; its top bit turns permessage-deflate on.
#![no_main]

use belfry::frame::{FrameReader, Inflater, Received, negotiate};
use libfuzzer_sys::fuzz_target;

const MESSAGE_BYTES: usize = 1000;

fuzz_target!(|data: &[u8]| {
    let Some((&first, rest)) = data.split_first() else { return };
    let cuts = usize::from(first & 0x0f).min(rest.len());
    let (cuts, stream) = rest.split_at(cuts);
    let whole = hear(first & 0x80 != 0, [stream]);
    let (mut pieces, mut left) = (Vec::new(), stream);
    for &cut in cuts {
        let (piece, rest) = left.split_at(usize::from(cut).min(left.len()));
        pieces.push(piece);
        left = rest;
    }
    pieces.push(left);
    assert_eq!(hear(first & 0x80 != 0, pieces), whole, "cut in pieces");
    assert_eq!(hear(first & 0x80 != 0, stream.chunks(1)), whole, "byte for byte");
});

fn hear<'a>(deflate: bool, pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<String> {
    let agreement = deflate.then(|| negotiate([&b"permessage-deflate"[..]], false)).flatten();
    let (mut reader, mut inflater) = (FrameReader::new(MESSAGE_BYTES, agreement.as_ref()), Inflater::default());
    let mut heard = Vec::new();
    for piece in pieces {
        let mut input = piece.to_vec();
        let mut at = 0;
        while at < input.len() {
            let (used, received) = reader.read(&mut input[at..], &mut inflater);
            assert!(used > 0 && at + used <= piece.len());
            at += used;
            match received {
                Ok(None) => {}
                Ok(Some(received)) => {
                    if let Received::Text(message) | Received::Binary(message) = received {
                        assert!(message.len() <= MESSAGE_BYTES);
                    }
                    if let Received::Text(text) = received {
                        assert!(str::from_utf8(text).is_ok());
                    }
                    heard.push(format!("{received:?}"));
                }
                Err(violation) => heard.push(violation.code.to_string()),
            }
        }
    }
    heard
}
