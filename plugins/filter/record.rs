//! What a filter is told of a session.  It is kept as well: a filter that comes in the place of another
//! one is told all that counts still.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;

use super::keeper::Keeper;
use super::protocol::{self, Event};
use crate::dns::Iprev;
use crate::hook::{Heard, Session};
use crate::state::Connection;

/// What OpenSMTPD says where an address has no name.
const UNKNOWN: &str = "<unknown>";

/// In the place of a command that has its answer.
const ANSWERED: &str = "-";

/// A session, as the filter knows it.
#[derive(Debug)]
pub(super) struct Record {
    /// Whose session it is, and its number.
    id: String,
    pub(super) number: u64,
    /// The filter that has been told of it.
    to: u64,
    /// Name, whether that leads back, address and port of the client; those of the server.
    client: Option<[String; 4]>,
    /// Events of the connection, then those of the transaction.
    events: Vec<(Event, Vec<String>)>,
    /// The command that is being answered.
    verb: String,
    argument: String,
    /// As whom the client wants to authenticate.
    pub(super) user: String,
    transaction: Option<Transaction>,
    transactions: u32,
    /// Is all that comes spam?
    pub(super) is_junk: bool,
}

#[derive(Debug)]
struct Transaction {
    id: String,
    recipients: u32,
    /// How many of the events are the connection's.
    before: usize,
    has_data: bool,
    /// The octets of the message that was taken.
    taken: Option<u64>,
}

impl Record {
    /// A new session; `count` tells those of the same id apart.
    pub(super) fn new(id: &str, count: u32) -> Record {
        Record {
            id: id.to_owned(),
            number: number_of(&(id, count)),
            to: 0,
            client: None,
            events: vec![],
            verb: String::new(),
            argument: String::new(),
            user: String::new(),
            transaction: None,
            transactions: 0,
            is_junk: false,
        }
    }

    pub(super) fn is_of(&self, session: &Session) -> bool {
        self.id == session.id()
    }

    /// Tells the running filter all that it has not heard.
    pub(super) fn introduce(&mut self, keeper: &mut Keeper, session: &Session) {
        let version = keeper.program().version();
        let Some((generation, link)) = keeper.running() else { return };
        if self.to == generation {
            return;
        }
        let wanted = link.wanted();
        let mut lines = vec![];
        if wanted.event(Event::LinkConnect) {
            let number = self.number;
            let fields = self.client(session).each_ref().map(String::as_str);
            lines.extend(protocol::report(version, Event::LinkConnect, number, &fields));
        }
        for (event, fields) in self.events.iter().filter(|(event, _)| wanted.event(*event)) {
            let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
            lines.extend(protocol::report(version, *event, self.number, &fields));
        }
        let done = link.send(&lines);
        self.to = generation;
        if let Err(error) = done {
            keeper.lose(&error, None);
        }
    }

    /// Tells an event that passes.
    pub(super) fn say(&self, keeper: &mut Keeper, event: Event, fields: &[&str]) {
        let version = keeper.program().version();
        let Some((generation, link)) = keeper.running() else { return };
        let is_last = event == Event::LinkDisconnect && link.is_shared();
        if self.to != generation || !(link.wanted().event(event) || is_last) {
            return;
        }
        if let Err(error) = link.send(&protocol::report(version, event, self.number, fields)) {
            keeper.lose(&error, None);
        }
    }

    /// The same with an event that counts as long as connection or transaction.
    fn note(&mut self, keeper: &mut Keeper, event: Event, fields: &[&str]) {
        self.say(keeper, event, fields);
        self.events.push((event, fields.iter().map(|field| (*field).to_owned()).collect()));
    }

    /// Name, whether that leads back, address and port of the client; those of the server.
    pub(super) fn client(&mut self, session: &Session) -> &[String; 4] {
        self.client.get_or_insert_with(|| client(session))
    }

