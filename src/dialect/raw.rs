//! The raw dialect: a payload is a frame (PROTOCOL section 4).

use crate::frame::OpCode;
use crate::hub::Message;

/// The opcode that `message` goes out with: text stays text, binary stays binary.
pub fn opcode(_message: &Message) -> OpCode {
    unimplemented!()
}
