//! ```text
//! NAME
//!     queue/postfix-queue - hands messages to Postfix
//!
//! SYNOPSIS
//!     queue/postfix-queue [/SOCKET] [FLAG_NAME ...]
//!
//! DESCRIPTION
//!     Hands each message to Postfix's cleanup(8), which puts it into the queue.  When cleanup says
//!     that the message is safely there, the client is told "Queued!  MESSAGE-ID (Queue-Id: ID)".
//!     Postfix's smtpd(8) is not needed.
//!
//!     A permanent refusal of cleanup is answered 552, a temporary one 452, with the reason that
//!     cleanup gives, or else with one of these:
//!
//!         452   service unavailable         552   no recipients specified
//!               queue file write error            too many hops
//!               internal protocol error           message file too big
//!                                                 message content rejected
//!                                                 service denied
//!
//!     If no cleanup listens on a socket, the log says so, and the next socket is tried.  If there
//!     is none left, another queue plugin may take the message; without one the client gets 451.
//!     If the connection breaks later, nobody knows whether Postfix has the message: then the
//!     client gets 451, and no other plugin is asked.
//!
//!     What the client asks for in delivery status notifications (DSN, RFC 3461) goes to cleanup,
//!     and Postfix sends the notifications.
//!
//!     Messages in quarantine are put on hold: they stay in Postfix's queue until somebody releases
//!     them with "postsuper -H" or throws them away with "postsuper -d".
//!
//!     Only members of the group postdrop may use the socket, so the server's user has to be a
//!     member.  Postfix before 2.1 does not know all of the flags, and before 2.3 it does not know
//!     DSN.
//!
//!     The Perl plugin of the same name says "Queued!" even if the connection breaks before cleanup
//!     has answered.
//!
//! ARGUMENTS
//!     /SOCKET     cleanup's socket; /var/spool/postfix/public/cleanup by default
//!     FLAG_NAME   what cleanup has to do with messages; none of these by default
//!
//!                     FLAG_FILTER          apply header_checks, body_checks and content_filter
//!                     FLAG_MILTER          ask the milters of Postfix
//!                     FLAG_FILTER_ALL      both
//!                     FLAG_BCC_OK          add recipients, as always_bcc says
//!                     FLAG_MAP_OK          change addresses, as virtual_alias_maps says
//!                     FLAG_MASK_EXTERNAL   all of these: what Postfix does with mail from outside
//!                     FLAG_MASK_INTERNAL   the same as FLAG_MAP_OK
//!                     FLAG_HOLD            put messages on hold
//!                     FLAG_DISCARD         throw all messages away
//!                     FLAG_MASK_EXTRA      both
//!                     FLAG_BOUNCE          send what cannot be taken back to the sender
//!                     FLAG_SMTPUTF8        the message needs SMTPUTF8 (RFC 6531)
//!                     FLAG_AUTOUTF8        find out whether it does
//!                     FLAG_NONE            nothing
//!
//!                 An unknown flag is ignored, and reported in the log.
//!
//!     queue/postfix-queue FLAG_MASK_EXTERNAL
//!
//! CONFIG
//!     cleanup_sockets   where cleanup listens, used instead of /SOCKET: one socket or ADDRESS:PORT per
//!                       line; the first that works gets the message
//!
//!     If the server has the environment variable POSTFIXQUEUE, its value is one such place, and is
//!     used instead of both.
//!
//! SEE ALSO
//!     queue/smtp-forward, queue/qmail-queue
//! ```

mod cleanup;

use std::io;

use self::cleanup::Cleanup;
use crate::error::Result;
use crate::forward::Reply;
use crate::hook::{Ability, Args, Code, DECLINED, Hooks, Outside, Session, Verdict};
use crate::log::Level;
use crate::net::turns;
use crate::plugins::queue::message_id;
use crate::state::Note;

/// The flags that cleanup was given for this transaction, as a number.
pub const FLAGS: Note<i64> = Note::new("postfix-queue-flags");

/// The places where cleanup was looked for in this transaction.
pub const SOCKETS: Note<Vec<String>> = Note::new("postfix-queue-sockets");

/// The socket of a Postfix that is where it is usually.
const SOCKET: &str = "/var/spool/postfix/public/cleanup";

/// Keep it until somebody has looked at it.
const HOLD: i64 = 1 << 2;

