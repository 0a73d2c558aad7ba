use super::input::{COMMANDS, ENDLESS};
use super::*;
use crate::smtp::waits::State;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

const SOON: Duration = Duration::from_millis(30);
const LONG: Duration = Duration::from_secs(20);

fn pair() -> (UnixStream, Stream) {
    let (client, server) = UnixStream::pair().unwrap();
    (client, limited(Stream::new(server.into()), LONG))
}

/// The same stream with one limit for every wait.
fn limited(stream: Stream, limit: Duration) -> Stream {
    Stream { waits: Waits::all(limit), ..stream }
}

/// What comes soon, in a state in which nobody has to leave.
fn soon(stream: &mut Stream) -> Result<Vec<u8>, End> {
    stream.waits = Waits::all(SOON);
    let line = stream.line(State::Transaction);
    stream.waits = Waits::all(LONG);
    line
}

#[test]
fn lines_come_however_they_were_sent() {
    let (mut client, mut stream) = pair();
    client.write_all(b"EHLO a\r\nNOOP\nQU").unwrap();
    assert_eq!(stream.line(State::Command).unwrap(), b"EHLO a");
    assert!(stream.has_input());
    assert_eq!(stream.line(State::Command).unwrap(), b"NOOP");
    client.write_all(b"IT\r\n\r\n").unwrap();
    assert_eq!(stream.line(State::Command).unwrap(), b"QUIT");
    assert_eq!(stream.line(State::Command).unwrap(), b"");
    assert_eq!(soon(&mut stream), Err(End::Timeout));
    drop(client);
    assert_eq!(stream.line(State::Command), Err(End::Closed));
}

#[test]
fn a_person_has_all_the_time() {
    let (mut client, stream) = pair();
    let mut stream = limited(stream.patient(), Duration::ZERO);
    client.write_all(b"NOOP\r\n").unwrap();
    assert_eq!(stream.line(State::Command).unwrap(), b"NOOP");
    drop(client);
    assert_eq!(stream.line(State::Command), Err(End::Closed));
    let (mut client, stream) = pair();
    client.write_all(b"NOOP\r\n").unwrap();
    let mut stream = limited(stream, Duration::ZERO);
    assert_eq!(stream.line(State::Command), Err(End::Timeout));
}

#[test]
fn replies_wait_until_the_client_has_to_speak() {
    let (mut client, mut stream) = pair();
    client.write_all(b"one\r\ntwo\r\n").unwrap();
    stream.line(State::Command).unwrap();
    stream.out().extend_from_slice(b"250 one\r\n");
    stream.line(State::Command).unwrap();
    stream.out().extend_from_slice(b"250 two\r\n");
    client.set_nonblocking(true).unwrap();
    let mut answers = [0; 100];
    assert!(client.read(&mut answers).is_err());
    assert_eq!(soon(&mut stream), Err(End::Timeout));
    let count = client.read(&mut answers).unwrap();
    assert_eq!(&answers[..count], b"250 one\r\n250 two\r\n");
}

#[test]
fn a_line_without_end_is_given_up() {
    let (mut client, mut stream) = pair();
    let sender = std::thread::spawn(move || {
        let _ = client.write_all(&vec![b'x'; ENDLESS + 2 * COMMANDS]);
        client
    });
    assert_eq!(stream.line(State::Command), Err(End::Endless));
    drop(stream);
    sender.join().unwrap();
}

#[test]
fn an_ear_hears_what_comes_and_leaves_it_to_the_stream() {
    let (mut client, mut stream) = pair();
    let ear = stream.early_check();
    assert!(!ear(Duration::ZERO) && !ear(SOON));
    client.write_all(b"EHLO a\r\n").unwrap();
    assert!(ear(LONG) && ear(Duration::ZERO));
    assert_eq!(stream.line(State::Command).unwrap(), b"EHLO a");
    assert!(!ear(Duration::ZERO));
    drop(client);
    assert!(!ear(LONG));
}

/// The kernel limits reads of sockets only.
#[test]
fn what_is_no_socket_has_a_limit_too() {
    let (read, write) = nix::unistd::pipe().unwrap();
    let mut stream = limited(Stream::new(read), LONG);
    assert_eq!(soon(&mut stream), Err(End::Timeout));
    nix::unistd::write(&write, b"NOOP\r\n").unwrap();
    assert_eq!(stream.line(State::Command).unwrap(), b"NOOP");
    stream.waits = Waits::all(SOON);
    assert_eq!(stream.octets(State::Data), Err(End::Timeout));
    stream.waits = Waits::all(LONG);
    drop(write);
    assert_eq!(stream.line(State::Command), Err(End::Closed));
}

