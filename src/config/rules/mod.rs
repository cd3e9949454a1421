//! The rules of `[[topics]]`.

mod index;
mod rule;
mod shape;

pub use rule::{OnSlow, Rule, Rules, TopicDeflate};
pub use shape::{Piece, shape_of, texts};
