//! How much a process of a pool keeps: one that has grown by a lot ends after its client.

use std::fs::File;
use std::os::unix::fs::FileExt;

use nix::unistd::{SysconfVar, sysconf};

/// A session with fewer octets of messages is not worth a look, which costs system calls.
pub(crate) const BIG: u64 = 256 * 1024;

/// By how many octets a process may grow.
const MOST: u64 = 16 << 20;

/// How many pages a process had when it began.
#[derive(Debug)]
pub(crate) struct Growth {
    /// What the kernel says of this process's memory, see proc_pid_statm(5); it stays open, as it is
    /// read after each large message.
    memory: Option<File>,
    began: u64,
}

impl Growth {
    /// Now it begins.
    pub(crate) fn begin() -> Growth {
        let memory = File::open("/proc/self/statm").ok();
        let began = own_pages(memory.as_ref());
        Growth { memory, began }
    }

    /// By how many octets the process has grown, if that is too much.
    pub(crate) fn too_much(&self) -> Option<u64> {
        let page = sysconf(SysconfVar::PAGE_SIZE).ok().flatten().unwrap_or(4096) as u64;
        let grown = own_pages(self.memory.as_ref()).saturating_sub(self.began) * page;
        (grown > MOST).then_some(grown)
    }
}

/// How many pages of memory are this process's own: what it shares with files does not count.  0 where
/// that cannot be found out.
fn own_pages(memory: Option<&File>) -> u64 {
    let mut text = [0; 128];
    let count = memory.and_then(|file| file.read_at(&mut text, 0).ok()).unwrap_or(0);
    let text = std::str::from_utf8(&text[..count]).unwrap_or_default();
    let mut pages = text.split_whitespace().skip(1).map(|text| text.parse().unwrap_or(0));
    let resident: u64 = pages.next().unwrap_or(0);
    resident.saturating_sub(pages.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_counts() {
        let growth = Growth::begin();
        // What runs beside it in this process is small.
        let kept = vec![1u8; 4 * MOST as usize];
        assert!(growth.too_much().is_some());
        assert_eq!(kept.iter().map(|octet| u64::from(*octet)).sum::<u64>(), 4 * MOST);
    }
}
