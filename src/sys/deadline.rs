//! The last resort against a handler that computes for ever: an alarm.
//!
//! Waiting for other programs has its own limits; this is for loops.  When a handler is overdue
//! the client gets 421 and this one process ends.  The log gets a line: from the parent, which is told,
//! or, where there is none, from a new program in this process's place.  The alarm is set at most
//! once per handler timeout, not once per call.
//!
//! A signal handler can send octets, but it cannot encrypt them: what it interrupts may be in the
//! middle of anything.  So under TLS a thread waits for it, which says goodbye while the overdue
//! handler goes on.
#![allow(unsafe_code)]

use std::cell::UnsafeCell;
use std::ffi::{CString, c_char};
use std::os::fd::{IntoRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, sigaction};
use nix::unistd::{pipe2, read};

/// The exit status of a process that ended because a handler was overdue.
pub const EXIT_OVERDUE: i32 = 75;

/// What the client gets.
pub const REPLY: &[u8] = b"421 4.3.0 Internal error - try again later\r\n";

/// What the log gets of a handler that was overdue.
pub const PASSED: &str = "passed its deadline, the session was ended";

/// How long the goodbye under TLS may take, in nanoseconds.
const GOODBYE: u64 = 5_000_000_000;

/// The longest name that is told, with the NUL that ends it; the parent gets three of them.
pub const LONGEST: usize = 128;

/// The most words of a command, without those that tell what was overdue.
const WORDS: usize = 8;

static ACTIVE: AtomicBool = AtomicBool::new(false);
static CLIENT: AtomicI32 = AtomicI32::new(-1);
static PARENT: AtomicI32 = AtomicI32::new(-1);
static COMMAND: (AtomicPtr<*const c_char>, AtomicUsize) =
    (AtomicPtr::new(std::ptr::null_mut()), AtomicUsize::new(0));
static UNTIL: AtomicU64 = AtomicU64::new(0);
static ALARM: AtomicU64 = AtomicU64::new(0);
static SESSION: (AtomicPtr<u8>, AtomicUsize) = empty();
static PLUGIN: (AtomicPtr<u8>, AtomicUsize) = empty();
static HOOK: (AtomicPtr<u8>, AtomicUsize) = empty();

/// The goodbye that the thread says, whether there is one, how the thread is woken, and whether it
/// was.
static FAREWELL: Mutex<Option<Farewell>> = Mutex::new(None);
static HAS_FAREWELL: AtomicBool = AtomicBool::new(false);
static WAKE: AtomicI32 = AtomicI32::new(-1);
static IS_LATE: AtomicBool = AtomicBool::new(false);
static TOLD: Told = Told(UnsafeCell::new([[0; LONGEST]; 3]));

type Farewell = Box<dyn FnOnce() + Send>;

/// Session, hook and plugin, each with a NUL.
struct Told(UnsafeCell<[[u8; LONGEST]; 3]>);

// SAFETY: it is written once, by the signal handler, which runs in one thread only, and read after
// that: by the same thread, or by the one that the signal handler wakes then.
unsafe impl Sync for Told {}

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

/// The same for a process without a parent: it becomes this program, with the session, the hook and
/// the plugin as further arguments.  The first word is where the program is.
pub fn install_alone(command: &[&str]) {
    let words = command.iter().take(WORDS).filter_map(|word| CString::new(*word).ok());
    // They are needed until the process ends.
    let words: Vec<*const c_char> = words.map(|word| word.into_raw().cast_const()).collect();
    COMMAND.1.store(words.len(), Ordering::Relaxed);
    COMMAND.0.store(words.leak().as_mut_ptr(), Ordering::SeqCst);
    install(None);
}

/// Whose session it is, for as long as the id lives: until this is called again.
pub fn set_session(id: &str) {
    store(&SESSION, (id.as_ptr().cast_mut(), id.len()));
}

/// Who is to get the 421; None when there is nobody, or the text cannot be sent as it is.
pub fn set_client(descriptor: Option<i32>) {
    CLIENT.store(descriptor.unwrap_or(-1), Ordering::Relaxed);
    if HAS_FAREWELL.swap(false, Ordering::SeqCst) {
        farewell().take();
    }
}

/// The client is under TLS from now on, and gets this goodbye, until [`set_client`] is called.  It is
/// said by another thread, which the process does not outlive.
pub fn set_farewell(say: impl FnOnce() + Send + 'static) {
    if !ACTIVE.load(Ordering::Relaxed) || (WAKE.load(Ordering::SeqCst) < 0 && watch().is_err()) {
        return;
    }
    *farewell() = Some(Box::new(say));
    HAS_FAREWELL.store(true, Ordering::SeqCst);
}

