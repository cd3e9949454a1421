//! Topics that outlive a planned restart: one file, written when a drain has ended and read by the next start.

mod damage;
mod extra;
mod fields;
mod folder;
mod record;
mod snapshot;

pub use damage::Damage;
pub use folder::{Folder, FolderError};
pub use snapshot::{Totals, read, write};
