//! A frame of Centrifugo's protocol may be any bytes, in JSON and in protobuf (PROTOCOL section 10): each command is lent out of it, and
//! a payload in JSON is JSON.
#![no_main]

use belfry::dialect::centrifugo::{Operation, Wire};
use belfry::dialect::is_json_text;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|frame: &[u8]| {
    for wire in [Wire::Json, Wire::Protobuf] {
        let mut rest = frame;
        while let Ok((text, used)) = wire.split(rest) {
            assert!(used > 0 && used <= rest.len(), "whoever splits a frame gets on");
            if let Ok(command) = wire.command(text)
                && let Operation::Publish { data, .. } = command.operation
                && !data.is_empty()
            {
                assert!(text.as_ptr_range().contains(&data.as_ptr()), "the payload is lent, not copied");
                assert!(wire == Wire::Protobuf || is_json_text(data));
            }
            rest = &rest[used..];
        }
    }
});
