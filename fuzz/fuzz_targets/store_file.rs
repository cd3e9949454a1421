//! The file of a clean stop may hold anything by the time it is read: a disk decays, and somebody may have edited it.
//! What is read is what was written: writing it again gives a file that reads the same.
#![no_main]

use belfry::clock::Timestamp;
use belfry::store;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut found = Vec::new();
    let Ok(totals) = store::read(data, |topic| found.push(topic)) else { return };
    assert_eq!((totals.topics as usize, totals.bytes), (found.len(), data.len() as u64));
    let mut again = Vec::new();
    assert_eq!(store::write(&mut again, found.iter().cloned(), Timestamp(0)).ok(), Some(totals));
    let mut read_again = Vec::new();
    assert!(store::read(&*again, |topic| read_again.push(topic)).is_ok());
    assert_eq!(found, read_again);
});
