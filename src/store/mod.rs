//! The store keeps topics over a planned restart, in one file that the end of a drain writes and the next start reads.

mod damage;
mod extra;
mod fields;
mod folder;
mod record;
mod snapshot;

pub use damage::Damage;
pub use folder::{Folder, FolderError};
pub use snapshot::{Totals, read, write};
