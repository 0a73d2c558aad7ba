//! What the daemons make of answers that no good name server gives: a lie is not believed, and what
//! nobody knows is a temporary failure.

use std::net::Ipv4Addr;

use domain::base::iana::{Class, Rcode, Rtype};
use domain::base::{Message, MessageBuilder, Ttl};
use domain::rdata::Cname;
use qpsmtpd::dns::{Kind, Record, Table};

use super::servers::{Asked, NameServer, framed, name_of, push};
use crate::harness::{Config, Model, Server};

/// How the server answers for a domain, and what a client hears that sends from there: 250 where the
/// answer that counts says that there is such a domain, 550 where it says that there is none, 450
/// where nobody knows.
type Row = (&'static str, fn(&Asked) -> Vec<Vec<u8>>, &'static str);

const ROWS: &[Row] = &[
    ("good.test", |asked| vec![truth(asked)], "250"),
    ("none.test", |asked| vec![denial(asked)], "550"),
    ("wrong-id-first.test", |asked| [wrong_ids(asked), vec![truth(asked)]].concat(), "250"),
    ("wrong-id.test", wrong_ids, "450"),
    ("wrong-question-first.test", |asked| vec![of_other(asked), truth(asked)], "250"),
    ("wrong-question.test", |asked| vec![of_other(asked)], "450"),
    ("no-question.test", |asked| vec![without_question(asked)], "450"),
    ("question-back.test", |asked| vec![asked.octets.clone()], "450"),
    ("nonsense.test", |_| vec![b"nonsense".to_vec(), vec![], vec![0xff; 4096]], "450"),
    ("loop.test", |asked| vec![aliases(asked, 2)], "450"),
    ("many-aliases.test", |asked| vec![aliases(asked, 60)], "450"),
    ("oversize.test", |asked| vec![large(asked, 30_000)], "450"),
    ("cut.test", |asked| vec![truth(asked)[..truth(asked).len() - 3].to_vec()], "450"),
    ("silent.test", |_| vec![], "450"),
    ("lame.test", |asked| vec![lame(asked)], "450"),
    ("refused.test", |asked| vec![asked.reply(Rcode::REFUSED, |_| {})], "450"),
    ("failing.test", |asked| vec![asked.reply(Rcode::SERVFAIL, |_| {})], "450"),
    ("other-records.test", |asked| vec![of_other_name(asked)], "550"),
    ("by-tcp.test", |asked| by_tcp(asked, |whole| vec![whole]), "250"),
    ("large-by-tcp.test", |asked| by_tcp(asked, |_| vec![framed(&large(asked, 65_000))]), "250"),
    (
        "in-pieces.test",
        |asked| by_tcp(asked, |whole| whole.chunks(1).map(<[u8]>::to_vec).collect()),
        "250",
    ),
    ("tcp-ends.test", |asked| by_tcp(asked, |whole| vec![whole[..20].to_vec()]), "450"),
    ("tcp-silent.test", |asked| by_tcp(asked, |_| vec![]), "450"),
    ("tcp-lies.test", |asked| by_tcp(asked, |_| vec![framed(&wrong_ids(asked)[0])]), "450"),
    ("tcp-truncated.test", |asked| by_tcp(asked, |_| vec![framed(&truncated(asked))]), "450"),
    ("tcp-empty.test", |asked| by_tcp(asked, |_| vec![vec![0, 0]]), "450"),
];

#[test]
fn no_lie_is_believed_and_no_doubt_is_for_good() {
    let server = NameServer::new(|asked| {
        let name = asked.question.name();
        let row = ROWS.iter().find(|(domain, ..)| *domain == name);
        row.map_or_else(|| vec![denial(asked)], |(_, script, _)| script(asked))
    });
    let config = resolvable(&format!("{}", server.address));
    let daemon = Server::start(&config, Model::Prefork);
    // Each waits for what never comes; together they wait once.
    std::thread::scope(|scope| {
        for (domain, _, code) in ROWS {
            let daemon = &daemon;
            scope.spawn(move || {
                let mut client = daemon.connect();
                client.hello();
                client.ask(&format!("MAIL FROM:<a@{domain}>"), code);
                client.quit();
            });
        }
    });
    let heard = server.heard();
    assert!(heard.contains(&"MX in-pieces.test by TCP".to_owned()), "{heard:?}");
    daemon.stop().unwrap();
}

