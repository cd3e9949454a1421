//! The body of a request to `/emulation` may be any bytes, in JSON and in protobuf (PROTOCOL section 10): what it names is looked for by a
//! secret and a number, and its data are a frame of commands.
#![no_main]

use belfry::dialect::centrifugo::Wire;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    for wire in [Wire::Json, Wire::Protobuf] {
        let Ok(said) = wire.emulation(body) else { continue };
        assert!(said.data.len() <= body.len(), "a frame that is taken from a body is no longer than that");
        assert!(said.session.len() + said.node.len() <= body.len());
        if wire == Wire::Protobuf {
            assert!(said.data.is_empty() || body.as_ptr_range().contains(&said.data.as_ptr()), "bytes are lent, not copied");
        }
        let mut rest = &*said.data;
        while let Ok((text, used)) = wire.split(rest) {
            let _ = wire.command(text);
            rest = &rest[used..];
        }
    }
});
