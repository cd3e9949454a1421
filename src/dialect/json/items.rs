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
        self.0.item(|scan| {
            let key = scan.key()?;
            Ok((unescape(key).ok_or(Fault::HalfSurrogate)?, scan.value()?))
        })
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = Result<&'a str, Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.item(Scan::value)
    }
}

impl<'a> Items<'a> {
    fn open(text: &'a str, open: u8, close: u8) -> Result<Self, Fault> {
        let mut scan = Scan::new(text);
        scan.skip_space();
        scan.expect(open)?;
        Ok(Self { scan, close, state: State::First })
    }

    fn item<T>(&mut self, read: impl FnOnce(&mut Scan<'a>) -> Result<T, Fault>) -> Option<Result<T, Fault>> {
        if self.state == State::Done {
            return None;
        }
        let item = match self.advance() {
            Ok(true) => read(&mut self.scan),
            Ok(false) => return None,
            Err(fault) => Err(fault),
        };
        if item.is_err() {
            self.state = State::Done;
        }
        Some(item)
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
