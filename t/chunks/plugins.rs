//! Plugins are asked about a message in chunks as about any other.

use std::cell::RefCell;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use qpsmtpd::error::Result;
use qpsmtpd::hook::{Args, Call, Hook, Hooks, OK, Verdict};
use qpsmtpd::testing::Trial;

thread_local! {
    static ASKED: RefCell<Vec<&'static str>> = const { RefCell::new(vec![]) };
}

/// A plugin that writes down when it is asked, and refuses as its argument says.
fn asked(hooks: &mut Hooks, args: &Args) -> Result<()> {
    const HOOKS: [Hook; 8] = [
        Hook::Data,
        Hook::DataHeadersEnd,
        Hook::ReceivedLine,
        Hook::DataPostHeaders,
        Hook::DataPost,
        Hook::QueuePre,
        Hook::Queue,
        Hook::ResetTransaction,
    ];
    let refuses = args.get(0).map(str::to_owned);
    for hook in HOOKS {
        let refuses = refuses.clone();
        hooks.on(hook, move |session, _: &Call<'_>| {
            ASKED.with_borrow_mut(|asked| asked.push(hook.name()));
            let is_early = hook == Hook::Data && session.client_is_talking(Duration::ZERO);
            match refuses.as_deref() {
                _ if is_early => Verdict::deny("early"),
                Some("deny") if hook == Hook::Data => Verdict::denysoft("not now"),
                Some("close") if hook == Hook::Data => Verdict::deny_disconnect("go away"),
                Some("done") if hook == Hook::Data => {
                    session.respond(451, "own words");
                    qpsmtpd::hook::DONE
                }
                Some("headers") if hook == Hook::DataHeadersEnd => {
                    Verdict::deny_disconnect("bad header")
                }
                _ if hook == Hook::Queue => OK,
                _ => qpsmtpd::hook::DECLINED,
            }
        });
    }
    hooks.rcpt(|_, _, _| OK);
    Ok(())
}

/// What the plugin was asked after RCPT, and the last replies, one for each of `wire`.
fn ask(args: &str, wire: &[&'static str]) -> (Vec<&'static str>, Vec<String>) {
    let (client, server) = UnixStream::pair().unwrap();
    let trial = Trial::with(asked, args, &[("me", "mx.test")]);
    let wire = wire.to_owned();
    let client = thread::spawn(move || {
        let mut lines = BufReader::new(client.try_clone().unwrap()).lines();
        let mut answer = || lines.next()?.ok();
        // After the server has closed the connection nobody takes what is said.
        let say = |text: &str| (&client).write_all(text.as_bytes()).ok();
        answer().unwrap();
        for line in ["HELO x\r\n", "MAIL FROM:<a@x.test>\r\n", "RCPT TO:<b@x.test>\r\n"] {
            say(line).unwrap();
            answer().unwrap();
        }
        let replies = wire.into_iter().map_while(|text| {
            say(text)?;
            answer()
        });
        replies.collect::<Vec<_>>()
    });
    ASKED.take();
    trial.serve(OwnedFd::from(server));
    let replies = client.join().unwrap();
    // MAIL ends a transaction, too.
    let asked = ASKED.take();
    let start = asked.iter().position(|name| *name == "data").expect("it was asked");
    (asked[start..].to_vec(), replies)
}

#[test]
fn plugins_are_asked_as_after_data() {
    let (by_data, _) = ask("", &["DATA\r\n", "Subject: x\r\n\r\ntext\r\n.\r\n"]);
    assert_eq!(by_data[..2], ["data", "data_headers_end"]);
    for wire in [
        &["BDAT 20 LAST\r\nSubject: x\r\n\r\ntext\r\n"][..],
        &["BDAT 14\r\nSubject: x\r\n\r\n", "BDAT 6\r\ntext\r\n", "BDAT 0 LAST\r\n"],
        &["BDAT 0\r\n", "BDAT 1\r\nS", "BDAT 19 LAST\r\nubject: x\r\n\r\ntext\r\n"],
    ] {
        let (asked, replies) = ask("", wire);
        assert_eq!(asked, by_data, "{wire:?}");
        assert_eq!(replies.last().unwrap(), "250 Queued");
    }
    // A message that is all header.
    let (asked, replies) = ask("", &["BDAT 12\r\nSubject: x\r\n", "BDAT 0 LAST\r\n"]);
    assert_eq!((asked, &replies[1][..]), (by_data, "250 Queued"));
}

#[test]
fn a_plugin_may_refuse_before_the_first_chunk_and_after_the_header() {
    let chunks = &["BDAT 6\r\nQUIT\r\n", "BDAT 6\r\nQUIT\r\n", "BDAT 0 LAST\r\n", "BDAT 0\r\n"];
    let (asked, replies) = ask("deny", chunks);
    assert_eq!(asked[..2], ["data", "reset_transaction"]);
    assert!(!asked[1..].iter().any(|name| *name != "reset_transaction"), "{asked:?}");
    assert_eq!(replies, ["451 not now", "451 not now", "451 not now", "503 MAIL first"]);
    let (_, replies) = ask("close", chunks);
    assert_eq!(replies, ["554 go away"]);
    let (_, replies) = ask("done", chunks);
    assert_eq!(replies[..2], ["451 own words", "554 Message denied"]);
    let (asked, replies) =
        ask("headers", &["BDAT 6\r\nX: x\r\n", "BDAT 4\r\n\r\nx\r", "BDAT 1\r\n\n"]);
    assert_eq!(asked[..2], ["data", "data_headers_end"]);
    assert_eq!(replies, ["250 6 octets received", "554 bad header"]);
}
