//! ```text
//! NAME
//!     random_error - fails by chance, for tests
//!
//! SYNOPSIS
//!     random_error [PERCENT] [seed NUMBER]
//!
//! DESCRIPTION
//!     Refuses now and then, temporarily, with "random failure", and closes the connection in two
//!     of five cases.  It does so at connect, helo or ehlo, mail, rcpt, data and data_post, at each
//!     of them so rarely that in all PERCENT of the messages with one recipient fail.
//!
//! ARGUMENTS
//!     PERCENT       how many messages fail; 1 by default, and also for 0; a negative number means none
//!     seed NUMBER   makes chance the same for every session: a client that says the same gets the
//!                   same answers; another number gives other answers
//!
//! NOTES
//!     random_fail_%   on the connection: PERCENT from now on; other plugins may change it
//! ```

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::SystemTime;

use crate::error::{Error, Result};
use crate::hook::{Args, DECLINED, Hook, Hooks, Session, Verdict};
use crate::log::Level;
use crate::state::Note;

/// How many percent of all messages fail; a note of the connection.
pub const RANDOM_FAIL: Note<f64> = Note::new("random_fail_%");

/// The state of the generator; a note of the connection.
const STATE: Note<i64> = Note::new("random_error_state");

/// Where it fails; HELO and EHLO are one.
const HOOKS: [Hook; 7] =
    [Hook::Connect, Hook::Helo, Hook::Ehlo, Hook::Mail, Hook::Rcpt, Hook::Data, Hook::DataPost];

/// How many of them a message with one recipient passes.
const TIMES: f64 = 6.0;

/// Registers the plugin; see its manual above.
pub fn register(hooks: &mut Hooks, args: &Args) -> Result<()> {
    let (percent, seed) = read(args)?;
    for hook in HOOKS {
        hooks.on(hook, move |session, _call| {
            if hook == Hook::Connect {
                session.connection.notes.set(RANDOM_FAIL, percent);
            }
            let percent = session.connection.notes.get(RANDOM_FAIL).unwrap_or(percent);
            fail(session, percent, seed)
        });
    }
    Ok(())
}

fn read(args: &Args) -> Result<(f64, Option<u64>)> {
    let (percent, seed) = match args.positional()[..] {
        [] => (None, None),
        [percent] => (Some(percent), None),
        ["seed", seed] => (None, Some(seed)),
        [percent, "seed", seed] | ["seed", seed, percent] => (Some(percent), Some(seed)),
        _ => return Err("arguments are [PERCENT] [seed NUMBER]".into()),
    };
    let wrong = |name: &str, word: &str| Error::value(name, word, "a number");
    let percent = match percent {
        Some(word) => {
            let number = word.parse::<f64>().ok().filter(|number| number.is_finite());
            number.ok_or_else(|| wrong("1", word))?
        }
        None => 0.0,
    };
    let seed = seed.map(|word| word.parse().map_err(|_| wrong("seed", word))).transpose()?;
    Ok((if percent == 0.0 { 1.0 } else { percent }, seed))
}

fn fail(session: &mut Session, percent: f64, seed: Option<u64>) -> Verdict {
    let passes = (1.0 - percent.min(100.0) / 100.0).powf(1.0 / TIMES);
    session.log(Level::Info, format_args!("to fail, rand(1) must be more than {passes}"));
    if random(session, seed) < passes {
        return DECLINED;
    }
    match random(session, seed) < 0.4 {
        true => Verdict::denysoft_disconnect("random failure"),
        false => Verdict::denysoft("random failure"),
    }
}

/// The session's next number, from 0 to less than 1: splitmix64.
fn random(session: &mut Session, seed: Option<u64>) -> f64 {
    let before = session.connection.notes.get(STATE).map(|state| state as u64);
    let before = before.or(seed).unwrap_or_else(|| by_chance(session));
    let state = before.wrapping_add(0x9e37_79b9_7f4a_7c15);
    session.connection.notes.set(STATE, state as i64);
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1u64 << 53) as f64
}

/// A beginning that no other session has.  Processes inherit what was made in the parent, so it is
/// made of what is the session's own.
fn by_chance(session: &Session) -> u64 {
    let mut hasher = DefaultHasher::new();
    let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    (session.id(), std::process::id(), time.as_nanos()).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hook::Code;
    use crate::testing::Trial;

    /// What a session gets at every hook, `times` times.
    fn play(line: &str, times: usize) -> Vec<Code> {
        let mut trial = Trial::new(line, &[]);
        let mut found = vec![];
        for _ in 0..times {
            for hook in HOOKS {
                let verdict = trial.plain(hook);
                assert!(verdict == DECLINED || verdict.text() == "random failure");
                found.push(verdict.code());
            }
        }
        found
    }

    #[test]
    fn everything_or_nothing() {
        for line in ["random_error -1", "random_error -1 seed 7"] {
            assert!(play(line, 50).iter().all(|code| *code == Code::Declined), "{line}");
        }
        for line in ["random_error 100", "random_error 250"] {
            let codes = play(line, 50);
            let closing = codes.iter().filter(|code| **code == Code::DenySoftDisconnect).count();
            let open = codes.iter().filter(|code| **code == Code::DenySoft).count();
            assert_eq!(closing + open, codes.len(), "{line}");
        }
    }

    #[test]
    fn a_seed_makes_it_the_same_every_time() {
        let [one, again] = [0, 1].map(|_| play("random_error 60 seed 1", 100));
        assert_eq!(one, again);
        assert_eq!(one, play("random_error seed 1 60", 100));
        assert_ne!(one, play("random_error 60 seed 2", 100));
        let failures = one.iter().filter(|code| code.is_deny()).count();
        // 1 - 0.4^(1/6) of 700 are 99.
        assert!((70..130).contains(&failures), "{failures}");
        let closing = one.iter().filter(|code| code.disconnects()).count();
        assert!((20..60).contains(&closing), "{closing} of {failures}");
    }

    #[test]
    fn without_a_seed_sessions_differ() {
        assert_ne!(play("random_error 60", 100), play("random_error 60", 100));
    }

    #[test]
    fn other_plugins_may_change_it() {
        let mut trial = Trial::new("random_error 100", &[]);
        assert!(trial.plain(Hook::Connect).code().is_deny());
        trial.session.connection.notes.set(RANDOM_FAIL, -1.0);
        assert_eq!(trial.mail("<a@example.net>"), DECLINED);
        assert!(
            trial.log().contains("(mail) random_error: to fail, rand(1) must be more than 1.00")
        );
    }

    #[test]
    fn arguments_are_read() {
        for (words, found) in [
            (vec![], (1.0, None)),
            (vec!["0"], (1.0, None)),
            (vec!["2.5"], (2.5, None)),
            (vec!["seed", "9"], (1.0, Some(9))),
            (vec!["-3", "seed", "9"], (-3.0, Some(9))),
        ] {
            assert_eq!(read(&Args::new(words)), Ok(found));
        }
        for words in [vec!["often"], vec!["1", "2"], vec!["seed"], vec!["seed", "x"], vec!["NaN"]] {
            assert!(read(&Args::new(words.clone())).is_err(), "{words:?}");
        }
    }
}
