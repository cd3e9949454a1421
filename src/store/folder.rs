//! The folder of a store: its lock, and its file.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::damage::Damage;
use super::snapshot::{self, Totals};
use crate::clock::Timestamp;
use crate::hub::TopicState;

/// The topics of the last clean stop.
const TOPICS: &str = "topics";

/// The same while it is being written.
const TOPICS_UNFINISHED: &str = "topics.unfinished";

/// A file that could not be used, kept for an examination.
const TOPICS_DAMAGED: &str = "topics.damaged";

/// The file whose lock a running gateway holds.
const LOCK: &str = "lock";

/// A folder that this process has locked.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// Open and locked until the folder is dropped.
    _lock: File,
}

/// Why a folder is not usable.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the text of each error says what it is")]
pub enum FolderError {
    #[error("store.dir = {path:?} can't be used ({reason}); name a folder that this user may write to")]
    Unusable { path: PathBuf, reason: io::Error },
    #[error("store.dir = {path:?} is used by another gateway; give each a folder of its own")]
    Taken { path: PathBuf },
}

impl Folder {
    /// Makes the folder if needed, and locks it.
    pub fn open(path: &Path) -> Result<Self, FolderError> {
        let unusable = |reason| FolderError::Unusable { path: path.to_owned(), reason };
        fs::create_dir_all(path).map_err(unusable)?;
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(path.join(LOCK)).map_err(unusable)?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(FolderError::Taken { path: path.to_owned() }),
            Err(error) => Err(unusable(error.into())),
        }
    }

    /// Checks that the folder exists or can be made, and is writable. A running gateway may have locked it.
    pub fn check(path: &Path) -> Result<(), FolderError> {
        let unusable = |reason| FolderError::Unusable { path: path.to_owned(), reason };
        fs::create_dir_all(path).map_err(unusable)?;
        let tried = path.join(format!("check.{}", std::process::id()));
        let written = File::create(&tried).and_then(|file| file.sync_all());
        let removed = fs::remove_file(&tried);
        written.and(removed).map_err(unusable)
    }

    /// Writes `topics` to the disk. After an error there is no file, not even the one before.
    pub fn write(&self, topics: impl Iterator<Item = TopicState>, written_at: Timestamp) -> io::Result<Totals> {
        let unfinished = self.path.join(TOPICS_UNFINISHED);
        let written = File::create(&unfinished).and_then(|file| {
            let totals = snapshot::write(&file, topics, written_at)?;
            file.sync_all()?;
            fs::rename(&unfinished, self.path.join(TOPICS))?;
            Ok(totals)
        });
        let written = written.and_then(|totals| self.sync().map(|()| totals));
        if written.is_err() {
            // A rename that may not be on the disk is undone too, because the next start must not use the file.
            let _ = fs::remove_file(&unfinished);
            let _ = fs::remove_file(self.path.join(TOPICS));
        }
        written
    }

    /// Removes the file of the last clean stop, and passes each topic to `found`; `None` if there is no file. The file
    /// is verified first, and removed from the disk before the first topic is passed on, so that no later start finds
    /// outdated topics.
    pub fn take(&self, found: impl FnMut(TopicState)) -> Result<Option<Totals>, Damage> {
        let path = self.path.join(TOPICS);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        if let Err(damage) = snapshot::read(io::BufReader::new(&file), drop) {
            fs::rename(&path, self.path.join(TOPICS_DAMAGED))?;
            return Err(damage);
        }
        fs::remove_file(&path)?;
        self.sync()?;
        io::Seek::rewind(&mut &file)?;
        snapshot::read(io::BufReader::new(&file), found).map(Some)
    }

    /// Writes the folder's entries to the disk.
    fn sync(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Folder) -> Totals {
        folder.write(std::iter::empty(), Timestamp(1)).unwrap()
    }

    /// The first start after a clean stop reads the topics. A later start, after a crash, finds none.
    #[test]
    fn the_stored_topics_are_read_once() {
        let path = tempfile::tempdir().unwrap();
        let folder = Folder::open(path.path()).unwrap();
        let written = write(&folder);
        assert_eq!(folder.take(drop).unwrap(), Some(written));
        assert_eq!(folder.take(drop).unwrap(), None);
    }

    /// The damage is reported once.
    #[test]
    fn a_damaged_file_is_renamed() {
        let path = tempfile::tempdir().unwrap();
        let folder = Folder::open(path.path()).unwrap();
        write(&folder);
        OpenOptions::new().append(true).open(path.path().join(TOPICS)).and_then(|mut file| io::Write::write_all(&mut file, b"x")).unwrap();
        assert!(matches!(folder.take(drop), Err(Damage::Order(_))));
        assert!(path.path().join(TOPICS_DAMAGED).exists());
        assert_eq!(folder.take(drop).unwrap(), None);
    }

    /// A second gateway can't lock the folder. Otherwise it would assign the same offsets again.
    #[test]
    fn a_folder_is_locked_by_one_gateway() {
        let path = tempfile::tempdir().unwrap();
        let first = Folder::open(path.path()).unwrap();
        assert!(matches!(Folder::open(path.path()), Err(FolderError::Taken { .. })));
        Folder::check(path.path()).unwrap();
        drop(first);
        Folder::open(path.path()).unwrap();
    }

    /// Neither a part of the new file nor the earlier file is left.
    #[test]
    fn a_failed_write_leaves_no_file() {
        let path = tempfile::tempdir().unwrap();
        let folder = Folder::open(path.path()).unwrap();
        fs::create_dir(path.path().join(TOPICS_UNFINISHED)).unwrap();
        assert!(folder.write(std::iter::empty(), Timestamp(1)).is_err());
        assert_eq!(folder.take(drop).unwrap(), None);
    }
}
