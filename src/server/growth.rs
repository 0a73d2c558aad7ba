//! How much a process of a pool keeps: one that has grown by a lot ends after its client.

use std::fs;

use nix::unistd::{SysconfVar, sysconf};

/// A session with fewer octets of messages is not worth a look, which costs system calls.
pub(crate) const BIG: u64 = 256 * 1024;

/// By how many octets a process may grow.
const MOST: u64 = 16 << 20;

/// How many pages a process had when it began.
#[derive(Debug)]
pub(crate) struct Growth(u64);

impl Growth {
    /// Now it begins.
    pub(crate) fn begin() -> Growth {
        Growth(own_pages())
    }

    /// By how many octets the process has grown, if that is too much.
    pub(crate) fn too_much(&self) -> Option<u64> {
        let page = sysconf(SysconfVar::PAGE_SIZE).ok().flatten().unwrap_or(4096) as u64;
        let grown = own_pages().saturating_sub(self.0) * page;
        (grown > MOST).then_some(grown)
    }
}

/// How many pages of memory are this process's own, see proc_pid_statm(5): what it shares with files
/// does not count.  0 where that cannot be found out.
fn own_pages() -> u64 {
    let text = fs::read_to_string("/proc/self/statm").unwrap_or_default();
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
