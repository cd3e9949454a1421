//! The end of a session's connection: whether a drain was announced, and the code.

/// What the server has announced.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ending {
    drains: bool,
    code: Option<u16>,
}

impl Ending {
    pub fn announce_drain(&mut self) {
        self.drains = true;
    }

    /// Notes the code of a Close, or of the error that ends a stream.
    pub fn close(&mut self, code: u16) {
        self.code = Some(code);
    }

    /// Notes that a stream has ended. After the announcement of a drain that is as if closed with `code`.
    pub fn end_stream(&mut self, code: u16) {
        if self.drains {
            self.code.get_or_insert(code);
        }
    }

    pub fn code(&self) -> Option<u16> {
        self.code
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_ends_with_a_code_if_a_drain_or_an_error_was_announced() {
        let (mut broken, mut drained, mut slow) = (Ending::default(), Ending::default(), Ending::default());
        drained.announce_drain();
        slow.announce_drain();
        slow.close(4004);
        [&mut broken, &mut drained, &mut slow].into_iter().for_each(|ending| ending.end_stream(1001));
        assert_eq!([broken, drained, slow].map(|ending| ending.code()), [None, Some(1001), Some(4004)]);
    }
}
