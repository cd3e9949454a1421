//! The names of choices on the command line.

use clap::ValueEnum;

/// A choice of the command line.
pub trait Named: ValueEnum {
    /// Its name there.
    fn name(&self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }
}

impl<T: ValueEnum> Named for T {}
