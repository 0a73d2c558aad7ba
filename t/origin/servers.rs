//! Name servers: Debian's, and some that answer as no good server does.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::process::Command;
use std::sync::{Arc, Mutex};

use domain::base::iana::{Class, Rcode, Rtype};
use domain::base::message_builder::AnswerBuilder;
use domain::base::{Message, MessageBuilder, Name, Ttl};
use domain::rdata::{A, Aaaa, Mx, Ptr, Tlsa, Txt};
use nix::unistd::User;
use qpsmtpd::dns::{Answer, Dns, Kind, Question, Record, Table};

use crate::harness::{Config, Log, Process, deb, free_port};

/// A TXT record: its name and its strings.
pub(crate) type Text = (String, Vec<String>);

/// Debian's dnsmasq with these records, and nobody else to ask.
pub(crate) fn dnsmasq(port: u16, records: &[Text]) -> Process {
    let mut command = Command::new(deb::program("dnsmasq").unwrap());
    let user = User::from_uid(nix::unistd::geteuid()).unwrap().unwrap().name;
    command.args(["--keep-in-foreground", "--conf-file=/dev/null", "--log-facility=-"]);
    command.args(["--no-resolv", "--no-hosts", "--bind-interfaces", "--listen-address=127.0.0.1"]);
    command.args(["--local=/test/", "--local=/arpa/", "--pid-file="]);
    command.arg(format!("--user={user}")).arg(format!("--port={port}"));
    for (name, strings) in records {
        command.arg(format!("--txt-record={name},{}", strings.join(",")));
    }
    started(command, "started")
}

/// Debian's unbound with these records, and nobody else to ask.
pub(crate) fn unbound(port: u16, records: &[Text], config: &Config) -> Process {
    let mut text = format!(
        "server:\n directory: \"\"\n chroot: \"\"\n username: \"\"\n pidfile: \"\"\n \
         use-syslog: no\n do-daemonize: no\n verbosity: 1\n interface: 127.0.0.1@{port}\n \
         module-config: \"iterator\"\n local-zone: \"test.\" static\n local-zone: \"arpa.\" static\n"
    );
    for (name, strings) in records {
        let strings: Vec<String> = strings.iter().map(|text| format!("\"{text}\"")).collect();
        text += &format!(" local-data: '{name}. TXT {}'\n", strings.join(" "));
    }
    text += "remote-control:\n control-enable: no\n";
    let path = config.path("unbound.conf");
    fs::write(&path, text).unwrap();
    let mut command = Command::new(deb::program("unbound").unwrap());
    command.arg("-d").arg("-c").arg(path);
    started(command, "start of service")
}

fn started(command: Command, says: &str) -> Process {
    let log = Log::default();
    let process = Process::spawn(command, &log);
    log.wait_for(says);
    process
}

/// A question that a [`NameServer`] was asked.
pub(crate) struct Asked {
    pub(crate) octets: Vec<u8>,
    pub(crate) question: Question,
    pub(crate) by_tcp: bool,
}

/// A server by UDP, and by TCP at the same port unless that is refused.  What it answers, a script
/// says: datagrams, or what is written to the connection piece by piece; after no piece at all the
/// connection stays open.
pub(crate) struct NameServer {
    pub(crate) address: SocketAddr,
    heard: Arc<Mutex<Vec<String>>>,
    /// From which ports it was asked by UDP.
    ports: Arc<Mutex<BTreeSet<u16>>>,
}

impl NameServer {
    /// A server that answers by UDP only.
    pub(crate) fn without_tcp(
        script: impl Fn(&Asked) -> Vec<Vec<u8>> + Send + 'static,
    ) -> NameServer {
        let udp = at_free_port();
        let address = udp.local_addr().unwrap();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let ports = Arc::new(Mutex::new(BTreeSet::new()));
        let (own, from) = (Arc::clone(&heard), Arc::clone(&ports));
        std::thread::spawn(move || {
            let mut octets = [0; 2000];
            while let Ok((length, client)) = udp.recv_from(&mut octets) {
                from.lock().unwrap().insert(client.port());
                let asked = Asked::new(&octets[..length], false);
                own.lock().unwrap().push(asked.to_string());
                for answer in script(&asked) {
                    udp.send_to(&answer, client).ok();
                }
            }
        });
        NameServer { address, heard, ports }
    }

    /// A server by UDP and TCP.
    pub(crate) fn new(
        script: impl Fn(&Asked) -> Vec<Vec<u8>> + Clone + Send + 'static,
    ) -> NameServer {
        let server = NameServer::without_tcp(script.clone());
        let tcp = TcpListener::bind(server.address).unwrap();
        let own = Arc::clone(&server.heard);
        std::thread::spawn(move || {
            let mut open = Vec::new();
            for mut stream in tcp.incoming().map_while(Result::ok) {
                stream.set_nodelay(true).unwrap();
                let mut length = [0; 2];
                if stream.read_exact(&mut length).is_err() {
                    continue;
                }
                let mut octets = vec![0; u16::from_be_bytes(length).into()];
                stream.read_exact(&mut octets).unwrap();
                let asked = Asked::new(&octets, true);
                own.lock().unwrap().push(asked.to_string());
                let pieces = script(&asked);
                for piece in &pieces {
                    stream.write_all(piece).ok();
                }
                if pieces.is_empty() {
                    open.push(stream);
                }
            }
        });
        server
    }

