//! JSON and protobuf: the values of commands are read from both encodings, and the fields of replies are written to both.

mod fields;
mod json_fields;
mod json_value;
mod protobuf_fields;
mod protobuf_value;
mod value;

pub use fields::{Fields, Payload};
pub use json_fields::write_object;
pub use json_value::JsonValue;
pub use protobuf_fields::write_delimited;
pub use protobuf_value::{ProtobufValue, split_delimited};
pub use value::{Names, Value};
