//! The raw dialect: a payload is a frame (PROTOCOL section 4).

use crate::frame::OpCode;
use crate::hub::{Message, PayloadKind};

/// The opcode that `message` goes out with: text stays text, binary stays binary.
pub fn opcode(message: &Message) -> OpCode {
    match message.kind {
        PayloadKind::Json | PayloadKind::Text => OpCode::Text,
        PayloadKind::Binary => OpCode::Binary,
    }
}
