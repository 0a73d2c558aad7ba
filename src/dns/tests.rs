//! The resolver against servers that answer well, badly and not at all.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use domain::base::iana::{Class, Rcode, Rtype};
use domain::base::{Message, MessageBuilder, Name, Ttl};
use domain::rdata::{A, Aaaa, Cname, Mx, Ptr, Txt};

use super::*;
use crate::settings::NameServer;

type N = Name<Vec<u8>>;

fn name(text: &str) -> N {
    text.parse().unwrap()
}

/// What is known of the server's answers to a question: name and kind to datagrams.
type Script = dyn Fn(&[u8], &str, Rtype, bool) -> Vec<Vec<u8>> + Send + Sync;

/// A server by UDP and TCP on one port.
struct Scripted {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
    ports: Arc<Mutex<Vec<u16>>>,
}

impl Scripted {
    fn new(
        script: impl Fn(&[u8], &str, Rtype, bool) -> Vec<Vec<u8>> + Send + Sync + 'static,
    ) -> Self {
        let (udp, tcp) = loop {
            let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()) {
                break (udp, tcp);
            }
        };
        let address = udp.local_addr().unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let ports = Arc::new(Mutex::new(Vec::new()));
        let script: Arc<Script> = Arc::new(script);
        let (count, from, by_udp) = (Arc::clone(&asked), Arc::clone(&ports), Arc::clone(&script));
        std::thread::spawn(move || {
            let mut octets = [0; 2000];
            while let Ok((length, client)) = udp.recv_from(&mut octets) {
                count.fetch_add(1, Ordering::SeqCst);
                from.lock().unwrap().push(client.port());
                let (text, kind) = asked_of(&octets[..length]);
                for answer in by_udp(&octets[..length], &text, kind, false) {
                    let _ = udp.send_to(&answer, client);
                }
            }
        });
        std::thread::spawn(move || {
            for stream in tcp.incoming() {
                let mut stream = stream.unwrap();
                let mut length = [0; 2];
                if stream.read_exact(&mut length).is_err() {
                    continue;
                }
                let mut octets = vec![0; u16::from_be_bytes(length).into()];
                stream.read_exact(&mut octets).unwrap();
                let (text, kind) = asked_of(&octets);
                for answer in script(&octets, &text, kind, true) {
                    let length = u16::try_from(answer.len()).unwrap().to_be_bytes();
                    let _ = stream.write_all(&[&length, answer.as_slice()].concat());
                }
            }
        });
        Scripted { address, asked, ports }
    }

    fn server(&self) -> NameServer {
        NameServer::at(self.address)
    }

    fn ask(&self, question: Question) -> Answer {
        ask(&[self.server()], question)
    }
}

fn ask(servers: &[NameServer], question: Question) -> Answer {
    Stub { servers, deadline: Instant::now() + Duration::from_secs(60) }.ask_one(question)
}

fn ask_briefly(servers: &[NameServer], question: Question) -> Answer {
    Stub { servers, deadline: Instant::now() + Duration::from_millis(300) }.ask_one(question)
}

fn asked_of(octets: &[u8]) -> (String, Rtype) {
    let message = Message::from_slice(octets).unwrap();
    let question = message.sole_question().unwrap();
    (question.qname().to_string(), question.qtype())
}

/// An answer with records that `fill` puts in.
fn reply(
    question: &[u8],
    code: Rcode,
    fill: impl FnOnce(&mut domain::base::message_builder::AnswerBuilder<Vec<u8>>),
) -> Vec<u8> {
    let question = Message::from_slice(question).unwrap();
    let mut answer = MessageBuilder::new_vec().start_answer(question, code).unwrap();
    answer.header_mut().set_ra(true);
    fill(&mut answer);
    answer.finish()
}

fn address(question: &[u8]) -> Vec<u8> {
    let (asked, _) = asked_of(question);
    reply(question, Rcode::NOERROR, |answer| {
        let ip = A::new(Ipv4Addr::new(192, 0, 2, 1));
        answer.push((name(&asked), Class::IN, Ttl::from_secs(60), ip)).unwrap();
    })
}