/// The flags of cleanup, from Postfix's global/cleanup_user.h.
const FLAG_NAMES: &[(&str, i64)] = &[
    ("FLAG_NONE", 0),
    ("FLAG_BOUNCE", 1 << 0),
    ("FLAG_FILTER", 1 << 1),
    ("FLAG_HOLD", HOLD),
    ("FLAG_DISCARD", 1 << 3),
    ("FLAG_BCC_OK", 1 << 4),
    ("FLAG_MAP_OK", 1 << 5),
    ("FLAG_MILTER", 1 << 6),
    ("FLAG_SMTPUTF8", 1 << 8),
    ("FLAG_AUTOUTF8", 1 << 9),
    ("FLAG_FILTER_ALL", 1 << 1 | 1 << 6),
    ("FLAG_MASK_EXTERNAL", 1 << 1 | 1 << 6 | 1 << 4 | 1 << 5),
    ("FLAG_MASK_INTERNAL", 1 << 5),
    ("FLAG_MASK_EXTRA", HOLD | 1 << 3),
];

/// What the bits of cleanup's status mean.  Of several the first in this table counts: what may be
/// for now is not refused for good.
const STATUSES: &[(i64, Code, &str)] = &[
    (1 << 8, Code::DenySoft, "service unavailable (#4.7.1)"),
    (1 << 7, Code::DenySoft, "queue file write error (#4.3.0)"),
    (1 << 0, Code::DenySoft, "internal protocol error (#4.3.0)"),
    (1 << 1, Code::DenySoft, "queue file write error (#4.3.0)"),
    (1 << 6, Code::Deny, "no recipients specified (#5.1.0)"),
    (1 << 4, Code::Deny, "too many hops (#5.4.0)"),
    (1 << 2, Code::Deny, "message file too big (#5.3.4)"),
    (1 << 3, Code::Deny, "message content rejected (#5.7.1)"),
    (1 << 9, Code::Deny, "service denied (#5.7.1)"),
];

/// Registers the plugin; see its manual above.
pub fn register(hooks: &mut Hooks, args: &Args) -> Result<()> {
    let mut words = args.positional();
    let socket = words.first().is_some_and(|word| word.starts_with('/'));
    let socket = if socket { words.remove(0) } else { SOCKET }.to_owned();
    let mut flags = 0;
    for word in words {
        match FLAG_NAMES.iter().find(|row| row.0 == word) {
            Some((_, bits)) => flags |= bits,
            None => hooks.log(Level::Warn, format_args!("Ignoring unknown cleanup flag {word}")),
        }
    }
    let variable = std::env::var("POSTFIXQUEUE").ok().filter(|value| !value.is_empty());
    hooks.can(Ability::Dsn);
    hooks.queue(move |session| {
        let endpoints = endpoints(variable.as_deref(), session, &socket);
        let hold = session.quarantined().map_or(0, |_| HOLD);
        let flags = flags | hold;
        session.transaction.notes.set(FLAGS, flags);
        session.transaction.notes.set(SOCKETS, endpoints.clone());
        queue(session, &endpoints, flags)
    });
    Ok(())
}

/// Where cleanup may be: what the environment, else config/cleanup_sockets, else the argument says.
fn endpoints(variable: Option<&str>, session: &mut Session, socket: &str) -> Vec<String> {
    if let Some(endpoint) = variable {
        return vec![endpoint.to_owned()];
    }
    let listed = session.config("cleanup_sockets");
    let listed: Vec<_> = listed.iter().map(str::to_owned).collect();
    if listed.is_empty() { vec![socket.to_owned()] } else { listed }
}

fn queue(session: &mut Session, endpoints: &[String], flags: i64) -> io::Result<Verdict> {
    let until = session.deadline();
    for (endpoint, end) in turns(endpoints, until) {
        let call = Outside::begin("postfix");
        match Cleanup::open(endpoint, end) {
            Ok(mut cleanup) => {
                let taken = cleanup.take(&session.transaction, flags, until);
                session.end_outside(call, &taken);
                let (status, reason) = taken?;
                session.queued_as(&cleanup.queue_id);
                return Ok(verdict(session, status, &reason, &cleanup.queue_id));
            }
            Err(error) => {
                session.end_outside(call, &Err::<(), _>(&error));
                session.log(Level::Error, format_args!("Couldn't open \"{endpoint}\": {error}"));
            }
        }
    }
    session.log(Level::Error, "Unable to open any cleanup sockets!");
    Ok(DECLINED)
}

