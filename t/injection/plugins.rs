//! Native plugins that say hostile things, as those do that repeat what they read elsewhere.

use std::cell::RefCell;

use qpsmtpd::error::Result;
use qpsmtpd::hook::{Args, DECLINED, DONE, Hook, Hooks, OK, Verdict};
use qpsmtpd::log::Level;
use qpsmtpd::state::Note;
use qpsmtpd::testing::Trial;

use super::*;
use crate::smuggling::{answers, codes};

const SEEN: Note<String> = Note::new("seen");

thread_local! {
    /// What the plugin says.
    static SAYS: RefCell<String> = const { RefCell::new(String::new()) };
    static QUEUED: RefCell<Vec<u8>> = const { RefCell::new(vec![]) };
}

fn says() -> String {
    SAYS.with_borrow(String::clone)
}

/// The hooks with a text that the client gets to see.
const HOOKS: [Hook; 13] = [
    Hook::Connect,
    Hook::Helo,
    Hook::Ehlo,
    Hook::Mail,
    Hook::Rcpt,
    Hook::Data,
    Hook::DataPost,
    Hook::Queue,
    Hook::Vrfy,
    Hook::Noop,
    Hook::Help,
    Hook::UnrecognizedCommand,
    Hook::Quit,
];

const DIALOGUE: &str = "NOOP\r\nHELP\r\nVRFY x\r\nFOO\r\nHELO a\r\nEHLO a\r\nMAIL FROM:<a@x.test>\r\n\
    RCPT TO:<b@x.test>\r\nDATA\r\nSubject: x\r\n\r\ntext\r\n.\r\nQUIT\r\n";

/// Says it at one hook, in one of several ways.
fn speaks(hooks: &mut Hooks, args: &Args) -> Result<()> {
    let (at, how) = (args.parsed_at(0, 0usize)?, args.parsed_at(1, 0usize)?);
    for hook in HOOKS {
        hooks.on(hook, move |session, _| {
            let verdict = match how {
                _ if hook != HOOKS[at] => DECLINED,
                0 => Verdict::ok(says()),
                1 => Verdict::deny(says()),
                2 => Verdict::denysoft_disconnect(says()),
                3 => Verdict::failure(says()),
                _ => {
                    session.respond(250, says());
                    session.respond(599, says());
                    DONE
                }
            };
            let accepts = [Hook::Rcpt, Hook::Queue].contains(&hook);
            if accepts && verdict == DECLINED { OK } else { verdict }
        });
    }
    Ok(())
}

#[test]
fn no_text_makes_another_reply() {
    for (at, how) in (0..HOOKS.len()).flat_map(|at| (0..5).map(move |how| (at, how))) {
        let trial = Trial::with(speaks, &format!("{at} {how}"), &[("me", "mx.test")]);
        let said = |text: &str| {
            SAYS.set(text.into());
            let answers = answers(&trial, [DIALOGUE.as_bytes()].into_iter());
            check_replies(&answers);
            codes(&answers)
        };
        let want = said("a");
        for text in HOSTILE {
            assert_eq!(said(text), want, "{:?} {how}: {text:?}", HOOKS[at]);
        }
    }
}

/// Puts it wherever a header section can be changed.
fn writes(hooks: &mut Hooks, _args: &Args) -> Result<()> {
    hooks.ehlo_parse(|_, _| Some(says()));
    hooks.rcpt(|_, _, _| OK);
    hooks.received_line(|_, _| Some(says()));
    hooks.data_post(|session| {
        session.store_auth_results(&says());
        let header = &mut session.transaction.header;
        header.add("X-Added", &says());
        header.add_at(0, "X-Top", &says());
        header.add(&says(), "named");
        header.replace("Subject", &says());
        header.replace_nth("X-Own", 0, &says());
        header.rename("X-Old", &says());
        DECLINED
    });
    hooks.queue(|session| {
        let mut message = vec![];
        session.transaction.write_message(&mut message)?;
        QUEUED.set(message);
        Ok::<_, std::io::Error>(OK)
    });
    Ok(())
}

#[test]
fn no_text_makes_another_field_or_ends_the_header() {
    const DIALOGUE: &str = "EHLO a\r\nMAIL FROM:<a@x.test>\r\nRCPT TO:<b@x.test>\r\nDATA\r\n\
        Subject: x\r\nX-Own: y\r\nX-Old: z\r\n\r\ntext\r\n.\r\nQUIT\r\n";
    let trial = Trial::with(writes, "", &[("me", "mx.test")]);
    let queued = |text: &str| {
        SAYS.set(text.into());
        let answers = answers(&trial, [DIALOGUE.as_bytes()].into_iter());
        assert_eq!(codes(&answers), "220 250 250 250 354 250 221", "{answers}");
        let message = String::from_utf8(QUEUED.take()).unwrap();
        assert!(message.ends_with("\r\n\r\ntext\r\n"), "{message:?}");
        assert!(!message.replace("\r\n", "").contains(['\r', '\n']), "{message:?}");
        let mut names = field_names(&message, "\r\n");
        // Two have the text itself as their name, as far as it can be one.
        let old = names.iter().position(|name| name == "X-Own").unwrap() + 1;
        names.remove(old);
        names.pop();
        names
    };
    let want = queued("a");
    assert_eq!(
        want,
        ["X-Top", "Authentication-Results", "Received", "Subject", "X-Own", "X-Added"]
    );
    for text in HOSTILE {
        assert_eq!(queued(text), want, "{text:?}");
    }
}

/// Logs it, and what it has in a note.
fn logs(hooks: &mut Hooks, _args: &Args) -> Result<()> {
    hooks.connect(|session| {
        session.connection.notes.set(SEEN, says());
        session.log(Level::Notice, says());
        let seen = session.connection.notes.get(SEEN).unwrap_or_default();
        session.log(Level::Crit, format_args!("the note is {seen:?} or {seen}"));
        DECLINED
    });
    hooks.noop(|_, _| Verdict::failure(says()));
    Ok(())
}

#[test]
fn no_text_makes_another_entry_in_a_log() {
    let trial = Trial::with(logs, "", &[]);
    let logged = |text: &str| {
        SAYS.set(text.into());
        let (client, server) = crate::smuggling::packet_socket();
        nix::unistd::write(&client, b"NOOP\r\n").unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        trial.serve(server);
        let log = trial.take_log();
        check_log(&log);
        log.lines().count()
    };
    trial.take_log();
    let want = logged("a");
    assert!(want > 5);
    for text in HOSTILE {
        assert_eq!(logged(text), want, "{text:?}");
    }
}
