//! The process title that `ps` shows.
//!
//! The kernel shows the memory of the command line; what is written there is the title.  The
//! environment lies behind it and is moved away first, so that a title may be longer than the
//! command line was.
#![allow(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::fmt::{self, Display, Write};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{SystemTime, UNIX_EPOCH};

/// A stretch of this process's memory that `ps` reads.
struct Area {
    start: *mut u8,
    len: usize,
    /// How much of it the last title took, and how much of that says whom it is about.
    used: usize,
    about: usize,
}

thread_local! {
    static AREA: RefCell<Option<Area>> = const { RefCell::new(None) };
    static PROGRAM: Cell<&'static str> = const { Cell::new("qpsmtpd") };
    static SHOWN: Cell<Option<Shown>> = const { Cell::new(None) };
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
    let area = Area { start: start as *mut u8, len, used: len, about: 0 };
    AREA.with(|slot| *slot.borrow_mut() = (area.len > 1).then_some(area));
}

/// Where other processes can read what this one does.
#[derive(Debug, Clone, Copy)]
pub struct Shown {
    /// The command.
    pub does: &'static [AtomicU64],
    /// The plugin that is asked.
    pub asks: &'static [AtomicU64],
    /// The client.
    pub client: &'static [AtomicU64],
    /// Since when it is served, in milliseconds since 1970.
    pub since: &'static AtomicU64,
}

/// What this process does is said in these cells, too, from now on.
pub fn share(shown: Shown) {
    SHOWN.set(Some(shown));
}

/// Shows `PROGRAM: state` as this process's command line.
pub fn set(state: impl Display) {
    write_title(false, |title| write!(title, "{}: {state}", PROGRAM.get()));
}

/// Shows that this process waits for a client.
pub fn waits() {
    set("waiting");
    if let Some(shown) = SHOWN.get() {
        say(shown.client, "");
        say(shown.does, "waiting");
    }
}

/// Shows `PROGRAM: client connected`, and lets the client stay there for [`does`].
pub fn serves(client: impl Display) {
    let about = write_title(false, |title| write!(title, "{}: {client} ", PROGRAM.get()));
    AREA.with(|slot| {
        if let Some(area) = slot.borrow_mut().as_mut() {
            area.about = about;
        }
    });
    if let Some(shown) = SHOWN.get() {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        shown.since.store(now.as_millis() as u64, Relaxed);
        say(shown.client, &client.to_string());
    }
    does("connected");
}

/// Shows what is done for the client.  It costs little, since it happens with every command.
pub fn does(word: &str) {
    write_title(true, |title| title.write_str(word));
    if let Some(shown) = SHOWN.get() {
        say(shown.does, word);
    }
}

/// Tells who shares the cells which plugin is asked; an empty name: none.
pub fn asks(plugin: &str) {
    if let Some(shown) = SHOWN.get() {
        say(shown.asks, plugin);
    }
}

/// Puts the beginning of `word` into `cells`, eight octets into each.
pub fn say(cells: &[AtomicU64], word: &str) {
    say_octets(cells, word.as_bytes());
}

/// The same with any octets.
pub fn say_octets(cells: &[AtomicU64], octets: &[u8]) {
    let mut pieces = octets.chunks(8);
    for cell in cells {
        let piece = pieces.next().unwrap_or_default();
        let mut eight = [0; 8];
        eight[..piece.len()].copy_from_slice(piece);
        cell.store(u64::from_le_bytes(eight), Relaxed);
        if piece.is_empty() {
            return;
        }
    }
}

/// So many octets that [`say_octets`] has put there.
pub fn said_octets(cells: &[AtomicU64], len: usize) -> Vec<u8> {
    cells.iter().flat_map(|cell| cell.load(Relaxed).to_le_bytes()).take(len).collect()
}

/// What [`say`] has put there; while that happens, the end may be that of another word.
pub fn said(cells: &[AtomicU64]) -> String {
    let octets = cells.iter().flat_map(|cell| cell.load(Relaxed).to_le_bytes());
    octets.take_while(|octet| *octet != 0).map(char::from).collect()
}

/// Writes a title, or only what comes after the client, and returns where it ends.
fn write_title(keep: bool, write: impl FnOnce(&mut Title<'_>) -> fmt::Result) -> usize {
    AREA.with(|slot| {
        let Ok(mut slot) = slot.try_borrow_mut() else { return 0 };
        let Some(area) = slot.as_mut() else { return 0 };
        // SAFETY: start..start+len is the command line and environment of this process, which the
        // kernel mapped writable and which nothing refers to any more: std copied the arguments,
        // `init` the environment.
        let memory = unsafe { std::slice::from_raw_parts_mut(area.start, area.len) };
        let count = if keep { area.about } else { 0 };
        let mut title = Title { memory: &mut memory[..area.len - 1], count };
        // What does not fit is left out.
        let _ = write(&mut title);
        let count = title.count;
        if count < area.used {
            memory[count..area.used].fill(0);
        }
        area.used = count;
        count
    })
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
    fn a_state_is_read_as_it_was_said() {
        let cells = [const { AtomicU64::new(0) }; 2];
        assert_eq!(said(&cells), "");
        for (word, found) in [
            ("an unknown command", "an unknown comma"),
            ("STARTTLS", "STARTTLS"),
            ("connected", "connected"),
            ("", ""),
        ] {
            say(&cells, word);
            assert_eq!(said(&cells), found);
        }
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
