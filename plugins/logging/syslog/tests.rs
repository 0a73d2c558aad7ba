use super::*;
use crate::plugins::host_name;
use crate::testing::Trial;
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::Path;

fn sink(line: &str, sockets: Vec<Socket>) -> Sink {
    let sink = Sink::from_args(&Args::new(line.split_whitespace())).unwrap();
    Sink { sockets, pause: Duration::ZERO, ..sink }
}

fn record(level: Level, text: &str) -> Record<'_> {
    Record {
        level,
        hook: Some("rcpt"),
        plugin: Some("rcpt_ok"),
        session: "s",
        transaction: 1,
        peer: None,
        text,
        ..Record::default()
    }
}

fn unix(path: &Path) -> Vec<Socket> {
    vec![Socket::Unix(vec!["/no/such/socket".into(), path.display().to_string()])]
}

fn receive(socket: &UnixDatagram) -> String {
    let mut bytes = [0; 500];
    let count = socket.recv(&mut bytes).unwrap();
    String::from_utf8(bytes[..count].to_vec()).unwrap()
}

/// A line without its time, which is checked.
fn untimed(line: &str) -> String {
    let (priority, rest) = line.split_once('>').unwrap();
    let format = "%b %e %T";
    let time = jiff::fmt::strtime::parse(format, &rest[..15]);
    assert!(time.is_ok(), "{line}");
    format!("{priority}>{}", &rest[15..])
}

#[test]
fn a_line_has_priority_time_ident_process_and_text() {
    let dir = tempfile::tempdir().unwrap();
    let server = UnixDatagram::bind(dir.path().join("log")).unwrap();
    let id = std::process::id();
    for (args, level, start) in [
        ("", Level::Info, "<22> qpsmtpd"),
        ("", Level::Emerg, "<16> qpsmtpd"),
        ("ident mx-1.in facility LOG_LOCAL0", Level::Debug, "<135> mx-1.in"),
        ("facility daemon priority LOG_NOTICE", Level::Crit, "<29> qpsmtpd"),
    ] {
        let mut sink = sink(args, unix(&dir.path().join("log")));
        sink.write(&record(level, "pass")).unwrap();
        let line = untimed(&receive(&server));
        assert_eq!(line, format!("{start}[{id}]: [s] (rcpt) rcpt_ok: pass"), "{args}");
    }
}

#[test]
fn the_text_can_be_json() {
    let dir = tempfile::tempdir().unwrap();
    let server = UnixDatagram::bind(dir.path().join("log")).unwrap();
    let mut sink = sink("format json", unix(&dir.path().join("log")));
    sink.write(&record(Level::Info, "pass")).unwrap();
    let line = receive(&server);
    let (_, text) = line.split_once("]: ").unwrap();
    let text: serde_json::Value = serde_json::from_str(text).unwrap();
    assert_eq!((&text["session"], &text["message"]), (&"s".into(), &"pass".into()));
    assert_eq!(text["transaction"], 1);
}

#[test]
fn priorities_have_several_spellings() {
    for (word, level) in [
        ("LOG_ERR", Level::Error),
        ("LOG_WARNING", Level::Warn),
        ("LOGWARN", Level::Warn),
        ("log_debug", Level::Debug),
        ("0", Level::Emerg),
        ("notice", Level::Notice),
    ] {
        assert_eq!(priority_named(word), Ok(level), "{word}");
    }
}

#[test]
fn wrong_arguments_are_refused() {
    for (line, why) in [
        ("logging/syslog loglevel LOUD", "'LOUD' is not a log level"),
        ("logging/syslog priority LOG_LOUD", "argument priority has the value 'LOG_LOUD'"),
        ("logging/syslog ident a/b", "argument ident has the value 'a/b'"),
        ("logging/syslog facility LOG_POST", "argument facility has the value 'LOG_POST'"),
        (
            "logging/syslog logsock udp,console",
            "'console' (expected: unix, stream, udp, tcp, native",
        ),
        ("logging/syslog logsock", "no value"),
        ("logging/syslog colour red", "unknown argument 'colour'"),
        ("logging/syslog format xml", "unknown log format 'xml'"),
    ] {
        let error = Trial::load(line, &[]).err().unwrap_or_else(|| panic!("{line} is accepted"));
        assert!(error.to_string().contains(why), "{line}: {error}");
    }
    assert!(Trial::load("logging/syslog loglevel LOGINFO", &[]).is_ok());
}

