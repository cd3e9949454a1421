//! The allocator and its settings. The only `unsafe` of the gateway is the call that sets one of them.

use std::ffi::{c_int, c_long};

use libmimalloc_sys::mi_option_set;

/// Sessions live long among short-lived handshakes; the system's allocator leaves holes of kilobytes between them, and mimalloc's
/// third version keeps more of their pages than the second, which Cargo.toml asks for.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `mi_option_purge_delay` of mimalloc.h, which the bindings leave out: milliseconds until free pages go back to the kernel.
const PURGE_DELAY: c_int = 15;

/// Lets free pages go back to the kernel at once. By itself mimalloc looks for them when it is asked for memory, so a gateway at
/// rest would keep what a storm of handshakes took. `MIMALLOC_PURGE_DELAY` in the environment still decides where it is set.
///
/// What it is worth: `belfry-loadtest idle`, docs/performance.md.
pub fn return_free_pages_at_once() {
    if std::env::var_os("MIMALLOC_PURGE_DELAY").is_none() {
        set_purge_delay(0);
    }
}

/// Has memory come in small pages. The kernel clears a huge page, 2 MiB, when a byte of it is first used: where many topics came to life,
/// a shard stood still for 4 to 5 ms again and again. `MIMALLOC_ALLOW_THP` in the environment still decides where it is set.
pub fn avoid_huge_pages() {
    #[cfg(target_os = "linux")]
    if std::env::var_os("MIMALLOC_ALLOW_THP").is_none() {
        let _ = rustix::thread::disable_transparent_huge_pages(true); // a kernel that has none refuses
    }
}

#[allow(unsafe_code, reason = "a call of C; its argument is checked there")]
fn set_purge_delay(milliseconds: c_long) {
    // SAFETY: mimalloc checks the index into its fixed table of options; `main` sets it before there is another thread to read it.
    unsafe { mi_option_set(PURGE_DELAY, milliseconds) }
}

#[cfg(target_os = "linux")]
#[cfg(test)]
mod tests {
    use super::*;

    fn resident_bytes() -> usize {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim_end_matches("kB").trim().parse::<usize>().unwrap() << 10
    }

    /// What 64 MiB of small blocks took is given back without another allocation to prompt it; it fails where the option's number is another's.
    #[test]
    fn free_pages_are_given_back() {
        return_free_pages_at_once();
        let before = resident_bytes();
        let blocks: Vec<Box<[u8; 1024]>> = (0..64 << 10).map(|_| Box::new([1; 1024])).collect();
        assert!(resident_bytes() - before > 60 << 20, "the blocks are there");
        drop(blocks);
        assert!(resident_bytes() < before + (8 << 20), "{} bytes stay", resident_bytes() - before);
    }
}
