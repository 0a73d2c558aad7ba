//! Numbers in memory that a process shares with those that it forks.
#![allow(unsafe_code)]

use std::num::NonZeroUsize;
use std::sync::atomic::AtomicU64;

use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous};

/// So many numbers, all 0, which are never given back.
///
/// # Errors
/// There is no memory.
pub fn cells(count: usize) -> nix::Result<&'static [AtomicU64]> {
    let size = NonZeroUsize::new(count * size_of::<AtomicU64>()).unwrap_or(NonZeroUsize::MIN);
    let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    // SAFETY: new memory of whole pages, aligned for anything, zero, and never given back.
    unsafe {
        let start = mmap_anonymous(None, size, access, MapFlags::MAP_SHARED)?;
        Ok(std::slice::from_raw_parts(start.cast::<AtomicU64>().as_ptr(), count))
    }
}
