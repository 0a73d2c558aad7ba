//! An entry as LMDB has it: when it was written, when it ends, the value.

use std::time::Duration;

/// Both times in milliseconds since 1970, the lowest octet first.
const TIMES: usize = 16;

/// An entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Record<'a> {
    pub(super) written: Duration,
    pub(super) ends: Duration,
    pub(super) value: &'a [u8],
}

impl<'a> Record<'a> {
    /// An entry that is written `now`, for so long.
    pub(super) fn new(now: Duration, time: Duration, value: &'a [u8]) -> Record<'a> {
        Record { written: now, ends: now.saturating_add(time), value }
    }

    /// What [`Record::to_octets`] has made; None: it is something else.
    pub(super) fn read(octets: &'a [u8]) -> Option<Record<'a>> {
        let (times, value) = octets.split_at_checked(TIMES)?;
        let (written, ends) = times.split_at_checked(TIMES / 2)?;
        let time = |octets: &[u8]| {
            Some(Duration::from_millis(u64::from_le_bytes(octets.try_into().ok()?)))
        };
        Some(Record { written: time(written)?, ends: time(ends)?, value })
    }

    /// As it is kept.
    pub(super) fn to_octets(self) -> Vec<u8> {
        let mut octets = Vec::with_capacity(TIMES + self.value.len());
        for time in [self.written, self.ends] {
            let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
            octets.extend(millis.to_le_bytes());
        }
        octets.extend(self.value);
        octets
    }

    /// Is it still to be kept?
    pub(super) fn is_live(&self, now: Duration) -> bool {
        self.ends > now
    }

    /// How much longer it is kept: no longer than when it was written, whatever has become of the clock
    /// since.
    pub(super) fn left(&self, now: Duration) -> Duration {
        self.ends.saturating_sub(now.max(self.written))
    }
}
