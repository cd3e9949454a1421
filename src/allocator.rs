//! The allocator and its settings. The only `unsafe` of the gateway is the call that sets one of them.

use std::ffi::{c_int, c_long};

use libmimalloc_sys::mi_option_set;

/// Sessions live long, and handshakes between them are short-lived. The system's allocator leaves gaps of kilobytes between the sessions.
/// Version 3 of mimalloc keeps more pages than version 2, which Cargo.toml therefore selects.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The number of `mi_option_purge_delay` in mimalloc.h, which the bindings do not have. The option is the time in milliseconds after which
/// free pages go back to the kernel.
const PURGE_DELAY: c_int = 15;

/// Returns free pages to the kernel at once. With its default delay, mimalloc returns pages only while it is asked for memory, so an idle
/// gateway would keep what a storm of handshakes took. The environment variable `MIMALLOC_PURGE_DELAY` overrides this. The effect can be
/// measured with `belfry-loadtest idle` (docs/performance.md).
pub fn return_free_pages_at_once() {
    if std::env::var_os("MIMALLOC_PURGE_DELAY").is_none() {
        set_purge_delay(0);
    }
}

/// Makes the kernel use small pages only. The kernel clears a huge page (2 MiB) when its first byte is used, which stopped a shard for 4 to
/// 5 ms again and again while many topics were created. The environment variable `MIMALLOC_ALLOW_THP` overrides this.
pub fn avoid_huge_pages() {
    #[cfg(target_os = "linux")]
    if std::env::var_os("MIMALLOC_ALLOW_THP").is_none() {
        let _ = rustix::thread::disable_transparent_huge_pages(true); // a kernel without huge pages refuses the call
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

    /// The pages of 64 MiB of small blocks are returned without another allocation. The test fails if `PURGE_DELAY` is the number of another
    /// option.
    #[test]
    fn free_pages_are_returned_to_the_system() {
        return_free_pages_at_once();
        let before = resident_bytes();
        let blocks: Vec<Box<[u8; 1024]>> = (0..64 << 10).map(|_| Box::new([1; 1024])).collect();
        assert!(resident_bytes() - before > 60 << 20, "the blocks are resident");
        drop(blocks);
        assert!(resident_bytes() < before + (8 << 20), "{} bytes stay", resident_bytes() - before);
    }
}
