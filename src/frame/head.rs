//! Frame heads (RFC 6455 §5.2).

use fastwebsockets::OpCode;

/// The longest head of a frame that the gateway writes, in bytes (unmasked, 64-bit length).
pub const HEAD_BYTES_MAX: usize = 10;

/// Appends the head of a whole, unmasked frame; `compressed` sets RSV1 (RFC 7692 §6).
pub fn write_head(_frame: &mut Vec<u8>, _opcode: OpCode, _compressed: bool, _payload_bytes: usize) {
    unimplemented!()
}

/// Appends a whole Close frame; the reason is cut to 123 bytes at a character's boundary. Code `None`: an empty Close.
pub fn write_close(_frame: &mut Vec<u8>, _code: Option<u16>, _reason: &str) {
    unimplemented!()
}
