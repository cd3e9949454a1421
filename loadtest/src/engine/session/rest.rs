//! The beginning of an item that is incomplete, such as a frame or an event.

use std::borrow::Cow;

#[derive(Default)]
pub struct Rest(Vec<u8>);

impl Rest {
    /// Takes the rest, if there is one, and appends `bytes`.
    #[inline]
    pub fn join<'a>(&mut self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        if self.0.is_empty() {
            return Cow::Borrowed(bytes);
        }
        let mut joined = std::mem::take(&mut self.0);
        joined.extend_from_slice(bytes);
        Cow::Owned(joined)
    }

    /// Keeps what follows the first `taken` of the bytes that were joined.
    #[inline]
    pub fn keep(&mut self, joined: Cow<'_, [u8]>, taken: usize) {
        match joined {
            Cow::Borrowed(bytes) => self.0.extend_from_slice(&bytes[taken..]),
            Cow::Owned(mut bytes) => {
                bytes.drain(..taken);
                self.0 = bytes;
            }
        }
    }
}