#[test]
fn the_next_server_is_asked_where_one_does_not_know() {
    let truncates = NameServer::without_tcp(|asked| vec![truncated(asked)]);
    let good = NameServer::new(|asked| vec![truth(asked)]);
    for (servers, code) in [
        (format!("{}", truncates.address), "450"),
        (format!("{}\n{}", truncates.address, good.address), "250"),
        (format!("{}\n{}", NameServer::silent().address, good.address), "250"),
    ] {
        let config = resolvable(&servers);
        let daemon = Server::start(&config, Model::Forkserver);
        let mut client = daemon.connect();
        client.hello();
        client.ask("MAIL FROM:<a@x.test>", code);
        client.quit();
        daemon.stop().unwrap();
    }
}

fn resolvable(servers: &str) -> Config {
    Config::new()
        .set("plugins", "resolvable_fromhost reject_type perm\nrcpt_ok\nqueue/discard")
        .set("dns_servers", servers)
        .set("dns_timeout", "2")
}

/// What a good server says: the domain has an address.
fn truth(asked: &Asked) -> Vec<u8> {
    asked.of_table(&Table::new(&format!("{} A 192.0.2.1", asked.question.name())))
}

fn denial(asked: &Asked) -> Vec<u8> {
    asked.reply(Rcode::NXDOMAIN, |_| {})
}

/// Denials under ids close to the right one.
fn wrong_ids(asked: &Asked) -> Vec<Vec<u8>> {
    let lie = |bit: u32| {
        let mut lie = denial(asked);
        lie[(bit / 8) as usize] ^= 1 << (bit % 8);
        lie
    };
    (0..16).map(lie).collect()
}

/// A denial that answers another question under the right id.
fn of_other(asked: &Asked) -> Vec<u8> {
    let mut other = MessageBuilder::new_vec();
    other.header_mut().set_id(Message::from_slice(&asked.octets).unwrap().header().id());
    other.header_mut().set_qr(true);
    other.header_mut().set_ra(true);
    other.header_mut().set_rcode(Rcode::NXDOMAIN);
    let mut other = other.question();
    other.push((name_of("other.test"), Rtype::A)).unwrap();
    other.finish()
}

fn without_question(asked: &Asked) -> Vec<u8> {
    let mut denial = denial(asked);
    denial.truncate(12);
    denial[4..12].fill(0);
    denial
}

/// So many aliases in a row, from the last one to the first.
fn aliases(asked: &Asked, count: usize) -> Vec<u8> {
    asked.reply(Rcode::NOERROR, |answer| {
        let name = |at: usize| match at % count {
            0 => name_of(asked.question.name()),
            at => name_of(&format!("{at}.test")),
        };
        for at in 0..count {
            let alias = Cname::new(name(at + 1));
            answer.push((name(at), Class::IN, Ttl::from_secs(60), alias)).unwrap();
        }
    })
}

/// The truth, so many octets long.
fn large(asked: &Asked, octets: usize) -> Vec<u8> {
    if asked.question.kind() != Kind::A {
        return truth(asked);
    }
    asked.reply(Rcode::NOERROR, |answer| {
        while answer.as_slice().len() + 64 < octets {
            push(answer, asked.question.name(), &Record::A(Ipv4Addr::new(192, 0, 2, 1)));
        }
    })
}

/// What a server says that knows nothing of the domain, and would not ask others.
fn lame(asked: &Asked) -> Vec<u8> {
    let mut lame = asked.reply(Rcode::NOERROR, |_| {});
    lame[3] &= 0x7f;
    lame
}

fn truncated(asked: &Asked) -> Vec<u8> {
    let mut truncated = asked.reply(Rcode::NOERROR, |_| {});
    truncated[2] |= 2;
    truncated
}

/// An address of somebody who was not asked for.
fn of_other_name(asked: &Asked) -> Vec<u8> {
    asked.reply(Rcode::NOERROR, |answer| {
        push(answer, "other.test", &Record::A(Ipv4Addr::new(192, 0, 2, 1)));
    })
}

/// Truncated by UDP; by TCP what `pieces` makes of the truth.
fn by_tcp(asked: &Asked, pieces: impl Fn(Vec<u8>) -> Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    if asked.by_tcp { pieces(framed(&truth(asked))) } else { vec![truncated(asked)] }
}
