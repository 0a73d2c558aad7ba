//! The picture of the page in the documentation, with traffic as a server has it.
//!
//! `t/picture` makes it: with the variable QPSMTPD_PICTURE the picture is that file, and the traffic
//! lasts as many minutes as QPSMTPD_PICTURE_MINUTES says.  Without them the test only shows that this
//! still works.

use std::net::TcpStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use qpsmtpd::dns::Table;
use serde_json::Value;

use super::browser::{screenshot, size};
use super::{exchange, value};
use crate::harness::{Client, Config, Model, Server, deb, free_port};
use crate::origin::servers::NameServer;

/// The width and height of the picture: at least five of the last events are in it.
const PICTURE: (u32, u32) = (1000, 1820);

/// How many clients come at a time, at most.
const CLIENTS: u64 = 7;

/// How long a client waits before it says the next thing, at most, in milliseconds.
const HESITATION: u64 = 900;

/// How long the traffic goes up and down again.
const TIDE: Duration = Duration::from_secs(17 * 60);

const PLUGINS: &str = "\
hosts_allow
relay
earlytalker wait 0.2
dnsbl
helo
badmailfrom
resolvable_fromhost
greylisting black_timeout 0
no_prizes
badrcptto
rcpt_ok
headers require From,Date
dkim
loop
queue/maildir {work}/Maildir";

/// A plugin in Perl.
const NO_PRIZES: &str = "\
sub hook_data_post {
    my ($self, $transaction) = @_;
    my $subject = $transaction->header->get('Subject') || '';
    return DENY, 'You have not won a prize' if $subject =~ /prize/i;
    return DECLINED;
}
";

const NAMES: &str = "\
weather.example A 192.0.2.10
weather.example MX 10 weather.example
choir.example A 192.0.2.77
choir.example MX 10 choir.example
books.example A 203.0.113.5
books.example MX 10 books.example
8.100.51.198.list.example A 127.0.0.2
91.100.51.198.list.example A 127.0.0.2";

/// A client: how often it comes, its address, its name, the sender, the recipient, the subject.
type Kind = (u64, &'static str, &'static str, &'static str, &'static str, &'static str);

/// A star in an address is a number that changes.
const KINDS: &[Kind] = &[
    (9, "192.0.2.10", "mx.weather.example", "alerts@weather.example", "ann", "Rain on Monday"),
    (7, "192.0.2.77", "mail.choir.example", "tenor@choir.example", "bob", "Rehearsal"),
    (6, "203.0.113.5", "out.books.example", "orders@books.example", "ann", "Your order"),
    (4, "2001:db8::25", "six.books.example", "news@books.example", "cleo", "New this week"),
    (7, "198.51.100.8", "win.spam.example", "x@win.example", "ann", "Win"),
    (3, "198.51.100.91", "dyn91.spam.example", "y@win.example", "bob", "Win"),
    (4, "203.0.113.200", "localhost", "a@choir.example", "ann", "Hello"),
    (3, "203.0.113.66", "ad.books.example", "ads@nowhere.invalid", "bob", "Offers"),
    (3, "192.0.2.201", "promo.books.example", "promo@bulk.example", "cleo", "Sale"),
    (5, "203.0.113.5", "out.books.example", "orders@books.example", "info@elsewhere.example", "Hi"),
    (3, "192.0.2.77", "mail.choir.example", "alto@choir.example", "former", "Notes"),
    (3, "192.0.2.10", "mx.weather.example", "fan@weather.example", "bob", "Your PRIZE waits"),
    (2, "192.0.2.10", "mx.weather.example", "fan@weather.example", "cleo", ""),
    (4, "198.51.100.*", "new.choir.example", "bass@choir.example", "ann", "Hello"),
];

/// A configuration with plugins that have something to refuse.
fn config(port: u16, names: &NameServer) -> Config {
    let config = Config::new();
    fs::create_dir(config.path("perl")).unwrap();
    fs::write(config.path("perl/no_prizes"), NO_PRIZES).unwrap();
    config
        .set("me", "mx.example.com")
        .set("plugins", PLUGINS)
        .set("plugin_dirs", "{work}/perl")
        .set("proxy_from", "127.0.0.1")
        .set("dns_servers", &names.address.to_string())
        .set("dnsbl_zones", "list.example:Listed, see https://list.example/")
        .set("databytes", "0")
        .set("badmailfrom", "@bulk.example")
        .set("badrcptto", "former@example.com Has left us")
        .set("logging", "logging/devnull")
        .set("status_listen", &format!("127.0.0.1:{port}"))
}

/// A client's session, which ends where the client is refused.  Clients of a picture are slow, `most`
/// at each command; a test that only shows that this works waits for nothing.
fn session(mut client: Client, kind: &Kind, dice: &mut Dice, most: Duration) {
    let (_, ip, name, from, to, subject) = kind;
    let ip = ip.replace('*', &(100 + dice.below(150)).to_string());
    let (family, here) = if ip.contains(':') { ("6", "2001:db8::1") } else { ("4", "192.0.2.25") };
    let at = if to.contains('@') { "" } else { "@example.com" };
    let date = if subject.is_empty() { "" } else { "Date: Thu, 01 Jan 2026 00:00:00 +0000\r\n" };
    let text = "All is well.\r\n".repeat(dice.below(2000) as usize);
    client.say(&format!("PROXY TCP{family} {ip} {here} 40000 25"));
    let mut said = [
        format!("EHLO {name}"),
        format!("MAIL FROM:<{from}>"),
        format!("RCPT TO:<{to}{at}>"),
        "DATA".to_owned(),
        format!("From: {from}\r\n{date}Subject: {subject}\r\n\r\n{text}."),
        "QUIT".to_owned(),
    ]
    .into_iter();
    while let Ok(Some(reply)) = client.try_reply()
        && reply.code.starts_with(['2', '3'])
        && let Some(line) = said.next()
    {
        thread::sleep(Duration::from_millis(dice.below(HESITATION)).min(most));
        client.say(&line);
    }
}

/// Numbers that look like chance and are the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }

    fn kind(&mut self) -> &'static Kind {
        let mut at = self.below(KINDS.iter().map(|kind| kind.0).sum());
        let is_it = |kind: &&Kind| {
            let is_it = at < kind.0;
            at = at.saturating_sub(kind.0);
            is_it
        };
        KINDS.iter().find(is_it).unwrap()
    }
}

