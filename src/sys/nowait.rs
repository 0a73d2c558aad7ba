//! Writing to a pipe without waiting.  Whether a pipe makes its writers wait is a property of its
//! open file, which other programs may share; so each write says that it does not wait.
#![allow(unsafe_code)]

use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::write;

/// How many octets go into a pipe that has room at all (pipe(7), PIPE_BUF).
const ATOMIC: usize = 4096;

/// Writes what there is room for and returns how many octets that were.
///
/// # Errors
/// EAGAIN: there is no room.  What else the kernel says.
pub fn write_some(pipe: BorrowedFd<'_>, octets: &[u8]) -> nix::Result<usize> {
    let part = libc::iovec { iov_base: octets.as_ptr().cast_mut().cast(), iov_len: octets.len() };
    // SAFETY: `part` is one valid piece of memory, which is only read; -1 is the current position.
    let done = unsafe { libc::pwritev2(pipe.as_raw_fd(), &part, 1, -1, libc::RWF_NOWAIT) };
    match Errno::result(done) {
        // Before Linux 6.4 that is not known of pipes.
        Err(Errno::EOPNOTSUPP | Errno::ENOSYS | Errno::EINVAL) => {
            write_where_there_is_room(pipe, octets)
        }
        done => done.map(isize::cast_unsigned),
    }
}

/// Another process may take the room between the two calls; then this one waits for the reader.
fn write_where_there_is_room(pipe: BorrowedFd<'_>, octets: &[u8]) -> nix::Result<usize> {
    match poll(&mut [PollFd::new(pipe, PollFlags::POLLOUT)], PollTimeout::ZERO)? {
        0 => Err(Errno::EAGAIN),
        _ => write(pipe, &octets[..octets.len().min(ATOMIC)]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn a_full_pipe_is_not_waited_for() {
        for write_some in [write_some, write_where_there_is_room] {
            let (read, write) = nix::unistd::pipe().unwrap();
            let mut written = 0;
            let full = loop {
                match write_some(write.as_fd(), &[b'x'; 1000]) {
                    Ok(count) => written += count,
                    Err(error) => break error,
                }
            };
            assert_eq!(full, Errno::EAGAIN);
            assert!(written >= ATOMIC, "{written}");
            nix::unistd::read(&read, &mut vec![0; written]).unwrap();
            assert_eq!(write_some(write.as_fd(), b"more"), Ok(4));
        }
    }
}
