//! Makes the frames of a client, and reads them with a `FrameReader`.

use flate2::{Compress, Compression, FlushCompress};
use proptest::sample::Index;

use crate::frame::{FrameReader, Inflater, Received};

/// A result of a reader, with a payload of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Text(Vec<u8>),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong,
    Close(Option<(u16, String)>),
    /// The close code of a violation.
    Violation(u16),
}

/// A masked frame: its first byte as given, its length in the shortest form.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    let mut frame = vec![first];
    match payload.len() {
        length @ 0..126 => frame.push(0x80 | length as u8),
        length @ 126..65_536 => {
            frame.push(0x80 | 126);
            frame.extend((length as u16).to_be_bytes());
        }
        length => {
            frame.push(0x80 | 127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    frame.extend(MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// A compressed message's payload (RFC 7692 §7.2.1).
pub fn deflated(message: &[u8]) -> Vec<u8> {
    let mut packed = Vec::with_capacity(message.len() + message.len() / 8 + 100);
    Compress::new(Compression::new(6), false).compress_vec(message, &mut packed, FlushCompress::Sync).unwrap();
    packed.truncate(packed.len() - 4);
    packed
}

/// Reads a stream that arrives in `pieces`, each in a buffer of its own.
pub fn read_pieces(reader: &mut FrameReader, pieces: &[&[u8]]) -> Vec<Outcome> {
    let mut inflater = Inflater::default();
    let mut all = Vec::new();
    for piece in pieces {
        let mut input = piece.to_vec();
        let mut at = 0;
        while at < input.len() {
            let (used, received) = reader.read(&mut input[at..], &mut inflater);
            assert!(used > 0, "each call uses input");
            at += used;
            all.extend(match received {
                Ok(None) => None,
                Ok(Some(Received::Text(text))) => Some(Outcome::Text(text.to_vec())),
                Ok(Some(Received::Binary(bytes))) => Some(Outcome::Binary(bytes.to_vec())),
                Ok(Some(Received::Ping(bytes))) => Some(Outcome::Ping(bytes.to_vec())),
                Ok(Some(Received::Pong)) => Some(Outcome::Pong),
                Ok(Some(Received::Close(close))) => Some(Outcome::Close(close.map(|(code, reason)| (code, reason.to_owned())))),
                Err(violation) => Some(Outcome::Violation(violation.code.number())),
            });
        }
    }
    all
}

/// `stream`, cut at `cuts`.
pub fn pieces<'a>(stream: &'a [u8], cuts: &[Index]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
    cuts.sort_unstable();
    let ends = cuts.iter().copied().chain([stream.len()]);
    let starts = [0].into_iter().chain(cuts.iter().copied());
    starts.zip(ends).map(|(start, end)| &stream[start..end]).collect()
}
