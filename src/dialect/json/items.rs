//! Iterators over the items of a JSON object or array, with each value as raw text.

use std::borrow::Cow;

use super::scan::{Fault, Scan, unescape};

/// The members of an object: key and raw value. An invalid text ends the iteration with one error.
#[derive(Debug)]
pub struct Members<'a>(Items<'a>);

/// The raw values of an array.
#[derive(Debug)]
pub struct Elements<'a>(Items<'a>);

#[derive(Debug)]
struct Items<'a> {
    scan: Scan<'a>,
    close: u8,
    state: State,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    First,
    Later,
    Done,
}

impl<'a> Members<'a> {
    /// The members of the object `text`.
    pub fn of(text: &'a str) -> Result<Self, Fault> {
        Items::open(text, b'{', b'}').map(Self)
    }
}

impl<'a> Elements<'a> {
    /// The values of the array `text`.
    pub fn of(text: &'a str) -> Result<Self, Fault> {
        Items::open(text, b'[', b']').map(Self)
    }
}

impl<'a> Iterator for Members<'a> {
    type Item = Result<(Cow<'a, str>, &'a str), Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.item(|items| {
            let key = items.scan.key()?;
            Ok((unescape(key).ok_or(Fault::HalfSurrogate)?, items.value()?))
        })
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = Result<&'a str, Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.item(Items::value)
    }
}

impl<'a> Items<'a> {
    fn open(text: &'a str, open: u8, close: u8) -> Result<Self, Fault> {
        let mut scan = Scan::new(text);
        scan.skip_space();
        scan.expect(open)?;
        Ok(Self { scan, close, state: State::First })
    }

    fn item<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, Fault>) -> Option<Result<T, Fault>> {
        if self.state == State::Done {
            return None;
        }
        let item = match self.advance() {
            Ok(true) => read(self),
            Ok(false) => return None,
            Err(fault) => Err(fault),
        };
        if item.is_err() {
            self.state = State::Done;
        }
        Some(item)
    }

    /// The next value's raw text. A number ends only before a comma or the closing bracket. The `0` of `01` and the `12` of `12abc` are no
    /// values, and in a text that was cut digits may be missing.
    fn value(&mut self) -> Result<&'a str, Fault> {
        let raw = self.scan.value()?;
        if raw.ends_with(|last: char| last.is_ascii_digit()) {
            self.scan.skip_space();
            if !self.scan.is_at(b',') && !self.scan.is_at(self.close) {
                return Err(self.scan.fault());
            }
        }
        Ok(raw)
    }

    /// Whether an item follows. Only white space may follow the last item.
    fn advance(&mut self) -> Result<bool, Fault> {
        self.scan.skip_space();
        if self.scan.take(self.close) {
            self.state = State::Done;
            return self.scan.end().map(|()| false);
        }
        if self.state == State::Later {
            self.scan.expect(b',')?;
        }
        self.state = State::Later;
        Ok(true)
    }
}