/// Starts the thread.  It gets no signals: the handler runs in the thread that it interrupts.
fn watch() -> std::io::Result<()> {
    let (wakes, wake) = pipe2(OFlag::O_CLOEXEC)?;
    let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
    let started = thread::Builder::new().name("deadline".into()).spawn(move || say_goodbye(&wakes));
    before.thread_set_mask()?;
    started?;
    WAKE.store(wake.into_raw_fd(), Ordering::SeqCst);
    Ok(())
}

fn say_goodbye(wakes: &OwnedFd) {
    loop {
        match read(wakes, &mut [0]) {
            Ok(1) => break,
            Err(Errno::EINTR) => {}
            _ => return,
        }
    }
    let say = farewell().take();
    if let Some(say) = say {
        say();
    }
    end()
}

fn farewell() -> MutexGuard<'static, Option<Farewell>> {
    FAREWELL.lock().unwrap_or_else(PoisonError::into_inner)
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
    if IS_LATE.load(Ordering::SeqCst) {
        // The goodbye takes too long.
        end();
    }
    let until = UNTIL.load(Ordering::SeqCst);
    ALARM.store(0, Ordering::SeqCst);
    if until == 0 {
        return;
    }
    let errno = Errno::last();
    if now() < until {
        set_alarm(until);
        return errno.set();
    }
    // SAFETY: nobody else writes, and nobody reads before `IS_LATE` is set or the thread is woken.
    let told = unsafe { &mut *TOLD.0.get() };
    for (text, slot) in told.iter_mut().zip([&SESSION, &HOOK, &PLUGIN]) {
        copy(load(slot), text);
    }
    IS_LATE.store(true, Ordering::SeqCst);
    if HAS_FAREWELL.load(Ordering::SeqCst) {
        set_alarm(now() + GOODBYE);
        // SAFETY: write may be called in signal handlers; one octet is there.
        unsafe { libc::write(WAKE.load(Ordering::SeqCst), b"!".as_ptr().cast(), 1) };
        return errno.set();
    }
    let client = CLIENT.load(Ordering::Relaxed);
    if client >= 0 {
        let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        // SAFETY: send and write may be called in signal handlers; the reply is valid for its length,
        // a descriptor that is not open only makes the calls fail.
        unsafe {
            if libc::send(client, REPLY.as_ptr().cast(), REPLY.len(), flags) < 0 {
                libc::write(client, REPLY.as_ptr().cast(), REPLY.len());
            }
        }
    }
    end();
}

/// Tells what was overdue, and ends the process.  It does only what signal handlers may.
fn end() -> ! {
    // SAFETY: it was written before, see `Told`.
    let told = unsafe { &*TOLD.0.get() };
    let parent = PARENT.load(Ordering::Relaxed);
    // SAFETY: send, execv, write and _exit may be called in signal handlers; the buffers are valid
    // for the lengths given, the texts end in NUL and the list of them in a null pointer.
    unsafe {
        if parent >= 0 {
            let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
            libc::send(parent, told.as_ptr().cast(), size_of_val(told), flags);
            libc::_exit(EXIT_OVERDUE);
        }
        let count = COMMAND.1.load(Ordering::Relaxed);
        if count > 0 {
            let words = COMMAND.0.load(Ordering::SeqCst);
            let mut all = [std::ptr::null(); WORDS + 4];
            std::ptr::copy_nonoverlapping(words, all.as_mut_ptr(), count);
            for (place, text) in all[count..].iter_mut().zip(told) {
                *place = text.as_ptr().cast();
            }
            libc::execv(all[0], all.as_ptr());
        }
        let [_, hook, plugin] = told.each_ref().map(|text| text.split(|octet| *octet == 0).next());
        let mut line = Line { bytes: [0; 512], len: 0 };
        for part in [b" (", hook.unwrap_or_default(), b") ", plugin.unwrap_or_default(), b": "] {
            line.push(part);
        }
        line.push(PASSED.as_bytes());
        line.push(b"\n");
        libc::write(2, line.bytes.as_ptr().cast(), line.len);
        libc::_exit(EXIT_OVERDUE);
    }
}

/// Copies what there is room for, and a NUL.
fn copy((start, len): (*mut u8, usize), text: &mut [u8; LONGEST]) {
    if !start.is_null() {
        let len = len.min(LONGEST - 1);
        // SAFETY: `arm` and `set_session` stored pointer and length of a string that lives as long as
        // they are there, and `store` never leaves a length with another string's pointer.
        text[..len].copy_from_slice(unsafe { std::slice::from_raw_parts(start, len) });
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
    bytes: [u8; 512],
    len: usize,
}

impl Line {
    fn push(&mut self, text: &[u8]) {
        let count = text.len().min(self.bytes.len() - self.len);
        self.bytes[self.len..self.len + count].copy_from_slice(&text[..count]);
        self.len += count;
    }
}
