//! A message that is written against an earlier one inflates to itself, whatever lies between the two (RFC 7692 §7.2.1).
//! The first two bytes of the input are the length of the earlier message, the next two that of what lies between.
#![no_main]

use belfry::frame::{REFERENCE_BYTES_MAX, ReferenceParser};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((lengths, data)) = data.split_first_chunk::<4>() else { return };
    let length = |low, high| usize::from(u16::from_le_bytes([low, high])) % (REFERENCE_BYTES_MAX / 2);
    let (reference, data) = data.split_at(length(lengths[0], lengths[1]).min(data.len()));
    let (between, message) = data.split_at(length(lengths[2], lengths[3]).min(data.len()));
    let inflated = reference.len() + between.len();
    if inflated + message.len() > REFERENCE_BYTES_MAX {
        return;
    }
    let mut inflater = Decompress::new(false);
    assert_eq!(inflate(&mut inflater, &alone(&[reference, between].concat())), [reference, between].concat());
    let parsed = ReferenceParser::default().parse(reference, message).expect("both are within a window");
    let mut payload = Vec::new();
    parsed.write(inflated as u32, &mut payload);
    assert!(payload.len() <= parsed.bytes_max());
    assert_eq!(inflate(&mut inflater, &payload), message);
});

/// Compressed by itself, without the tail.
fn alone(message: &[u8]) -> Vec<u8> {
    let mut payload = Vec::with_capacity(2 * message.len() + 64);
    Compress::new(Compression::new(3), false).compress_vec(message, &mut payload, FlushCompress::Sync).expect("there is room");
    payload.truncate(payload.len() - 4);
    payload
}

fn inflate(inflater: &mut Decompress, payload: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(REFERENCE_BYTES_MAX + 64);
    let stream = [payload, &[0, 0, 0xff, 0xff]].concat();
    inflater.decompress_vec(&stream, &mut message, FlushDecompress::Sync).expect("a deflate stream");
    message
}