#[test]
fn sockets_are_tried_in_the_order_of_the_list() {
    let sink = Sink::from_args(&Args::new(["logsock", "udp,unix,tcp,stream"])).unwrap();
    let paths = PATHS.map(str::to_owned).to_vec();
    assert_eq!(
        sink.sockets,
        [
            Socket::Udp("127.0.0.1:514".parse().unwrap()),
            Socket::Unix(paths.clone()),
            Socket::Tcp("127.0.0.1:601".parse().unwrap()),
            Socket::Stream(paths),
        ]
    );
    assert_eq!(Sink::from_args(&Args::default()).unwrap().sockets.len(), 1);
}

#[test]
fn udp_and_tcp_have_the_host_and_tcp_a_line_end() {
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut over_udp = sink("", vec![Socket::Udp(udp.local_addr().unwrap())]);
    over_udp.write(&record(Level::Info, "one")).unwrap();
    let mut bytes = [0; 500];
    let count = udp.recv(&mut bytes).unwrap();
    let line = untimed(std::str::from_utf8(&bytes[..count]).unwrap());
    assert!(line.starts_with(&format!("<22> {} qpsmtpd[", host_name())), "{line}");
    assert!(line.ends_with("rcpt_ok: one"), "{line}");

    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut over_tcp = sink("", vec![Socket::Tcp(tcp.local_addr().unwrap())]);
    over_tcp.write(&record(Level::Info, "one")).unwrap();
    over_tcp.write(&record(Level::Info, "two")).unwrap();
    let lines = BufReader::new(tcp.accept().unwrap().0).lines().take(2);
    let ends = ["one", "two"].map(|text| format!("rcpt_ok: {text}"));
    assert!(lines.zip(ends).all(|(line, end)| untimed(&line.unwrap()).ends_with(&end)));
}

#[test]
fn a_stream_socket_works_under_both_names() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let server = UnixListener::bind(&path).unwrap();
    let stream = Socket::Stream(vec![path.display().to_string()]);
    for sockets in [unix(&path), vec![stream]] {
        sink("", sockets).write(&record(Level::Info, "pass")).unwrap();
        let mut line = vec![];
        BufReader::new(server.accept().unwrap().0).read_until(0, &mut line).unwrap();
        assert!(line.ends_with(b"rcpt_ok: pass\0"));
    }
}

#[test]
fn a_logger_that_was_started_anew_is_found_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let mut sink = sink("", unix(&path));
    assert!(sink.write(&record(Level::Info, "lost")).is_err());
    for text in ["one", "two"] {
        let server = UnixDatagram::bind(&path).unwrap();
        sink.write(&record(Level::Info, text)).unwrap();
        assert!(receive(&server).ends_with(text));
        drop(server);
        assert!(sink.write(&record(Level::Info, "lost")).is_err());
        std::fs::remove_file(&path).unwrap();
    }
}

/// However many lines there are, only one waits.
#[test]
fn a_logger_that_reads_nothing_tells_what_is_missing() {
    let dir = tempfile::tempdir().unwrap();
    let paths = ["datagram", "stream"].map(|name| dir.path().join(name));
    let datagram = UnixDatagram::bind(&paths[0]).unwrap();
    let _stream = UnixListener::bind(&paths[1]).unwrap();
    let text = "x".repeat(2000);
    for path in &paths {
        let mut sink = sink("", unix(path));
        while sink.write(&record(Level::Info, &text)).is_ok() {}
        assert!(sink.stall.timeout().is_zero());
        for _ in 0..100 {
            assert!(sink.write(&record(Level::Info, &text)).is_err());
        }
        if path == &paths[0] {
            datagram.set_nonblocking(true).unwrap();
            let mut bytes = [0; 3000];
            while datagram.recv(&mut bytes).is_ok() {}
            sink.write(&record(Level::Info, "read again")).unwrap();
            assert!(receive(&datagram).ends_with("read again"));
            assert!(receive(&datagram).ends_with("for a while, 101 lines are missing"));
            assert!(!sink.stall.timeout().is_zero());
        }
    }
}

#[test]
fn a_logger_that_is_away_is_not_asked_for_every_line() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let mut sink = Sink { pause: Duration::from_secs(3600), ..sink("", unix(&path)) };
    assert!(sink.write(&record(Level::Info, "lost")).is_err());
    let server = UnixDatagram::bind(&path).unwrap();
    let lost = sink.write(&record(Level::Info, "lost")).unwrap_err();
    assert_eq!(lost.kind(), io::ErrorKind::NotConnected);
    // Another process begins with a connection of its own.
    sink.process = 0;
    sink.write(&record(Level::Info, "kept")).unwrap();
    assert!(receive(&server).ends_with("kept"));
}
