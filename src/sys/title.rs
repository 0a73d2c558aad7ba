//! The process title that `ps` shows.
//!
//! The kernel shows the memory of the command line; what is written there is the title.  The
//! environment lies behind it and is moved away first, so that a title may be longer than the
//! command line was.
#![allow(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::fmt::{self, Display, Write};

/// A stretch of this process's memory that `ps` reads.
struct Area {
    start: *mut u8,
    len: usize,
    /// How much of it the last title took.
    used: usize,
}

thread_local! {
    static AREA: RefCell<Option<Area>> = const { RefCell::new(None) };
    static PROGRAM: Cell<&'static str> = const { Cell::new("qpsmtpd") };
}

/// Finds the memory of the title; titles begin with `program`.  To be called once, before there
/// are threads.  Where the memory cannot be found, titles are not shown.
pub fn init(program: &'static str) {
    PROGRAM.set(program);
    let Some((start, end, env_start, env_end)) = bounds() else { return };
    for (name, value) in std::env::vars_os() {
        // SAFETY: the process has a single thread.  This copies the variable to the heap, away
        // from the memory that titles overwrite.
        unsafe { std::env::set_var(name, value) };
    }
    let end = if env_start == end { env_end } else { end };
    let len = end.saturating_sub(start);
    let area = Area { start: start as *mut u8, len, used: len };
    AREA.with(|slot| *slot.borrow_mut() = (area.len > 1).then_some(area));
}

/// Shows `PROGRAM: state` as this process's command line.
pub fn set(state: impl Display) {
    AREA.with(|slot| {
        let Ok(mut slot) = slot.try_borrow_mut() else { return };
        let Some(area) = slot.as_mut() else { return };
        // SAFETY: start..start+len is the command line and environment of this process, which the
        // kernel mapped writable and which nothing refers to any more: std copied the arguments,
        // `init` the environment.
        let memory = unsafe { std::slice::from_raw_parts_mut(area.start, area.len) };
        let mut title = Title { memory: &mut memory[..area.len - 1], count: 0 };
        // What does not fit is left out.
        let _ = write!(title, "{}: {state}", PROGRAM.get());
        let count = title.count;
        if count < area.used {
            memory[count..area.used].fill(0);
        }
        area.used = count;
    });
}

/// Puts text into memory as far as there is room.
struct Title<'a> {
    memory: &'a mut [u8],
    count: usize,
}

impl Write for Title<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = &mut self.memory[self.count..];
        for (slot, byte) in room.iter_mut().zip(text.bytes()) {
            *slot = if (b' '..=b'~').contains(&byte) { byte } else { b'?' };
        }
        self.count += text.len().min(room.len());
        Ok(())
    }
}

/// arg_start, arg_end, env_start and env_end of proc_pid_stat(5).
fn bounds() -> Option<(usize, usize, usize, usize)> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ').skip(45).map(|field| field.trim().parse().ok());
    Some((fields.next()??, fields.next()??, fields.next()??, fields.next()??))
        .filter(|bounds| bounds.0 != 0 && bounds.0 < bounds.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bounds_are_this_command_line() {
        let (start, end, env_start, env_end) = bounds().unwrap();
        assert!(start < end && env_start <= env_end);
        let shown = std::fs::read("/proc/self/cmdline").unwrap();
        assert_eq!(shown.len(), end - start);
    }

    #[test]
    fn a_title_is_printable_and_ends_where_the_memory_does() {
        let mut memory = [b'-'; 12];
        let mut title = Title { memory: &mut memory, count: 0 };
        for text in ["a\n", "\u{e4} is", " too long", "for it"] {
            title.write_str(text).unwrap();
        }
        assert_eq!(title.count, 12);
        assert_eq!(&memory, b"a??? is too ");
    }
}
