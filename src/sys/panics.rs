//! Panics of plugins become log lines instead of text on standard error, which may be the client.

use std::cell::RefCell;
use std::panic::{self, PanicHookInfo};
use std::sync::Once;

thread_local! {
    static LAST: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Remembers each panic's message and place for [`last`] instead of printing it.
pub fn install() {
    panic::set_hook(Box::new(remember));
}

/// As [`install`], and panics are printed as before: for tests, whose failures are panics as well.
pub fn install_beside() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            remember(info);
            before(info);
        }));
    });
}

/// What the last panic said.
pub fn last() -> String {
    let text = LAST.with(|last| std::mem::take(&mut *last.borrow_mut()));
    if text.is_empty() { "panicked".into() } else { text }
}

fn remember(info: &PanicHookInfo<'_>) {
    let message = info
        .payload()
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| info.payload().downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "panic".into());
    let place = info.location().map(|at| format!(" at {}:{}", at.file(), at.line()));
    let text = format!("panicked: {message}{}", place.unwrap_or_default());
    LAST.with(|last| last.try_borrow_mut().map(|mut last| *last = text).ok());
}
