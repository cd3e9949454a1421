//! A value of a command, whatever its encoding: a message, or the value of a field.

use std::borrow::Cow;

/// The fields of a message by name, each with its number in protobuf.
pub type Names = &'static [(&'static str, u32)];

/// A value of a command. Each method returns `None` if the value has another type.
pub trait Value<'a>: Copy {
    /// Calls `read` with the name and value of each field of this message, until it returns `None`. `names` are the known fields; the names
    /// of others may be left out.
    fn fields(self, names: Names, read: impl FnMut(&str, Self) -> Option<()>) -> Option<()>;

    /// Calls `read` with the entries of a map from strings to messages. A field that is a map may have some of them and come again.
    fn entries(self, read: impl FnMut(Cow<'a, str>, Self) -> Option<()>) -> Option<()>;

    /// A number of 0 or more.
    fn number(self) -> Option<u64>;

    /// A number of 0 or more in 32 bits.
    fn number32(self) -> Option<u32>;

    /// A number that may be negative.
    fn signed(self) -> Option<i64>;

    /// A number in 32 bits that may be negative.
    fn signed32(self) -> Option<i32>;

    /// A boolean.
    fn boolean(self) -> Option<bool>;

    /// A string.
    fn text(self) -> Option<Cow<'a, str>>;

    /// A payload: raw JSON, or bytes.
    fn payload(self) -> Option<&'a [u8]>;

    /// A frame of commands within a message: a string in JSON, bytes in protobuf.
    fn frame(self) -> Option<Cow<'a, [u8]>>;
}
