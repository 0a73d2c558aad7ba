//! The last resort against a handler that computes for ever: an alarm.
//!
//! Waiting for other programs has its own limits; this is for loops.  When a handler is overdue
//! the client gets 421, a line is written to standard error and to the parent, and this one process
//! ends.  The alarm is set at most once per handler timeout, not once per call.
#![allow(unsafe_code)]

use std::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

/// The exit status of a process that ended because a handler was overdue.
pub const EXIT_OVERDUE: i32 = 75;

const REPLY: &[u8] = b"421 4.3.0 Internal error - try again later\r\n";

static ACTIVE: AtomicBool = AtomicBool::new(false);
static CLIENT: AtomicI32 = AtomicI32::new(-1);
static PARENT: AtomicI32 = AtomicI32::new(-1);
static UNTIL: AtomicU64 = AtomicU64::new(0);
static ALARM: AtomicU64 = AtomicU64::new(0);
static PLUGIN: (AtomicPtr<u8>, AtomicUsize) = empty();
static HOOK: (AtomicPtr<u8>, AtomicUsize) = empty();

const fn empty() -> (AtomicPtr<u8>, AtomicUsize) {
    (AtomicPtr::new(std::ptr::null_mut()), AtomicUsize::new(0))
}

/// Makes alarms work in this process, which serves sessions.  `parent` is a descriptor to which a
/// message for the parent can be sent, if there is a parent.
pub fn install(parent: Option<i32>) {
    PARENT.store(parent.unwrap_or(-1), Ordering::Relaxed);
    let handler = SigHandler::Handler(overdue);
    let action = SigAction::new(handler, SaFlags::SA_RESTART, SigSet::empty());
    // SAFETY: `overdue` only does what a signal handler may.  Only an unknown signal makes this fail.
    let _ = unsafe { sigaction(Signal::SIGALRM, &action) };
    ACTIVE.store(true, Ordering::Relaxed);
}

/// Who is to get the 421; None when the text cannot be sent as it is, under TLS for one.
pub fn set_client(descriptor: Option<i32>) {
    CLIENT.store(descriptor.unwrap_or(-1), Ordering::Relaxed);
}

/// A handler runs until this is dropped.
#[derive(Debug)]
pub struct Armed {
    until: u64,
    plugin: (*mut u8, usize),
    hook: (*mut u8, usize),
}

/// Starts the clock for a handler; handlers may be nested.
pub fn arm(plugin: &str, hook: &'static str, limit: Duration) -> Option<Armed> {
    if !ACTIVE.load(Ordering::Relaxed) {
        return None;
    }
    let outer = UNTIL.load(Ordering::Relaxed);
    let mut until = now() + limit.as_nanos() as u64;
    if outer != 0 {
        until = until.min(outer);
    }
    let armed = Armed { until: outer, plugin: load(&PLUGIN), hook: load(&HOOK) };
    store(&PLUGIN, (plugin.as_ptr().cast_mut(), plugin.len()));
    store(&HOOK, (hook.as_ptr().cast_mut(), hook.len()));
    UNTIL.store(until, Ordering::SeqCst);
    let alarm = ALARM.load(Ordering::SeqCst);
    if alarm == 0 || alarm > until {
        set_alarm(until);
    }
    Some(armed)
}

impl Drop for Armed {
    fn drop(&mut self) {
        UNTIL.store(self.until, Ordering::SeqCst);
        store(&PLUGIN, self.plugin);
        store(&HOOK, self.hook);
    }
}

/// The signal handler: nothing here allocates, locks or calls what a signal handler may not.
extern "C" fn overdue(_signal: libc::c_int) {
    let until = UNTIL.load(Ordering::SeqCst);
    ALARM.store(0, Ordering::SeqCst);
    if until == 0 {
        return;
    }
    if now() < until {
        set_alarm(until);
        return;
    }
    let mut line = Line { bytes: [0; 256], len: 0 };
    line.push(b" (");
    line.push_raw(load(&HOOK));
    line.push(b") ");
    line.push_raw(load(&PLUGIN));
    line.push(b": passed its deadline, the session was ended");
    let client = CLIENT.load(Ordering::Relaxed);
    let parent = PARENT.load(Ordering::Relaxed);
    // SAFETY: send, write and _exit may be called in signal handlers; the buffers are valid for
    // the lengths given, descriptors that are not open only make the calls fail.
    unsafe {
        if client >= 0 {
            let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
            if libc::send(client, REPLY.as_ptr().cast(), REPLY.len(), flags) < 0 {
                libc::write(client, REPLY.as_ptr().cast(), REPLY.len());
            }
        }
        if parent >= 0 {
            let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
            libc::send(parent, line.bytes.as_ptr().cast(), line.len, flags);
        } else {
            line.push(b"\n");
            libc::write(2, line.bytes.as_ptr().cast(), line.len);
        }
        libc::_exit(EXIT_OVERDUE);
    }
}

fn now() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid timespec; clock_gettime may be called in signal handlers.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

fn set_alarm(until: u64) {
    ALARM.store(until, Ordering::SeqCst);
    let wait = until.saturating_sub(now()).max(1_000_000) / 1000 + 1000;
    let zero = libc::timeval { tv_sec: 0, tv_usec: 0 };
    let value = libc::timeval {
        tv_sec: (wait / 1_000_000) as libc::time_t,
        tv_usec: (wait % 1_000_000) as libc::suseconds_t,
    };
    let timer = libc::itimerval { it_interval: zero, it_value: value };
    // SAFETY: `timer` is a valid itimerval; the call is a plain system call.
    unsafe { libc::setitimer(libc::ITIMER_REAL, &timer, std::ptr::null_mut()) };
}

fn load(slot: &(AtomicPtr<u8>, AtomicUsize)) -> (*mut u8, usize) {
    (slot.0.load(Ordering::SeqCst), slot.1.load(Ordering::SeqCst))
}

fn store(slot: &(AtomicPtr<u8>, AtomicUsize), value: (*mut u8, usize)) {
    slot.1.store(0, Ordering::SeqCst);
    slot.0.store(value.0, Ordering::SeqCst);
    slot.1.store(value.1, Ordering::SeqCst);
}

struct Line {
    bytes: [u8; 256],
    len: usize,
}

impl Line {
    fn push(&mut self, text: &[u8]) {
        let count = text.len().min(self.bytes.len() - self.len);
        self.bytes[self.len..self.len + count].copy_from_slice(&text[..count]);
        self.len += count;
    }

    fn push_raw(&mut self, (start, len): (*mut u8, usize)) {
        if !start.is_null() {
            // SAFETY: `arm` stored a pointer and length of a string that outlives the handler
            // call, and `store` never leaves a length with another string's pointer.
            self.push(unsafe { std::slice::from_raw_parts(start, len.min(100)) });
        }
    }
}
