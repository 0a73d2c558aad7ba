//! ```text
//! NAME
//!     former_staff - tells senders that somebody has left, and whom to write to
//!
//! SYNOPSIS
//!     former_staff
//!
//! DESCRIPTION
//!     Refuses mail for the addresses in config/former_staff with 550 and the text behind the
//!     address:
//!
//!         ann@example.com  Ann has left; bob@example.com has taken her place
//!
//!     The plugin stands in front of the one that accepts recipients, such as rcpt_ok.  A line
//!     without a text is left out, and the log names it.
//!
//! CONFIG
//!     former_staff   a line for each address
//! ```

use qpsmtpd::config::Line;
use qpsmtpd::error::Result;
use qpsmtpd::hook::{Args, DECLINED, Hooks, dsn};

/// Registers the plugin; see its manual above.
pub fn register(hooks: &mut Hooks, args: &Args) -> Result<()> {
    args.at_most(0)?;
    let former = hooks.rows("former_staff", Former::read);
    hooks.rcpt(move |session, recipient, _params| {
        let address = recipient.key();
        let former = session.derived(&former);
        let Some(found) = former.iter().find(|row| row.address == address) else { return DECLINED };
        session.fail(format_args!("{recipient} has left"));
        dsn::no_such_user(&found.text)
    });
    Ok(())
}

/// One line of the file.
struct Former {
    address: String,
    text: String,
}

impl Former {
    fn read(line: &Line) -> Result<Former> {
        match line.word_and_rest() {
            (_, "") => Err("there is no text behind the address".into()),
            (address, text) => Ok(Former { address: address.to_lowercase(), text: text.into() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use qpsmtpd::testing::Trial;

    use super::*;

    #[test]
    fn senders_learn_whom_to_write_to() {
        let list = "ann@example.com Please write to bob@example.com\ntom@example.com\n";
        let mut trial = Trial::with(register, "", &[("former_staff", list)]);
        let refused = trial.rcpt("<Ann@example.com>");
        assert_eq!(refused.text(), "Please write to bob@example.com (#5.1.1)");
        assert_eq!(trial.rcpt("<bob@example.com>"), DECLINED);
        assert_eq!(trial.rcpt("<tom@example.com>"), DECLINED);
        assert!(trial.log().contains("former_staff:2: there is no text behind the address"));
    }
}
