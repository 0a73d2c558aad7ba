//! What the C library does with memory that is freed.

#![allow(unsafe_code)]

/// How much freed memory at the end of the heap stays with this process, in octets: so much one session
/// with a large message has for its buffers.
#[cfg(target_env = "gnu")]
const KEPT: libc::c_int = 1 << 20;

/// Keeps freed memory for the next session: given back to the kernel, it would have to be asked for,
/// and filled with zeroes, again.  Other C libraries than that of GNU have no such setting.
pub fn keep_freed() {
    #[cfg(target_env = "gnu")]
    // SAFETY: mallopt changes a number in the allocator, under the allocator's lock.
    unsafe {
        libc::mallopt(libc::M_TRIM_THRESHOLD, KEPT);
    }
}
