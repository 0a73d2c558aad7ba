//! ```text
//! NAME
//!     loop - refuses messages that go round in circles
//!
//! SYNOPSIS
//!     loop [MAX]
//!
//! DESCRIPTION
//!     Every server that a message passes adds a Received field, and some deliveries add a
//!     Delivered-To field.  A message with MAX or more of these fields, including our own Received,
//!     is refused with 552 "Too many hops".
//!
//! ARGUMENTS
//!     MAX   the number of fields; 100 by default, the least that RFC 5321 6.3 wants
//!
//! SEE ALSO
//!     headers
//! ```

use crate::error::Result;
use crate::hook::{Args, DECLINED, Hooks, dsn};
use crate::plugins::maximum;

/// Registers the plugin; see its manual above.
pub fn register(hooks: &mut Hooks, args: &Args) -> Result<()> {
    args.at_most(1)?;
    let max = maximum(args, 100)?;
    hooks.data_post(move |session| {
        let header = &session.transaction.header;
        let hops = header.count("Received") + header.count("Delivered-To");
        if (hops as i64) < max {
            return DECLINED;
        }
        session.fail(format_args!("{hops} hops"));
        dsn::verdict("too_many_hops", None, None).unwrap_or(DECLINED)
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::hook::{Code, Hook, Verdict};
    use crate::testing::Trial;

    fn verdict(line: &str, received: usize, delivered: usize) -> Verdict {
        let mut trial = Trial::new(line, &[]);
        let message = "received: x\n".repeat(received) + &"Delivered-To: b\n".repeat(delivered);
        trial.message(&format!("{message}Subject: Received: x\n\nReceived: x\n"));
        trial.plain(Hook::DataPost)
    }

    #[test]
    fn the_last_hop_is_one_too_many() {
        let too_many = Verdict::deny("Too many hops (#5.4.6)");
        for (line, fields, is_too_many) in [
            ("loop", (60, 39), false),
            ("loop", (60, 40), true),
            ("check_loop", (100, 0), true),
            ("loop 3", (1, 1), false),
            ("loop 3", (2, 1), true),
            ("loop 0", (99, 0), false),
        ] {
            let verdict = verdict(line, fields.0, fields.1);
            let expected = if is_too_many { &too_many } else { &Verdict::declined("") };
            assert_eq!(&verdict, expected, "{line} {fields:?}");
            assert_eq!(verdict.code() == Code::Deny, is_too_many);
        }
    }

    #[test]
    fn the_maximum_is_a_number() {
        let error = Trial::load("loop many", &[]).err().unwrap().to_string();
        assert_eq!(error, "loop: not a number: 'many'");
        assert!(Trial::load("loop 3 4", &[]).is_err());
    }
}
