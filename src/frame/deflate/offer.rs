//! Negotiation of permessage-deflate (RFC 7692 §5, §7).

use std::borrow::Cow;

/// The most offers of the extension that are examined. Browsers make one, libraries two.
const OFFERS_MAX: usize = 8;

/// The window of the server's compressor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ServerWindow {
    /// The size of the window in bits, 8 to 15: the largest distance of a reference.
    pub bits: u8,
    /// Whether the client keeps the window from message to message (RFC 7692 §7.1.1), so that a message may refer to an earlier one.
    pub is_kept: bool,
}

/// The result of a negotiation. The client is always asked to compress each message by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agreement {
    /// The window of the server's compressor.
    pub window: ServerWindow,
    /// The value of `Sec-WebSocket-Extensions` in the response.
    pub response: String,
}

/// Picks the first acceptable offer from the request's `Sec-WebSocket-Extensions` headers, in order; `None`: no extension.
/// A header that violates the grammar of RFC 6455 §9.1 is ignored. An offer is declined if RFC 7692 §7.1 does not define one of its
/// parameters, or a parameter is repeated or out of range. The next offer is examined then.
///
/// With `history` the client is to keep its window, unless it offers `server_no_context_takeover`. The response has `server_max_window_bits`
/// only if it was offered: RFC 7692 §7.1.2.1 allows it otherwise, but some clients then fail the handshake.
pub fn negotiate<'a>(headers: impl IntoIterator<Item = &'a [u8]>, history: bool) -> Option<Agreement> {
    headers
        .into_iter()
        .filter_map(|header| extensions(str::from_utf8(header).ok()?))
        .flatten()
        .filter(|extension| extension.name == "permessage-deflate")
        .take(OFFERS_MAX)
        .find_map(|offer| accept(&offer.parameters, history))
}

/// One element of the header's list.
struct Extension<'a> {
    name: &'a str,
    parameters: Vec<Parameter<'a>>,
}

struct Parameter<'a> {
    name: &'a str,
    /// The value, without quotes.
    value: Option<Cow<'a, str>>,
}

fn accept(parameters: &[Parameter<'_>], history: bool) -> Option<Agreement> {
    let (mut server_takeover, mut client_takeover, mut server_bits, mut client_bits) = (None, None, None, None);
    for Parameter { name, value } in parameters {
        let value = value.as_deref();
        match *name {
            "server_no_context_takeover" => once(&mut server_takeover, value.is_none().then_some(())?)?,
            "client_no_context_takeover" => once(&mut client_takeover, value.is_none().then_some(())?)?,
            "server_max_window_bits" => once(&mut server_bits, window_bits(value?)?)?,
            // The inflater has a window of 15 bits, which serves every smaller one.
            "client_max_window_bits" => once(&mut client_bits, value.map_or(Some(15), window_bits)?)?,
            _ => return None,
        }
    }
    let is_kept = history && server_takeover.is_none();
    let mut response = String::from("permessage-deflate");
    if !is_kept {
        response.push_str("; server_no_context_takeover");
    }
    response.push_str("; client_no_context_takeover");
    if let Some(bits) = server_bits {
        response.push_str(&format!("; server_max_window_bits={bits}"));
    }
    Some(Agreement { window: ServerWindow { bits: server_bits.unwrap_or(15), is_kept }, response })
}

/// Sets a parameter that may occur once; `None`: it is repeated.
fn once<T>(place: &mut Option<T>, value: T) -> Option<()> {
    place.replace(value).is_none().then_some(())
}

/// Parses a window size: a decimal integer from 8 to 15 without leading zeros (RFC 7692 §7.1.2).
fn window_bits(value: &str) -> Option<u8> {
    match value.as_bytes() {
        [digit @ (b'8' | b'9')] => Some(digit - b'0'),
        [b'1', digit @ b'0'..=b'5'] => Some(10 + digit - b'0'),
        _ => None,
    }
}

/// Parses the list of one header; `None`: it violates the grammar. Empty elements are allowed (RFC 9110 §5.6.1).
fn extensions(header: &str) -> Option<Vec<Extension<'_>>> {
    let mut rest = Rest(header);
    let mut extensions = Vec::new();
    loop {
        rest.skip_space();
        if rest.0.is_empty() {
            return Some(extensions);
        }
        if !rest.skip(',') {
            let name = rest.token()?;
            let mut parameters = Vec::new();
            while rest.skip(';') {
                parameters.push(rest.parameter()?);
            }
            extensions.push(Extension { name, parameters });
            if !rest.skip(',') && !rest.0.is_empty() {
                return None;
            }
        }
    }
}

/// The part of a header that is not parsed yet.
struct Rest<'a>(&'a str);

impl<'a> Rest<'a> {
    fn skip_space(&mut self) {
        self.0 = self.0.trim_start_matches([' ', '\t']);
    }

    /// Skips `separator` with the white space before it.
    fn skip(&mut self, separator: char) -> bool {
        self.skip_space();
        match self.0.strip_prefix(separator) {
            Some(rest) => {
                self.0 = rest;
                true
            }
            None => false,
        }
    }

    fn token(&mut self) -> Option<&'a str> {
        self.skip_space();
        let end = self.0.find(|character| !is_token_character(character)).unwrap_or(self.0.len());
        let (token, rest) = self.0.split_at(end);
        self.0 = rest;
        (!token.is_empty()).then_some(token)
    }

    fn parameter(&mut self) -> Option<Parameter<'a>> {
        let name = self.token()?;
        if !self.skip('=') {
            return Some(Parameter { name, value: None });
        }
        self.skip_space();
        let value = if self.0.starts_with('"') { self.quoted()? } else { self.token()?.into() };
        Some(Parameter { name, value: Some(value) })
    }

    /// A quoted string, whose content must be a token once the backslashes are gone (RFC 6455 §9.1).
    fn quoted(&mut self) -> Option<Cow<'a, str>> {
        let inside = self.0.strip_prefix('"')?;
        let mut content = String::new();
        let mut characters = inside.char_indices();
        while let Some((at, character)) = characters.next() {
            match character {
                '"' => {
                    self.0 = &inside[at + 1..];
                    return (!content.is_empty()).then_some(content.into());
                }
                '\\' => content.push(characters.next().map(|(_, escaped)| escaped).filter(|&escaped| is_token_character(escaped))?),
                _ if is_token_character(character) => content.push(character),
                _ => return None,
            }
        }
        None
    }
}

/// Whether `character` may be part of a token (RFC 9110 §5.6.2).
fn is_token_character(character: char) -> bool {
    character.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(character)
}

#[cfg(test)]
mod tests;