    /// A server that takes questions and never answers.
    pub(crate) fn silent() -> NameServer {
        NameServer::new(|_| Vec::new())
    }

    /// How often somebody waited for it: what is asked at once has a port of its own.
    pub(crate) fn waits(&self) -> usize {
        self.ports.lock().unwrap().len()
    }

    /// What it was asked so far: `A www.example`, or `A www.example by TCP`.
    pub(crate) fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }
}

/// A socket for UDP whose number no TCP socket gets.
fn at_free_port() -> UdpSocket {
    loop {
        if let Ok(socket) = UdpSocket::bind((Ipv4Addr::LOCALHOST, free_port())) {
            return socket;
        }
    }
}

impl Asked {
    fn new(octets: &[u8], by_tcp: bool) -> Asked {
        let message = Message::from_slice(octets).unwrap();
        let asked = message.sole_question().unwrap();
        let kind = match asked.qtype() {
            Rtype::A => Kind::A,
            Rtype::AAAA => Kind::Aaaa,
            Rtype::MX => Kind::Mx,
            Rtype::TXT => Kind::Txt,
            Rtype::PTR => Kind::Ptr,
            Rtype::NS => Kind::Ns,
            Rtype::TLSA => Kind::Tlsa,
            other => panic!("{other} was asked for"),
        };
        let question = Question::new(&asked.qname().to_string(), kind);
        Asked { octets: octets.to_vec(), question, by_tcp }
    }

    /// An answer that a good server would give: with that code, and what `fill` puts in.
    pub(crate) fn reply(
        &self,
        code: Rcode,
        fill: impl FnOnce(&mut AnswerBuilder<Vec<u8>>),
    ) -> Vec<u8> {
        let question = Message::from_slice(self.octets.as_slice()).unwrap();
        let mut answer = MessageBuilder::new_vec().start_answer(question, code).unwrap();
        answer.header_mut().set_ra(true);
        fill(&mut answer);
        answer.finish()
    }

    /// The answer of a table.
    pub(crate) fn of_table(&self, table: &Table) -> Vec<u8> {
        let found = table.ask_one(self.question.clone());
        let records = match &found {
            Answer::Nothing => return self.reply(Rcode::NXDOMAIN, |_| {}),
            Answer::Failed(_) => return self.reply(Rcode::SERVFAIL, |_| {}),
            answer => answer.records().to_vec(),
        };
        self.reply(Rcode::NOERROR, |answer| {
            answer.header_mut().set_ad(matches!(found, Answer::Found { authentic: true, .. }));
            records.iter().for_each(|record| push(answer, self.question.name(), record));
        })
    }
}

impl std::fmt::Display for Asked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = format!("{:?}", self.question.kind()).to_uppercase();
        let how = if self.by_tcp { " by TCP" } else { "" };
        write!(f, "{kind} {}{how}", self.question.name())
    }
}

/// A message as TCP has it: its length in front.
pub(crate) fn framed(message: &[u8]) -> Vec<u8> {
    let length = u16::try_from(message.len()).unwrap();
    [&length.to_be_bytes(), message].concat()
}

/// Puts a record of that name in.
pub(crate) fn push(answer: &mut AnswerBuilder<Vec<u8>>, name: &str, record: &Record) {
    let (name, ttl) = (name_of(name), Ttl::from_secs(60));
    match record {
        Record::A(ip) => answer.push((name, Class::IN, ttl, A::new(*ip))),
        Record::Aaaa(ip) => answer.push((name, Class::IN, ttl, Aaaa::new(*ip))),
        Record::Tlsa(own) => {
            let (usage, selector) = (own.usage.into(), own.selector.into());
            let tlsa = Tlsa::new(usage, selector, own.matching.into(), own.data.as_slice());
            answer.push((name, Class::IN, ttl, tlsa))
        }
        Record::Mx(preference, host) => {
            answer.push((name, Class::IN, ttl, Mx::new(*preference, name_of(host))))
        }
        Record::Txt(text) => {
            let text = Txt::<Vec<u8>>::build_from_slice(text).unwrap();
            answer.push((name, Class::IN, ttl, text))
        }
        Record::Ptr(host) => answer.push((name, Class::IN, ttl, Ptr::new(name_of(host)))),
        other => panic!("{other:?} is not written"),
    }
    .unwrap();
}

pub(crate) fn name_of(text: &str) -> Name<Vec<u8>> {
    if text.is_empty() { Name::root_vec() } else { text.parse().unwrap() }
}