/// Clients that come and go for that time, and at least two of each kind.
fn traffic(server: &Server<'_>, time: Duration) {
    let begin = Instant::now();
    thread::scope(|scope| {
        for number in 0..CLIENTS {
            scope.spawn(move || {
                let mut dice = Dice(number);
                let rest = |dice: &mut Dice| {
                    let tide = begin.elapsed().div_duration_f64(TIDE) * std::f64::consts::TAU;
                    let pause = 3.0 + 2.5 * tide.cos() + dice.below(2000) as f64 / 1000.0;
                    thread::sleep(Duration::from_secs_f64(pause).min(time));
                };
                let own = || KINDS.iter().skip(number as usize).step_by(CLIENTS as usize);
                // The first time greylisting puts them off.
                for kind in own().chain(own()) {
                    rest(&mut dice);
                    session(server.connect(), kind, &mut dice, time);
                }
                while begin.elapsed() < time {
                    rest(&mut dice);
                    session(server.connect(), dice.kind(), &mut dice, time);
                }
            });
        }
    });
}

#[test]
fn a_picture_shows_what_a_server_has_to_do() {
    if !deb::need("chromium") {
        return;
    }
    let port = free_port();
    let table = Table::new(NAMES);
    let names = NameServer::new(move |asked| vec![asked.of_table(&table)]);
    let config = config(port, &names);
    let server = Server::start(&config, Model::Prefork);
    let minutes = env::var("QPSMTPD_PICTURE_MINUTES").map_or(0, |text| text.parse().unwrap());
    let wanted = env::var_os("QPSMTPD_PICTURE").map(PathBuf::from);
    let page = wanted.unwrap_or_else(|| config.path("page.png"));
    thread::scope(|scope| {
        scope.spawn(|| traffic(&server, Duration::from_secs(60 * minutes)));
        // Some are connected when the picture is made.
        thread::sleep(Duration::from_secs((60 * minutes).saturating_sub(5)));
        screenshot(port, &config, &page, PICTURE, &[]);
    });
    assert_eq!(size(&fs::read(&page).unwrap()), PICTURE);
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let answer = exchange(stream, "GET /status.json HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let status: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
    for (hook, plugin, class) in [
        ("connect", "dnsbl", "5xx"),
        ("ehlo", "helo", "5xx-disconnect"),
        ("mail", "badmailfrom", "5xx"),
        ("mail", "resolvable_fromhost", "4xx"),
        ("mail", "greylisting", "4xx"),
        ("rcpt", "badrcptto", "5xx"),
        ("rcpt", "rcpt_ok", "5xx"),
        ("data_post", "no_prizes", "5xx"),
        ("data_post", "headers", "5xx"),
    ] {
        let count = value(&status, "qpsmtpd_refusals_total", &[hook, plugin, class]);
        assert!(count > 0, "{plugin} {status:#}");
    }
    assert!(value(&status, "qpsmtpd_messages_total", &["accepted"]) > 0, "{status:#}");
    server.stop().unwrap();
}
