//! Negotiation of permessage-deflate (RFC 7692 §5, §7).

/// What was agreed on; the server never keeps a window from message to message and asks the same of the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agreement {
    /// The largest window that the server may use, in bits, 8 to 15.
    pub server_window_bits: u8,
    /// The value of `Sec-WebSocket-Extensions` in the answer.
    pub response: String,
}

/// Picks the first acceptable offer from the request's `Sec-WebSocket-Extensions` headers, in order; `None`: no extension.
pub fn negotiate<'a>(_headers: impl IntoIterator<Item = &'a [u8]>) -> Option<Agreement> {
    unimplemented!()
}