    /// Something has gone over the line.
    pub(super) fn hear(&mut self, keeper: &mut Keeper, session: &mut Session, heard: &Heard<'_>) {
        match heard {
            Heard::Line(line) => self.say(keeper, Event::ProtocolClient, &[line]),
            Heard::Command { verb, argument } => {
                (*verb).clone_into(&mut self.verb);
                (*argument).clone_into(&mut self.argument);
                if *verb == "BDAT" {
                    self.data(keeper, "ok");
                }
            }
            Heard::Reply(lines) => {
                for line in lines.lines() {
                    self.say(keeper, Event::ProtocolServer, &[line]);
                }
                let code = lines.get(..3).and_then(|code| code.parse().ok()).unwrap_or(0);
                self.reply(keeper, session, code);
            }
            Heard::Encrypted => {
                let tls = tls_string(&session.connection);
                self.note(keeper, Event::LinkTls, &[&tls]);
            }
            Heard::TimedOut => self.say(keeper, Event::Timeout, &[]),
        }
    }

    /// What is told depends on what the client is answered.
    fn reply(&mut self, keeper: &mut Keeper, session: &mut Session, code: u16) {
        self.answered(keeper, session, code);
        let is_message = self.transaction.as_ref().is_some_and(|open| open.has_data);
        if code / 100 != 3 && !is_message {
            // What is said after the answer has nothing to do with the command.
            ANSWERED.clone_into(&mut self.verb);
        }
    }

    fn answered(&mut self, keeper: &mut Keeper, session: &mut Session, code: u16) {
        let result = match code / 100 {
            2 | 3 => "ok",
            4 => "tempfail",
            _ => "permfail",
        };
        match (self.verb.as_str(), code) {
            ("", 220) => {
                let me = session.me();
                self.note(keeper, Event::LinkGreeting, &[&me]);
            }
            ("HELO" | "EHLO" | "LHLO", 250) => {
                let method = if self.verb == "HELO" { "HELO" } else { "EHLO" };
                let host = session.connection.hello_host.clone();
                self.note(keeper, Event::LinkIdentify, &[method, &host]);
            }
            ("AUTH", 235) => {
                let user = session.auth_user().unwrap_or_default().to_owned();
                self.note(keeper, Event::LinkAuth, &["pass", &user]);
            }
            ("AUTH", 535) => self.say(keeper, Event::LinkAuth, &["fail", &self.user]),
            ("AUTH", 400..500) => self.say(keeper, Event::LinkAuth, &["error", &self.user]),
            ("MAIL", _) => {
                let id = self.begin(keeper, code == 250);
                let sender = path_in(&self.argument);
                match code {
                    250 => self.note(keeper, Event::TxMail, &[&id, result, &sender]),
                    _ => self.say(keeper, Event::TxMail, &[&id, result, &sender]),
                }
            }
            ("RCPT", _) => self.recipient(keeper, result),
            ("DATA", 354) => self.data(keeper, result),
            ("DATA" | "BDAT", _) => match &mut self.transaction {
                Some(open) if open.has_data => {
                    let is_last = self.verb == "DATA"
                        || self
                            .argument
                            .split_whitespace()
                            .any(|word| word.eq_ignore_ascii_case("LAST"));
                    if code == 250 && is_last {
                        open.taken = Some(session.transaction.message_len());
                    }
                }
                Some(_) => self.data(keeper, result),
                None => {}
            },
            _ => {}
        }
    }

    /// MAIL is answered: the id of its transaction, which has begun if that is accepted.
    fn begin(&mut self, keeper: &mut Keeper, is_accepted: bool) -> String {
        self.transactions += 1;
        let id = number_of(&(self.number, self.transactions)) as u32 | 1;
        let id = format!("{id:08x}");
        if is_accepted {
            self.transaction = Some(Transaction {
                id: id.clone(),
                recipients: 0,
                before: self.events.len(),
                has_data: false,
                taken: None,
            });
            self.note(keeper, Event::TxBegin, &[&id]);
        }
        id
    }