fn found_address() -> Answer {
    Answer::found(vec![Record::A(Ipv4Addr::new(192, 0, 2, 1))])
}

fn closed_port() -> NameServer {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    NameServer::at(socket.local_addr().unwrap())
}

fn a(name: &str) -> Question {
    Question::new(name, Kind::A)
}

#[test]
fn records_of_every_kind() {
    let server = Scripted::new(|question, asked, kind, _| {
        let own = name(asked);
        vec![reply(question, Rcode::NOERROR, |answer| {
            let ttl = Ttl::from_secs(60);
            match kind {
                Rtype::AAAA => {
                    answer.push((own, ttl, Aaaa::new("2001:db8::1".parse().unwrap()))).unwrap();
                }
                Rtype::MX => answer.push((own, ttl, Mx::new(10, name("MX.example.")))).unwrap(),
                Rtype::PTR => {
                    answer.push((&own, ttl, Ptr::new(name("bad\\032name.example.")))).unwrap();
                    answer.push((&own, ttl, Ptr::new(name("Host.example.")))).unwrap();
                }
                Rtype::TXT => {
                    let text = Txt::<Vec<u8>>::build_from_slice(&[0xe9; 300]).unwrap();
                    answer.push((own, ttl, text)).unwrap();
                }
                _ => {}
            }
        })]
    });
    let found = |kind| server.ask(Question::new("x.example", kind));
    assert_eq!(
        found(Kind::Aaaa),
        Answer::found(vec![Record::Aaaa("2001:db8::1".parse().unwrap())])
    );
    assert_eq!(found(Kind::Mx), Answer::found(vec![Record::Mx(10, "mx.example".into())]));
    assert_eq!(found(Kind::Txt), Answer::found(vec![Record::Txt(vec![0xe9; 300])]));
    let ip = "192.0.2.7".parse().unwrap();
    assert_eq!(
        server.ask(Question::name_of(ip)),
        Answer::found(vec![Record::Ptr("host.example".into())])
    );
    assert_eq!(found(Kind::A), Answer::NoData);
}

#[test]
fn a_batch_is_asked_at_once_and_answered_in_its_order() {
    // The server answers nothing before it has heard all questions.
    let held = Mutex::new(Vec::new());
    let server = Scripted::new(move |question, asked, _, _| {
        let mut held = held.lock().unwrap();
        held.push(match asked.starts_with("none") {
            true => reply(question, Rcode::NXDOMAIN, |_| {}),
            false => address(question),
        });
        if held.len() < 3 { Vec::new() } else { held.drain(..).rev().collect() }
    });
    let questions = [a("one.example"), a("none.example"), a("two.example")];
    let servers = [server.server()];
    let stub = Stub { servers: &servers, deadline: Instant::now() + Duration::from_secs(60) };
    assert_eq!(stub.ask(&questions), [found_address(), Answer::Nothing, found_address()]);
    assert_eq!(server.asked.load(Ordering::SeqCst), 3);
}

#[test]
fn answers_that_do_not_belong_to_the_question_do_not_count() {
    let server = Scripted::new(|question, _, _, _| {
        let lie = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut lie = reply(question, Rcode::NXDOMAIN, |_| {});
            change(&mut lie);
            lie
        };
        let other = |to: &str, kind| {
            let mut other = MessageBuilder::new_vec();
            other.header_mut().set_id(Message::from_slice(question).unwrap().header().id());
            other.header_mut().set_qr(true);
            other.header_mut().set_ra(true);
            let mut other = other.question();
            other.push((name(to), kind)).unwrap();
            other.finish()
        };
        vec![
            lie(&|octets| octets[0] ^= 1),
            lie(&|octets| octets[2] &= 0x7f),
            lie(&|octets| octets.truncate(11)),
            lie(&|octets| octets.truncate(14)),
            b"nonsense".to_vec(),
            Vec::new(),
            other("evil.example.", Rtype::A),
            other("x.example.", Rtype::TXT),
            address(question),
        ]
    });
    assert_eq!(server.ask(a("x.example")), found_address());
}

