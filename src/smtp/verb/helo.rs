//! HELO and EHLO (RFC 5321 4.1.1.1), and LHLO in their place (RFC 2033 4.1).

use std::fmt::Write;

use crate::hook::{CAPABILITIES, Call, Code, Extension, Hook};
use crate::settings::DATABYTES;
use crate::smtp::dialogue::{Answer, Dialogue};
use crate::smtp::service::may_use_xclient;
use crate::smtp::syntax::reply::Reply;
use crate::smtp::syntax::xclient;
use crate::smtp::verb::{auth, starttls};
use crate::state::Hello;

/// The extensions that are always offered: RFC 2920, RFC 6152, RFC 2034, RFC 3030.
const OFFERS: [&str; 4] = ["PIPELINING", "8BITMIME", "ENHANCEDSTATUSCODES", "CHUNKING"];

/// Room for the usual greeting, in octets.
const USUAL: usize = 128;

/// One of the greetings.
struct Greeting {
    hello: Hello,
    name: &'static str,
    parse: Hook,
    hook: Hook,
}

const HELO: Greeting =
    Greeting { hello: Hello::Helo, name: "helo", parse: Hook::HeloParse, hook: Hook::Helo };
const EHLO: Greeting =
    Greeting { hello: Hello::Ehlo, name: "ehlo", parse: Hook::EhloParse, hook: Hook::Ehlo };
const LHLO: Greeting = Greeting { hello: Hello::Lhlo, name: "lhlo", ..EHLO };

pub(crate) fn helo(dialogue: &mut Dialogue, argument: &str) -> Answer {
    let welcome = |dialogue: &mut Dialogue| hi(dialogue) + "; I am so happy to meet you.";
    greet(dialogue, argument, &HELO, welcome)
}

pub(crate) fn ehlo(dialogue: &mut Dialogue, argument: &str) -> Answer {
    greet(dialogue, argument, &EHLO, hi_with_offers)
}

pub(crate) fn lhlo(dialogue: &mut Dialogue, argument: &str) -> Answer {
    greet(dialogue, argument, &LHLO, hi_with_offers)
}

/// Parses, asks the hooks, and answers with `welcome`.
fn greet(
    dialogue: &mut Dialogue,
    argument: &str,
    greeting: &Greeting,
    welcome: fn(&mut Dialogue) -> String,
) -> Answer {
    let parsed = dialogue.ask(greeting.parse, &Call::Line(argument))?;
    let host = match parsed.code() {
        Code::Ok => parsed.text(),
        _ => argument.split_whitespace().next().unwrap_or(""),
    };
    if host.is_empty() {
        let name = greeting.name;
        let text = format!("{name} requires domain/address - see RFC-2821 4.1.1.1");
        return Ok(Reply::new(501, "5.5.4", text));
    }
    let host = host.to_owned();
    dialogue.ask(greeting.hook, &Call::Host(&host))?;
    match dialogue.session.connection.hello {
        Some(_) => dialogue.reset_transaction(),
        None => dialogue.junk.got_on(),
    }
    dialogue.session.connection.hello = Some(greeting.hello);
    dialogue.session.connection.hello_host = host;
    Ok(Reply::new(250, "", welcome(dialogue)))
}

fn hi(dialogue: &mut Dialogue) -> String {
    let me = dialogue.session.me();
    let connection = &dialogue.session.connection;
    let mut text = String::with_capacity(USUAL);
    let (client, ip) = (connection.remote_info(), connection.remote_ip);
    write!(text, "{me} Hi {client} [{ip}]").expect("a String takes any text");
    text
}

fn hi_with_offers(dialogue: &mut Dialogue) -> String {
    let lines = std::iter::once(hi(dialogue)).chain(offers(dialogue));
    lines.collect::<Vec<_>>().join("\n")
}

/// The extensions that this session offers.
fn offers(dialogue: &mut Dialogue) -> Vec<String> {
    let mut offers = OFFERS.map(str::to_owned).to_vec();
    if dialogue.offers(Extension::Smtputf8) {
        offers.push("SMTPUTF8".into());
    }
    if dialogue.offers(Extension::Dsn) {
        offers.push("DSN".into());
    }
    offers.push(match dialogue.session.setting(DATABYTES) {
        0 => "SIZE".into(),
        most => format!("SIZE {most}"),
    });
    offers.extend(dialogue.session.transaction.notes.get(CAPABILITIES).unwrap_or_default());
    offers.extend(dialogue.session.connection.notes.get(CAPABILITIES).unwrap_or_default());
    if starttls::is_offered(dialogue) {
        offers.push("STARTTLS".into());
    }
    if may_use_xclient(&mut dialogue.session) {
        offers.push(format!("XCLIENT {}", xclient::names()));
    }
    let mechanisms = auth::mechanisms(dialogue);
    if !mechanisms.is_empty() {
        offers.push(format!("AUTH {}", mechanisms.join(" ")));
    }
    offers
}
