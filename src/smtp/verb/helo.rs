//! HELO and EHLO (RFC 5321 4.1.1.1), and LHLO in their place (RFC 2033 4.1).

use crate::hook::{CAPABILITIES, Call, Code, Hook};
use crate::settings::DATABYTES;
use crate::smtp::dialogue::Dialogue;
use crate::smtp::verb::{auth, mail, starttls, xclient};
use crate::state::Hello;

/// The extensions that are always offered: RFC 2920, RFC 6152, RFC 2034, RFC 3030.
const OFFERS: [&str; 4] = ["PIPELINING", "8BITMIME", "ENHANCEDSTATUSCODES", "CHUNKING"];

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

pub(crate) fn helo(dialogue: &mut Dialogue, argument: &str) {
    if greet(dialogue, argument, &HELO) {
        let text = format!("{}; I am so happy to meet you.", hi(dialogue));
        dialogue.say(250, "", &text);
    }
}

pub(crate) fn ehlo(dialogue: &mut Dialogue, argument: &str) {
    greet_with_offers(dialogue, argument, &EHLO);
}

pub(crate) fn lhlo(dialogue: &mut Dialogue, argument: &str) {
    greet_with_offers(dialogue, argument, &LHLO);
}

fn greet_with_offers(dialogue: &mut Dialogue, argument: &str, greeting: &Greeting) {
    if greet(dialogue, argument, greeting) {
        let text = std::iter::once(hi(dialogue)).chain(offers(dialogue)).collect::<Vec<_>>();
        dialogue.say(250, "", &text.join("\n"));
    }
}

/// Parses, asks the hooks; true when the client is welcome.
fn greet(dialogue: &mut Dialogue, argument: &str, greeting: &Greeting) -> bool {
    if dialogue.is_lmtp && greeting.hello != Hello::Lhlo {
        dialogue.say(500, "5.5.1", "This is LMTP, please say LHLO");
        return false;
    }
    let parsed = dialogue.ask(greeting.parse, &Call::Line(argument));
    if dialogue.settled(greeting.hook, &parsed, argument) {
        return false;
    }
    let host = match parsed.code() {
        Code::Ok => parsed.text(),
        _ => argument.split_whitespace().next().unwrap_or(""),
    };
    if host.is_empty() {
        let name = greeting.name;
        let text = format!("{name} requires domain/address - see RFC-2821 4.1.1.1");
        dialogue.say(501, "5.5.4", &text);
        return false;
    }
    let host = host.to_owned();
    let verdict = dialogue.ask(greeting.hook, &Call::Host(&host));
    if dialogue.settled(greeting.hook, &verdict, &host) {
        return false;
    }
    match dialogue.session.connection.hello {
        Some(_) => dialogue.reset_transaction(),
        None => dialogue.junk.got_on(),
    }
    dialogue.session.connection.hello = Some(greeting.hello);
    dialogue.session.connection.hello_host = host;
    true
}

fn hi(dialogue: &mut Dialogue) -> String {
    let me = dialogue.session.me();
    let connection = &dialogue.session.connection;
    format!("{me} Hi {} [{}]", connection.remote_info(), connection.remote_ip)
}

/// The extensions that this session offers.
fn offers(dialogue: &mut Dialogue) -> Vec<String> {
    let mut offers = OFFERS.map(str::to_owned).to_vec();
    if mail::offers_smtputf8(dialogue) {
        offers.push("SMTPUTF8".into());
    }
    if mail::offers_dsn(dialogue) {
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
    if xclient::is_allowed(dialogue) {
        offers.push(format!("XCLIENT {}", xclient::names()));
    }
    let mechanisms = auth::mechanisms(dialogue);
    if !mechanisms.is_empty() {
        offers.push(format!("AUTH {}", mechanisms.join(" ")));
    }
    offers
}