#[test]
fn aliases_are_followed_and_end() {
    let server = Scripted::new(|question, asked, kind, _| {
        let ttl = Ttl::from_secs(60);
        vec![reply(question, Rcode::NOERROR, |answer| {
            let own = name(asked);
            if asked.starts_with("loop") {
                answer.push((own, ttl, Cname::new(name("b.example.")))).unwrap();
                answer.push((name("b.example."), ttl, Cname::new(name(asked)))).unwrap();
            } else {
                answer.push((own, ttl, Cname::new(name("B.example.")))).unwrap();
                answer.push((name("b.example."), ttl, Cname::new(name("c.example.")))).unwrap();
                // Records of other names have no business here.
                let evil = A::new(Ipv4Addr::new(198, 51, 100, 1));
                answer.push((name("evil.example."), ttl, evil)).unwrap();
                if kind == Rtype::A {
                    let ip = A::new(Ipv4Addr::new(192, 0, 2, 1));
                    answer.push((name("c.example."), ttl, ip)).unwrap();
                }
            }
        })]
    });
    assert_eq!(server.ask(a("a.example")), found_address());
    assert_eq!(server.ask(Question::new("a.example", Kind::Txt)), Answer::NoData);
    assert!(matches!(ask_briefly(&[server.server()], a("loop.example")), Answer::Failed(_)));
}

#[test]
fn what_is_truncated_comes_by_tcp() {
    let server = Scripted::new(|question, asked, _, tcp| {
        if tcp {
            return vec![reply(question, Rcode::NOERROR, |answer| {
                let text = Txt::<Vec<u8>>::build_from_slice(&[b'x'; 5000]).unwrap();
                answer.push((name(asked), Ttl::from_secs(60), text)).unwrap();
            })];
        }
        let mut truncated = reply(question, Rcode::NOERROR, |_| {});
        truncated[2] |= 2;
        vec![truncated]
    });
    let long = server.ask(Question::new("long.example", Kind::Txt));
    assert_eq!(long, Answer::found(vec![Record::Txt(vec![b'x'; 5000])]));
}

#[test]
fn a_server_that_fails_is_followed_by_the_next() {
    let good = Scripted::new(|question, _, _, _| vec![address(question)]);
    let refuses = Scripted::new(|question, _, _, _| vec![reply(question, Rcode::REFUSED, |_| {})]);
    let fails = Scripted::new(|question, _, _, _| vec![reply(question, Rcode::SERVFAIL, |_| {})]);
    let lame = Scripted::new(|question, _, _, _| {
        let mut lame = reply(question, Rcode::NOERROR, |_| {});
        lame[3] &= 0x7f;
        vec![lame]
    });
    let breaks = Scripted::new(|question, _, _, _| {
        let mut truncated = reply(question, Rcode::NOERROR, |_| {});
        truncated[2] |= 2;
        vec![truncated]
    });
    for bad in [refuses.server(), fails.server(), lame.server(), closed_port()] {
        assert_eq!(ask(&[bad, good.server()], a("x.example")), found_address());
    }
    // By TCP the last one answers as by UDP, truncated, which is no answer.
    assert_eq!(ask(&[breaks.server(), good.server()], a("x.example")), found_address());
    let silent = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let silent = NameServer::at(silent.local_addr().unwrap());
    let servers = [silent, good.server()];
    let stub = Stub { servers: &servers, deadline: Instant::now() + Duration::from_secs(6) };
    assert_eq!(stub.ask_one(a("x.example")), found_address());
}

#[test]
fn who_says_nothing_costs_the_time_that_there_was() {
    let silent = Scripted::new(|_, _, _, _| Vec::new());
    let answer = ask_briefly(&[silent.server()], a("x.example"));
    assert_eq!(answer, Answer::Failed("no answer in time".into()));
    assert!(silent.asked.load(Ordering::SeqCst) >= 2, "a lost question is asked again");
    let refuses = Scripted::new(|question, _, _, _| vec![reply(question, Rcode::REFUSED, |_| {})]);
    let Answer::Failed(why) = ask_briefly(&[refuses.server()], a("x.example")) else { panic!() };
    assert!(why.contains("REFUSED"), "{why}");
}