#[test]
fn a_limit_changes_from_read_to_read() {
    let (_client, mut stream) = pair();
    for _ in 0..2 {
        assert!(stream.limit_reads(LONG) && stream.limit_reads(SOON));
        stream.waits = Waits::all(SOON);
        assert_eq!(stream.octets(State::Data), Err(End::Timeout));
    }
}

/// Replies that nobody takes, to a socket and to a pipe.
#[test]
fn who_takes_no_replies_is_given_up() {
    let (_client, server) = UnixStream::pair().unwrap();
    let (_read, write) = nix::unistd::pipe().unwrap();
    let (_silent, input) = UnixStream::pair().unwrap();
    for stream in [Stream::new(server.into()), Stream::pair(input.into(), write)] {
        let mut stream = limited(stream, SOON);
        stream.out().extend_from_slice(&vec![b'x'; 4 << 20]);
        assert_eq!(stream.line(State::Command), Err(End::Timeout));
        // Nothing waits for the client again.
        stream.waits = Waits::all(LONG);
        stream.out().extend_from_slice(b"421 good bye\r\n");
        assert_eq!(stream.line(State::Command), Err(End::Timeout));
        stream.close();
    }
}

/// A client that takes a little now and then has a limit for the whole of it.
#[test]
fn who_takes_replies_octet_by_octet_is_given_up() {
    let (mut client, mut stream) = pair();
    stream.waits = Waits::all(SOON);
    let reader = std::thread::spawn(move || {
        while client.read(&mut [0; 512]).is_ok_and(|n| n > 0) {
            std::thread::sleep(Duration::from_millis(5));
        }
    });
    stream.out().extend_from_slice(&vec![b'x'; 4 << 20]);
    assert_eq!(stream.line(State::Command), Err(End::Timeout));
    drop(stream);
    reader.join().unwrap();
}

#[test]
fn who_takes_everything_gets_everything() {
    let (read, write) = nix::unistd::pipe().unwrap();
    let (mut client, server) = UnixStream::pair().unwrap();
    let (_silent, input) = UnixStream::pair().unwrap();
    let text: Vec<u8> = (0..4 << 20).map(|n: u32| n.to_be_bytes()[n as usize % 4]).collect();
    for (stream, reads) in [
        (Stream::new(server.into()), &mut client as &mut (dyn Read + Send)),
        (Stream::pair(input.into(), write), &mut std::fs::File::from(read)),
    ] {
        let mut stream = limited(stream, LONG);
        std::thread::scope(|scope| {
            let taken = scope.spawn(move || {
                let mut taken = vec![];
                reads.read_to_end(&mut taken).map(|_| taken)
            });
            stream.out().extend_from_slice(&text);
            stream.end();
            drop(stream);
            assert!(taken.join().unwrap().unwrap() == text);
        });
    }
}

#[test]
fn only_an_idle_client_is_stopped() {
    static STOP: Stop = Stop::new();
    let (mut client, stream) = pair();
    let mut stream = stream.until(&STOP);
    assert_eq!(soon(&mut stream), Err(End::Timeout));
    STOP.request();
    assert_eq!(stream.line(State::Command), Err(End::Stopping));
    assert_eq!(soon(&mut stream), Err(End::Timeout));
    client.write_all(b"half").unwrap();
    assert_eq!(stream.line(State::Command), Err(End::Stopping));
    assert_eq!(soon(&mut stream), Err(End::Timeout));
}

#[test]
fn who_has_to_leave_is_told_through_a_pipe_too() {
    static STOP: Stop = Stop::new();
    let (read, write) = nix::unistd::pipe().unwrap();
    let (_silent, input) = UnixStream::pair().unwrap();
    let mut stream = Stream::pair(input.into(), write).until(&STOP);
    STOP.demand();
    stream.out().extend_from_slice(b"421 good bye\r\n");
    stream.end();
    drop(stream);
    let mut text = String::new();
    std::fs::File::from(read).read_to_string(&mut text).unwrap();
    assert_eq!(text, "421 good bye\r\n");
}

/// The request may come while the client is waited for, in the middle of a line, too.
#[test]
fn a_client_that_takes_its_time_is_stopped() {
    static STOP: Stop = Stop::new();
    let (mut client, stream) = pair();
    let mut stream = stream.until(&STOP);
    client.write_all(b"NOOP\r\nNO").unwrap();
    assert_eq!(stream.line(State::Command).unwrap(), b"NOOP");
    let other = std::thread::spawn(|| {
        std::thread::sleep(SOON);
        STOP.request();
    });
    assert_eq!(stream.line(State::Command), Err(End::Stopping));
    other.join().unwrap();
    stream.out().extend_from_slice(b"421 later\r\n");
    stream.flush();
    let mut answers = [0; 100];
    let count = client.read(&mut answers).unwrap();
    assert_eq!(&answers[..count], b"421 later\r\n");
}
