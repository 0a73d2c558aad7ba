//! What rspamd and Perl say of a message, done to it.

use std::cell::RefCell;

use crate::perl::take_frame;
use crate::plugins::rspamd::any_answer;
use crate::testing::Trial;

thread_local! {
    static PLAIN: RefCell<Trial> = RefCell::new(Trial::new("", &[]));
}

/// An answer of rspamd: whatever it wants done to a message, there is still one header section, of
/// whole lines.
pub(super) fn rspamd(input: &[u8]) {
    let mut trial = Trial::new("", &[("loglevel", "0")]);
    trial.message("Subject: x\nX-Spam: No\nTo: y\n\ntext\n");
    any_answer(&mut trial.session, input);
    let header = trial.session.transaction.header.to_bytes();
    let lines: Vec<&[u8]> = header.split_inclusive(|octet| *octet == b'\n').collect();
    for line in lines {
        let text = line.strip_suffix(b"\r\n").expect("a line ends in CRLF");
        assert!(!text.trim_ascii().is_empty() && !text.contains(&b'\r'), "{header:?}");
    }
}

/// A frame from Perl, the values in it taken for what plugins did to a session.
pub(super) fn perl(input: &[u8]) {
    PLAIN.with_borrow_mut(|trial| {
        trial.message("Subject: x\nTo: y\n\ntext\n");
        take_frame(input, &mut trial.session);
    });
}
