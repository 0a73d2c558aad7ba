//! Memory that this process shares with all processes that it makes later: numbers that one process
//! writes and others read, with neither a lock nor a system call.
#![allow(unsafe_code)]

use std::num::NonZeroUsize;
use std::sync::atomic::AtomicU64;

use nix::errno::Errno;
use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous};

/// `count` numbers, all 0.  They exist until the last process that has them ends.
///
/// # Errors
/// There is no memory.
pub fn cells(count: usize) -> nix::Result<&'static [AtomicU64]> {
    let size = count.checked_mul(size_of::<AtomicU64>()).and_then(NonZeroUsize::new);
    let size = size.filter(|size| size.get() <= isize::MAX as usize).ok_or(Errno::ENOMEM)?;
    let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    // SAFETY: new memory of whole pages, aligned for anything, zero, not longer than a slice may be,
    // and never given back.  Other processes change it by atomic operations only, too.
    unsafe {
        let start = mmap_anonymous(None, size, access, MapFlags::MAP_SHARED)?;
        Ok(std::slice::from_raw_parts(start.cast::<AtomicU64>().as_ptr(), count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::fork::{Forked, exit, fork};
    use nix::sys::wait::{WaitStatus, waitpid};
    use std::sync::atomic::Ordering::SeqCst;

    #[test]
    fn what_a_new_process_writes_is_seen_here() {
        let numbers = cells(3).unwrap();
        numbers[0].store(7, SeqCst);
        match fork().unwrap() {
            Forked::Child => {
                numbers[2].store(numbers[0].load(SeqCst) + 1, SeqCst);
                exit(0);
            }
            Forked::Parent(pid) => {
                assert_eq!(waitpid(pid, None), Ok(WaitStatus::Exited(pid, 0)));
            }
        }
        let found: Vec<u64> = numbers.iter().map(|number| number.load(SeqCst)).collect();
        assert_eq!(found, [7, 0, 8]);
    }

    #[test]
    fn more_than_there_can_be_is_an_error() {
        for count in [usize::MAX, usize::MAX / 8, 1 << 60] {
            assert_eq!(cells(count).err(), Some(Errno::ENOMEM), "{count}");
        }
    }
}