    fn recipient(&mut self, keeper: &mut Keeper, result: &str) {
        let Some(open) = &mut self.transaction else { return };
        open.recipients += 1;
        let (id, count) = (open.id.clone(), open.recipients);
        let recipient = path_in(&self.argument);
        if result != "ok" {
            return self.say(keeper, Event::TxRcpt, &[&id, result, &recipient]);
        }
        self.note(keeper, Event::TxRcpt, &[&id, result, &recipient]);
        self.note(keeper, Event::TxEnvelope, &[&id, &format!("{id}{count:08x}")]);
    }

    fn data(&mut self, keeper: &mut Keeper, result: &str) {
        let Some(open) = self.transaction.as_mut().filter(|open| !open.has_data) else { return };
        open.has_data = result == "ok";
        let id = open.id.clone();
        match result {
            "ok" => self.note(keeper, Event::TxData, &[&id, result]),
            _ => self.say(keeper, Event::TxData, &[&id, result]),
        }
    }

    /// The transaction is over, if there is one.
    pub(super) fn end_transaction(&mut self, keeper: &mut Keeper) {
        let Some(over) = self.transaction.take() else { return };
        match over.taken {
            Some(size) => {
                self.say(keeper, Event::TxCommit, &[&over.id, &size.to_string()]);
            }
            None => self.say(keeper, Event::TxRollback, &[&over.id]),
        }
        self.say(keeper, Event::TxReset, &[&over.id]);
        self.events.truncate(over.before);
    }
}

/// A number that is nobody else's, as far as can be.
fn number_of(of: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

fn client(session: &Session) -> [String; 4] {
    let connection = &session.connection;
    if connection.by_path {
        let [path, other] = ["unix:local", "unix:local"].map(str::to_owned);
        return [name_of(connection), "pass".into(), path, other];
    }
    let (name, leads_back) = match Iprev::of(&session.dns(), connection.remote_ip) {
        Iprev::Pass(name) => (name, "pass"),
        Iprev::Fail(_) => (name_of(connection), "fail"),
        Iprev::TempError(_) => (UNKNOWN.into(), "error"),
        Iprev::PermError => (UNKNOWN.into(), "fail"),
    };
    let end = |ip: IpAddr, port: u16| format!("{}:{port}", address(ip));
    let source = end(connection.remote_ip, connection.remote_port);
    [name, leads_back.into(), source, end(connection.local_ip, connection.local_port)]
}

fn name_of(connection: &Connection) -> String {
    let name = connection.remote_host();
    if name == "Unknown" { UNKNOWN.into() } else { name.to_owned() }
}

/// An address, an IPv6 one in brackets.
fn address(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    }
}

/// The client's address as the phase `connect` has it.
pub(super) fn source(connection: &Connection) -> String {
    if connection.by_path { "local".into() } else { address(connection.remote_ip) }
}

/// The version, the cipher suite and its strength in bits.
fn tls_string(connection: &Connection) -> String {
    connection.encryption.as_ref().map_or_else(String::new, |encryption| {
        let bits = if encryption.cipher.contains("_128_") { 128 } else { 256 };
        format!("{}:{}:{bits}", encryption.protocol, encryption.cipher)
    })
}

/// The path in an argument of MAIL or RCPT, without its brackets.
fn path_in(argument: &str) -> String {
    let path = argument.split_once(':').map_or(argument, |(_, rest)| rest).trim_start();
    let inside = path.strip_prefix('<').and_then(|rest| rest.split_once('>')).map(|(path, _)| path);
    inside.unwrap_or_else(|| path.split(' ').next().unwrap_or_default()).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_found_in_arguments() {
        for (argument, path) in [
            ("FROM:<a@b.example> SIZE=1", "a@b.example"),
            ("TO: <a@b.example>", "a@b.example"),
            ("FROM:<>", ""),
            ("FROM:a@b.example SIZE=1", "a@b.example"),
            ("<a", "<a"),
        ] {
            assert_eq!(path_in(argument), path);
        }
    }

    #[test]
    fn addresses_are_written_as_opensmtpd_does() {
        assert_eq!(address("192.0.2.1".parse().unwrap()), "192.0.2.1");
        assert_eq!(address("2001:db8::1".parse().unwrap()), "[2001:db8::1]");
    }
}