fn verdict(session: &Session, status: i64, reason: &str, queue_id: &str) -> Verdict {
    if status == 0 {
        return Verdict::ok(format!("Queued! {} (Queue-Id: {queue_id})", message_id(session)));
    }
    session.log(Level::Error, format_args!("{queue_id}: status {status}, {reason}"));
    match STATUSES.iter().find(|row| status & row.0 != 0) {
        Some((_, code, text)) if reason.is_empty() => Verdict::new(*code, *text),
        Some((_, code, _)) => Verdict::new(*code, in_our_words(*code, reason)),
        None => Verdict::declined(format!("Unable to queue message ({status}, {reason})")),
    }
}

/// Cleanup's reason, with the status that it begins with at the end, as plugins write it.
fn in_our_words(code: Code, reason: &str) -> String {
    let code = if code == Code::Deny { 550 } else { 450 };
    // With a reply code where a milter gave one.
    let text = |line: &str| line.strip_prefix(&format!("{code} ")).unwrap_or(line).to_owned();
    Reply { code, lines: reason.lines().map(text).collect() }.text()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hook::Hook;
    use crate::testing::Trial;
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::TcpListener;
    use std::os::unix::net::UnixListener;
    use std::thread::{JoinHandle, spawn};
    use std::time::{SystemTime, UNIX_EPOCH};

    use crate::mail::Address;
    use crate::state::Params;

    const MESSAGE: &str = "Subject: hi\nMessage-Id: <1@a.test>\n\nline\n.\n\nend\n";
    const OLD: &str = "queue_id|123ABC||";
    /// Since Postfix 3.6.
    const NEW: &str = "protocol|cleanup_protocol|queue_id|123ABC||";
    const DONE: &str = "status|0|reason|||";

    /// What a cleanup was sent: its flags, and the records.
    type Sent = (String, Vec<(char, Vec<u8>)>);

    /// A list of attributes in which | stands for NUL.
    fn list(text: &str) -> Vec<u8> {
        text.replace('|', "\0").into_bytes()
    }

    /// Plays cleanup for one message: says `first`, reads a message, says `last`.
    fn play(stream: impl Read + Write, first: &str, last: &str) -> Sent {
        let mut stream = BufReader::new(stream);
        stream.get_mut().write_all(&list(first)).unwrap();
        let mut word = || {
            let mut word = vec![];
            stream.read_until(0, &mut word).unwrap();
            word.pop();
            String::from_utf8(word).unwrap()
        };
        assert_eq!(word(), "flags");
        let flags = word();
        assert_eq!(word(), "");
        let mut records = vec![];
        while records.last().is_none_or(|(kind, _)| *kind != 'E') {
            let mut octet = || {
                let mut octet = [0];
                stream.read_exact(&mut octet).unwrap();
                octet[0]
            };
            let kind = octet();
            let (mut length, mut shift) = (0, 0);
            loop {
                let digit = octet();
                length |= usize::from(digit & 0x7f) << shift;
                shift += 7;
                if digit & 0x80 == 0 {
                    break;
                }
            }
            let mut content = vec![0; length];
            stream.read_exact(&mut content).unwrap();
            records.push((kind.into(), content));
        }
        stream.get_mut().write_all(&list(last)).unwrap();
        (flags, records)
    }

    /// A cleanup for one message, at `socket` in the trial's folder.
    fn cleanup(trial: &Trial, first: &'static str, last: &'static str) -> JoinHandle<Sent> {
        let listener = UnixListener::bind(trial.dir().join("socket")).unwrap();
        spawn(move || play(listener.accept().unwrap().0, first, last))
    }

    /// A transaction for a cleanup at `socket`.
    fn trial(args: &str) -> Trial {
        let line = format!("queue/postfix-queue {{dir}}/socket {args}");
        let mut trial = Trial::new(&line, &[]);
        trial.mail("<a@example.net>");
        trial.rcpt("<b@example.com>");
        trial.rcpt("<\"c d\"@example.com>");
        trial.message(MESSAGE);
        trial
    }

    fn answer(trial: &mut Trial) -> (Code, String) {
        let verdict = trial.plain(Hook::Queue);
        assert!(!verdict.is_failure(), "{}", trial.log());
        (verdict.code(), verdict.text().to_owned())
    }

    fn queued() -> (Code, String) {
        (Code::Ok, "Queued! <1@a.test> (Queue-Id: 123ABC)".to_owned())
    }

    #[test]
    fn cleanup_gets_the_envelope_and_the_lines() {
        for greeting in [OLD, NEW] {
            let mut trial = trial("");
            let cleanup = cleanup(&trial, greeting, DONE);
            assert_eq!(answer(&mut trial), queued());
            let (flags, mut records) = cleanup.join().unwrap();
            assert_eq!(flags, "0");
            let (kind, time) = records.remove(0);
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
            let time: u64 = String::from_utf8(time).unwrap().parse().unwrap();
            assert!(kind == 'T' && (now - 600..=now).contains(&time));
            let want = [
                ('S', "a@example.net"),
                ('R', "b@example.com"),
                ('R', "c d@example.com"),
                ('M', ""),
                ('N', "Subject: hi"),
                ('N', "Message-Id: <1@a.test>"),
                ('N', ""),
                ('N', "line"),
                ('N', "."),
                ('N', ""),
                ('N', "end"),
                ('X', ""),
                ('E', ""),
            ];
            let want: Vec<_> = want.map(|(kind, text)| (kind, text.as_bytes().to_vec())).into();
            assert_eq!(records, want);
        }
    }

    #[test]
    fn messages_in_quarantine_are_put_on_hold() {
        for (args, flags) in [("", 4), ("FLAG_FILTER FLAG_HOLD", 6), ("FLAG_MAP_OK", 36)] {
            let mut trial = trial(args);
            trial.session.quarantine("looks odd");
            let cleanup = cleanup(&trial, NEW, DONE);
            assert_eq!(answer(&mut trial), queued());
            let (found, records) = cleanup.join().unwrap();
            assert_eq!(found, flags.to_string());
            assert_eq!(trial.session.transaction.notes.get(FLAGS), Some(flags));
            assert!(records.contains(&('N', b"X-Quarantine: : looks odd".to_vec())));
        }
    }

    #[test]
    fn flags_are_words_that_add_up() {
        for (args, flags) in [
            ("FLAG_NONE", 0),
            ("FLAG_FILTER FLAG_HOLD", 6),
            ("FLAG_MASK_EXTERNAL", 0b111_0010),
            ("FLAG_MAP_OK FLAG_MASK_INTERNAL timeout 60", 32),
            ("FLAG_MASK_EXTRA FLAG_FILTER_ALL FLAG_BOUNCE", 0b100_1111),
            ("FLAG_AUTOUTF8 flag_hold FLAG_WAVE", 512),
        ] {
            let mut trial = trial(args);
            let cleanup = cleanup(&trial, NEW, DONE);
            assert_eq!(answer(&mut trial), queued());
            assert_eq!(cleanup.join().unwrap().0, flags.to_string(), "{args}");
            assert_eq!(trial.session.transaction.notes.get(FLAGS), Some(flags));
            let is_told = trial.log().contains("Ignoring unknown cleanup flag FLAG_WAVE");
            assert_eq!(is_told, args.contains("WAVE"));
        }
    }

    #[test]
    fn statuses_are_for_good_or_for_now() {
        for (status, code, text) in [
            ("status|64||", Code::Deny, "no recipients specified (#5.1.0)"),
            ("status|16|reason|||", Code::Deny, "too many hops (#5.4.0)"),
            ("status|4||", Code::Deny, "message file too big (#5.3.4)"),
            ("reason||status|8||", Code::Deny, "message content rejected (#5.7.1)"),
            ("status|512||", Code::Deny, "service denied (#5.7.1)"),
            ("status|256||", Code::DenySoft, "service unavailable (#4.7.1)"),
            ("status|128||", Code::DenySoft, "queue file write error (#4.3.0)"),
            ("status|2||", Code::DenySoft, "queue file write error (#4.3.0)"),
            ("status|1||", Code::DenySoft, "internal protocol error (#4.3.0)"),
            ("status|6||", Code::DenySoft, "queue file write error (#4.3.0)"),
            ("status|8|reason|5.7.9 no thanks||", Code::Deny, "no thanks (#5.7.9)"),
            ("status|8|reason|no thanks||", Code::Deny, "no thanks"),
            ("status|8|reason|550 5.7.9 no||", Code::Deny, "no (#5.7.9)"),
            ("status|256|reason|4.7.9 later||", Code::DenySoft, "later (#4.7.9)"),
            ("status|32|reason|odd||", Code::Declined, "Unable to queue message (32, odd)"),
        ] {
            let mut trial = trial("");
            let cleanup = cleanup(&trial, NEW, status);
            assert_eq!(answer(&mut trial), (code, text.to_owned()));
            cleanup.join().unwrap();
            assert!(trial.log().contains("123ABC: status "), "{}", trial.log());
        }
    }

    #[test]
    fn the_first_place_that_works_is_used() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let list = format!("{{dir}}/none\nnonsense\n{{dir}}/other\n127.0.0.1:{port}\n{{dir}}/x\n");
        let line = "queue/postfix-queue {dir}/socket";
        let mut trial = Trial::new(line, &[("cleanup_sockets", &list)]);
        trial.mail("<>");
        trial.rcpt("<b@example.com>");
        trial.message(MESSAGE);
        let other = UnixListener::bind(trial.dir().join("other")).unwrap();
        let other = spawn(move || other.accept().unwrap().0.write_all(b"220 mx.test\r\n\0\0"));
        let cleanup = spawn(move || play(listener.accept().unwrap().0, NEW, DONE));
        assert_eq!(answer(&mut trial), queued());
        other.join().unwrap().unwrap();
        assert_eq!(cleanup.join().unwrap().1[1], ('S', vec![]));
        let log = trial.log();
        for endpoint in ["/none", "nonsense", "/other"] {
            assert!(log.contains(&format!("{endpoint}\": ")), "{log}");
        }
        assert!(!log.contains("/x\": ") && !log.contains("/socket\": "), "{log}");
        let tried = trial.session.transaction.notes.get(SOCKETS).unwrap();
        assert!(tried.len() == 5 && tried[1] == "nonsense");
    }

    #[test]
    fn nobody_there_is_for_the_next_plugin() {
        let mut trial = trial("");
        assert_eq!(trial.plain(Hook::Queue), DECLINED);
        assert!(trial.log().contains("Unable to open any cleanup sockets!"), "{}", trial.log());
    }

    #[test]
    fn the_environment_comes_first_and_the_argument_last() {
        let mut trial = Trial::new("", &[("cleanup_sockets", "/list\n")]);
        assert_eq!(endpoints(Some("/env"), &mut trial.session, "/arg"), ["/env"]);
        assert_eq!(endpoints(None, &mut trial.session, "/arg"), ["/list"]);
        let mut trial = Trial::new("", &[]);
        assert_eq!(endpoints(None, &mut trial.session, "/arg"), ["/arg"]);
    }

    #[test]
    fn what_may_have_been_queued_is_a_failure() {
        for last in ["", "status|0", "reason|||", "status|good||"] {
            let mut trial = trial("");
            let cleanup = cleanup(&trial, NEW, last);
            assert!(trial.plain(Hook::Queue).is_failure(), "{last:?}");
            cleanup.join().unwrap();
        }
    }

    #[test]
    fn silence_is_not_waited_for_longer_than_the_handler_may_take() {
        let mut trial = trial("timeout 1");
        let listener = UnixListener::bind(trial.dir().join("socket")).unwrap();
        assert_eq!(trial.plain(Hook::Queue), DECLINED);
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(&list(NEW)).unwrap_err();
        let silent = spawn(move || {
            let mut stream = listener.accept().unwrap().0;
            stream.write_all(&list(NEW)).unwrap();
            let mut sent = vec![];
            stream.read_to_end(&mut sent).unwrap();
            sent
        });
        assert!(trial.plain(Hook::Queue).is_failure());
        assert!(silent.join().unwrap().ends_with(b"X\0E\0"));
    }

    #[test]
    fn cleanup_is_told_of_notifications() {
        let mut trial = trial("");
        trial.session.transaction.mail_params = Params::from_words(["ENVID=7"]);
        let (b, c) = ("<b@example.com>".parse().unwrap(), Address::new("x", "example.com"));
        trial.session.transaction.replace_recipient(&b, &[]);
        trial.session.transaction.accept_recipient(b, Params::from_words(["NOTIFY=NEVER"]));
        trial.session.transaction.add_recipient(c);
        let cleanup = cleanup(&trial, NEW, DONE);
        assert_eq!(answer(&mut trial), queued());
        let (_, records) = cleanup.join().unwrap();
        let text = |(kind, content): &(char, Vec<u8>)| {
            format!("{kind} {}", String::from_utf8_lossy(content))
        };
        let found: Vec<_> = records.iter().skip(1).take_while(|r| r.0 != 'M').map(text).collect();
        let want = [
            "A envelope_id=7",
            "S a@example.net",
            "R c d@example.com",
            "A notify_flags=1",
            "R b@example.com",
            "R x@example.com",
        ];
        assert_eq!(found, want);
    }
}
