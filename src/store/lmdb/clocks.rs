//! Whether the clock on the wall can be believed.

use std::fs;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// By how much the clock on the wall may go wrong between two looks at the file: no more than what is
/// set right every day.
pub(super) const DRIFT: Duration = Duration::from_secs(60);

/// The clock on the wall, and one that only goes forwards, with what makes it begin anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::store) struct Clocks {
    pub(in crate::store) wall: Duration,
    pub(in crate::store) steady: Duration,
    pub(in crate::store) boot: String,
}

impl Clocks {
    /// What they say.
    pub(in crate::store) fn now(wall: Duration) -> Clocks {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let steady = clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Duration::from);
        Clocks { wall, steady, boot: boot.trim().to_owned() }
    }

    pub(super) fn read(octets: &[u8]) -> Option<Clocks> {
        let text = std::str::from_utf8(octets).ok()?;
        let [wall, steady, boot] = text.split(' ').collect::<Vec<_>>().try_into().ok()?;
        let time = |text: &str| text.parse().ok().map(Duration::from_millis);
        Some(Clocks { wall: time(wall)?, steady: time(steady)?, boot: boot.to_owned() })
    }

    pub(super) fn to_text(&self) -> String {
        format!("{} {} {}", self.wall.as_millis(), self.steady.as_millis(), self.boot)
    }

    /// Has the clock on the wall gone as far as the other one since?
    pub(super) fn went_on_from(&self, before: &Clocks) -> bool {
        let passed = self.steady.saturating_sub(before.steady);
        self.boot == before.boot && self.wall.abs_diff(before.wall + passed) <= DRIFT
    }
}
