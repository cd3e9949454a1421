//! Input that waits for its session's next turn.

/// The bytes that a session has not used yet. They are copied once, however many turns it takes to use them.
#[derive(Debug, Default)]
pub struct UnusedInput {
    bytes: Box<[u8]>,
    /// How many of `bytes` were used since.
    used: usize,
}

impl From<&[u8]> for UnusedInput {
    fn from(bytes: &[u8]) -> Self {
        Self { bytes: bytes.into(), used: 0 }
    }
}

impl UnusedInput {
    /// The bytes that are left.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(self.used..).unwrap_or_default()
    }

    /// The bytes that are left. They may be changed in place.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        self.bytes.get_mut(self.used..).unwrap_or_default()
    }

    /// Notes that the first `used` bytes of those that were left are used. The memory is freed once none is left.
    pub fn skip(&mut self, used: usize) {
        self.used += used;
        if self.is_empty() {
            *self = Self::default();
        }
    }

    /// Whether no byte is left.
    pub fn is_empty(&self) -> bool {
        self.used >= self.bytes.len()
    }

    /// The memory that is held, in bytes.
    pub fn held_bytes(&self) -> usize {
        self.bytes.len()
    }
}
