//! Inflation ends within its bound, whatever the stream, and a damaged message leaves nothing behind (RFC 7692 §7.2.2).
//! The first two bytes of the input are the bound.
#![no_main]

use belfry::frame::{Deflater, FrameReader, Inflater, Received, negotiate};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((bound, payload)) = data.split_first_chunk() else { return };
    let bound = usize::from(u16::from_le_bytes(*bound));
    let mut inflater = Inflater::default();
    let inflated = inflate(payload, bound, &mut inflater);
    if let Some(message) = &inflated {
        assert!(message.len() <= bound);
    }
    let message = payload.repeat(3);
    let mut packed = Vec::new();
    if Deflater::new(3).compress(&message, 8, &mut packed) {
        assert_eq!(inflate(&packed, message.len(), &mut inflater), Some(message));
    }
    assert_eq!(inflate(payload, bound, &mut inflater), inflated);
});

fn inflate(payload: &[u8], bound: usize, inflater: &mut Inflater) -> Option<Vec<u8>> {
    let agreement = negotiate([&b"permessage-deflate"[..]], false);
    let mut frame = vec![0xc2, 0xff];
    match payload.len() {
        length @ 0..126 => frame[1] = 0x80 | length as u8,
        length @ 126..65_536 => {
            frame[1] = 0x80 | 126;
            frame.extend((length as u16).to_be_bytes());
        }
        length => frame.extend((length as u64).to_be_bytes()),
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    match FrameReader::new(bound, agreement.as_ref()).read(&mut frame, inflater) {
        (_, Ok(Some(Received::Binary(message)))) => Some(message.to_vec()),
        (_, Ok(other)) => panic!("{other:?}"),
        (_, Err(_)) => None,
    }
}
