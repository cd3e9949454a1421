//! Payloads, and frames of a client.

use std::hint::black_box;

use belfry::frame::{FrameReader, Inflater, OpCode, Received, write_head};

/// More bytes than any message of a bench has.
pub const MESSAGE_BYTES: usize = 1 << 20;

/// A masked frame, as clients send them.
pub fn client_frame(opcode: OpCode, compressed: bool, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    let mut frame = Vec::new();
    write_head(&mut frame, opcode, compressed, payload.len());
    frame[1] |= 0x80;
    frame.extend(MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// Quotes like those of the simulator, one after the other, `bytes` in all.
pub fn quotes(bytes: usize) -> Vec<u8> {
    let quote = |at: usize| {
        format!(
            r#"{{"stock_id":"AAPL","price":{}.31,"bid":{}.30,"volume":{},"ts":{}}},"#,
            180 + at % 17,
            180 + at % 17,
            at * 7919 % 5000,
            1_732_233_600_123_usize + at
        )
    };
    (0..).flat_map(|at| quote(at).into_bytes()).take(bytes).collect()
}

/// A JSON object of `bytes` bytes.
pub fn json(bytes: usize) -> Vec<u8> {
    let filling: Vec<u8> = quotes(bytes).into_iter().filter(|byte| byte.is_ascii_alphanumeric()).cycle().take(bytes - 8).collect();
    [b"{\"a\":\"", &filling[..], b"\"}"].concat()
}

/// Reads all of `input`, and returns the number of messages.
pub fn read_all(reader: &mut FrameReader, inflater: &mut Inflater, input: &mut [u8]) -> usize {
    let (mut at, mut messages) = (0, 0);
    while at < input.len() {
        let (used, received) = reader.read(&mut input[at..], inflater);
        at += used;
        if let Ok(Some(Received::Text(payload) | Received::Binary(payload))) = received {
            black_box(payload);
            messages += 1;
        }
    }
    messages
}
