//! Descriptors: those that this process was started with, those that it is given, reading from one.
#![allow(unsafe_code)]

use std::io::IoSliceMut;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};

/// The descriptors that systemd passed (sd_listen_fds(3)); they are taken only once.
pub fn from_systemd() -> Vec<OwnedFd> {
    // SAFETY: the protocol says that the descriptors are open and ours; `listen_fds` removes the
    // variables, so that nobody takes them again.  The process has a single thread.
    unsafe {
        let taken = sd_notify::listen_fds().map(|fds| fds.collect::<Vec<_>>()).unwrap_or_default();
        std::env::remove_var("LISTEN_FDS");
        std::env::remove_var("LISTEN_PID");
        std::env::remove_var("LISTEN_FDNAMES");
        taken.into_iter().map(|fd| OwnedFd::from_raw_fd(fd)).collect()
    }
}

/// Closes whatever this process was started with beyond standard input, output and error, and beyond
/// what systemd passed where `from_systemd` says that this will be taken.  To be called first of all.
pub fn close_others(from_systemd: bool) {
    let passed = match std::env::var("LISTEN_PID") {
        Ok(pid) if from_systemd && pid == std::process::id().to_string() => {
            std::env::var("LISTEN_FDS").ok().and_then(|count| count.parse().ok()).unwrap_or(0u32)
        }
        _ => 0,
    };
    let first = passed.saturating_add(3);
    // Nothing in this process owns a descriptor above standard error yet.
    close_range(first, u32::MAX);
}

/// Closes all but standard input, output and error and these, in a new process that does nothing of what
/// the old one did.
pub fn close_all_but(kept: &[OwnedFd]) {
    let mut kept: Vec<u32> = kept.iter().map(|fd| fd.as_raw_fd() as u32).collect();
    kept.sort_unstable();
    let mut first = 3;
    for fd in kept.into_iter().chain([u32::MAX]) {
        // Whoever owns the others is in the memory of the old process, of which nothing runs any more in
        // this one.
        if first < fd {
            close_range(first, fd - 1);
        }
        first = fd.saturating_add(1);
    }
}

/// Closes descriptors that nobody in this process owns.
fn close_range(first: u32, last: u32) {
    // SAFETY: nobody owns them, says whoever calls this.
    let closed = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) } == 0;
    if closed {
        return;
    }
    // A kernel before 5.9.
    let Ok(open) = std::fs::read_dir("/proc/self/fd") else { return };
    let open: Vec<u32> =
        open.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    for fd in open.into_iter().filter(|fd| (first..=last).contains(fd)) {
        // SAFETY: as above; the descriptor of the folder itself is closed already.
        unsafe { libc::close(fd as i32) };
    }
}

/// Reads one message, and the descriptor that came with it, if one did.
///
/// # Errors
/// What recvmsg(2) says.
pub fn receive(link: &OwnedFd, octets: &mut [u8]) -> nix::Result<(usize, Option<OwnedFd>)> {
    let mut space = cmsg_space!([i32; 1]);
    let mut slices = [IoSliceMut::new(octets)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<()>(link.as_raw_fd(), &mut slices, Some(&mut space), flags)?;
    let mut passed = None;
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(fds) = control {
            // SAFETY: the kernel has just made this descriptor for us, and nobody else knows it.
            passed = fds.first().map(|fd| unsafe { OwnedFd::from_raw_fd(*fd) });
        }
    }
    Ok((message.bytes, passed))
}

/// Reads `most` octets at most, and puts them at the end of `buffer`; 0: there will be no more.
///
/// The room is not filled with zeroes before: a new process has to be given every page that it
/// writes to, and most reads bring little.
///
/// # Errors
/// What read(2) says.
pub fn read_to(fd: &impl AsFd, buffer: &mut Vec<u8>, most: usize) -> nix::Result<usize> {
    buffer.reserve(most);
    let room = buffer.spare_capacity_mut();
    let size = room.len().min(most);
    // SAFETY: `room` is memory of ours that is at least `size` octets long.
    let count = unsafe { libc::read(fd.as_fd().as_raw_fd(), room.as_mut_ptr().cast(), size) };
    let count = Errno::result(count)? as usize;
    // SAFETY: the kernel has just written `count` octets behind the buffer's end.
    unsafe { buffer.set_len(buffer.len() + count) };
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_comes_behind_what_was_there() {
        let (read, write) = nix::unistd::pipe().unwrap();
        nix::unistd::write(&write, b"abcdef").unwrap();
        let mut buffer = b"12".to_vec();
        assert_eq!(read_to(&read, &mut buffer, 4), Ok(4));
        assert_eq!(read_to(&read, &mut buffer, 4), Ok(2));
        drop(write);
        assert_eq!(read_to(&read, &mut buffer, 4), Ok(0));
        assert_eq!(buffer, b"12abcdef");
        let nothing = std::fs::File::open("/").unwrap();
        assert_eq!(read_to(&nothing, &mut buffer, 4), Err(Errno::EISDIR));
        assert_eq!(buffer, b"12abcdef");
    }
}