/// Answers to other questions come without end, faster than they are read.
#[test]
fn a_flood_of_answers_ends_with_the_time_that_there_was() {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let server = NameServer::at(socket.local_addr().unwrap());
    let over = Arc::new(AtomicUsize::new(0));
    let own = Arc::clone(&over);
    let flood = std::thread::spawn(move || {
        let mut octets = [0; 2000];
        let (length, client) = socket.recv_from(&mut octets).unwrap();
        let mut lie = reply(&octets[..length], Rcode::NXDOMAIN, |_| {});
        lie[0] ^= 1;
        let end = Instant::now() + Duration::from_secs(60);
        while own.load(Ordering::SeqCst) == 0 && Instant::now() < end {
            let _ = socket.send_to(&lie, client);
        }
        Instant::now() < end
    });
    assert!(matches!(ask_briefly(&[server], a("x.example")), Answer::Failed(_)));
    over.store(1, Ordering::SeqCst);
    assert!(flood.join().unwrap(), "the answer came when the flood was over");
}

#[test]
fn each_batch_has_a_port_of_its_own() {
    let server = Scripted::new(|question, _, _, _| vec![address(question)]);
    for _ in 0..8 {
        server.ask(a("x.example"));
    }
    let mut ports = server.ports.lock().unwrap().clone();
    ports.sort_unstable();
    ports.dedup();
    assert!(ports.len() > 1, "{ports:?}");
}

#[test]
fn names_that_cannot_be_asked_for_have_no_records() {
    let server = Scripted::new(|question, _, _, _| vec![address(question)]);
    let long = "x".repeat(64);
    let longer = "a.".repeat(130);
    for name in [long.as_str(), "a..b", ".", longer.as_str()] {
        assert_eq!(server.ask(a(name)), Answer::Nothing, "{name}");
    }
    assert_eq!(server.asked.load(Ordering::SeqCst), 0);
    assert_eq!(server.ask(a("odd name_%.example.")), found_address());
}

#[test]
fn the_mark_of_dnssec_counts_from_trusted_servers_only() {
    let server = Scripted::new(|question, _, _, _| {
        let mut answer = address(question);
        answer[3] |= 0x20;
        vec![answer]
    });
    let authentic = |server| match ask(&[server], a("x.example")) {
        Answer::Found { authentic, .. } => authentic,
        other => panic!("{other:?}"),
    };
    assert!(authentic(server.server()));
    assert!(!authentic(NameServer { trusted: false, ..server.server() }));
}

#[test]
fn a_session_asks_nothing_twice() {
    let server = Scripted::new(|question, asked, _, _| match asked.starts_with("silent") {
        true => vec![reply(question, Rcode::SERVFAIL, |_| {})],
        false => vec![address(question)],
    });
    let memory = Memory::default();
    let servers = [server.server()];
    let ask = |names: &[&str]| {
        let deadline = Instant::now() + Duration::from_millis(500);
        let questions: Vec<Question> = names.iter().map(|name| a(name)).collect();
        memory.ask(&Stub { servers: &servers, deadline }, &questions)
    };
    assert_eq!(ask(&["x.example", "X.example.", "y.example"]), vec![found_address(); 3]);
    assert_eq!(server.asked.load(Ordering::SeqCst), 2);
    assert_eq!(ask(&["y.example", "z.example"]), vec![found_address(); 2]);
    assert_eq!(server.asked.load(Ordering::SeqCst), 3);
    assert!(matches!(ask(&["silent.example"])[0], Answer::Failed(_)));
    let asked = server.asked.load(Ordering::SeqCst);
    assert!(matches!(ask(&["silent.example"])[0], Answer::Failed(_)));
    assert_eq!(server.asked.load(Ordering::SeqCst), asked);
}
