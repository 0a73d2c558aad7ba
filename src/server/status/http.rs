//! As much of HTTP/1.1 as a page, a browser and Prometheus need (RFC 9110, RFC 9112): one request a
//! connection, GET or HEAD, without a body.

use std::io::{self, ErrorKind, Read, Write};
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// The longest request in octets.
const LONGEST: usize = 8192;

/// How long a request may take to come, and an answer to be taken.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Request {
    /// Is the content wanted, too?
    pub(super) wants_content: bool,
    /// The path without what follows a question mark.
    pub(super) path: String,
    /// The server's name as the client has it, without the port.
    pub(super) host: Option<String>,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) kind: &'static str,
    /// More header fields, each with its line end.
    pub(super) fields: String,
    pub(super) content: String,
}

impl Answer {
    /// Something that was found.
    pub(super) fn found(kind: &'static str, content: String) -> Answer {
        Answer { status: 200, kind, fields: String::new(), content }
    }

    /// An error, in a line.
    pub(super) fn error(status: u16) -> Answer {
        let content = format!("{status} {}\n", reason(status));
        let allow = if status == 405 { "Allow: GET, HEAD\r\n" } else { "" };
        Answer { status, kind: "text/plain; charset=utf-8", fields: allow.into(), content }
    }

    fn octets(&self, wants_content: bool) -> Vec<u8> {
        let Answer { status, kind, fields, content } = self;
        let mut text = format!(
            "HTTP/1.1 {status} {}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\
             Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n\
             Referrer-Policy: no-referrer\r\n{fields}Connection: close\r\n\r\n",
            reason(*status),
            content.len(),
        );
        if wants_content {
            text += content;
        }
        text.into_bytes()
    }
}

/// Answers one client.  Whatever it does, that takes a bounded time.
pub(super) fn answer(
    mut stream: impl Read + Write + AsFd,
    answer: impl FnOnce(&Request) -> Answer,
) -> io::Result<()> {
    let request = match receive(&mut stream, Instant::now() + TIMEOUT)? {
        Ok(request) => request,
        Err(status) => return send(&mut stream, &Answer::error(status).octets(true)),
    };
    send(&mut stream, &answer(&request).octets(request.wants_content))
}

/// May a client call this server so?  A page of a stranger cannot let a browser ask here for its own
/// name, which it lets lead to this machine: only addresses and `localhost` count (DNS rebinding).
pub(super) fn is_own_name(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    bare.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok()
}

/// The request, or the status that refuses it.
fn receive(stream: &mut (impl Read + AsFd), until: Instant) -> io::Result<Result<Request, u16>> {
    let mut head = vec![];
    let mut piece = [0; 1024];
    loop {
        wait(stream, PollFlags::POLLIN, until)?;
        match stream.read(&mut piece) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => head.extend_from_slice(&piece[..count]),
            Err(error) if is_passing(&error) => continue,
            Err(error) => return Err(error),
        }
        if let Some(end) = memchr::memmem::find(&head, b"\r\n\r\n") {
            head.truncate(end);
            return Ok(parse(&head));
        }
        if head.len() > LONGEST {
            return Ok(Err(431));
        }
    }
}

fn parse(head: &[u8]) -> Result<Request, u16> {
    let text = std::str::from_utf8(head).map_err(|_| 400u16)?;
    let mut lines = text.split("\r\n");
    let words: Vec<&str> = lines.next().unwrap_or_default().split(' ').collect();
    let [method, target, version] = words[..] else { return Err(400) };
    if !version.starts_with("HTTP/1.") {
        return Err(505);
    }
    if !target.starts_with('/') || target.contains(|c: char| c.is_control()) {
        return Err(400);
    }
    let mut host = None;
    for line in lines {
        let (name, value) = line.split_once(':').ok_or(400u16)?;
        if name.is_empty() || name.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(400);
        }
        if name.eq_ignore_ascii_case("host") && host.replace(without_port(value.trim())).is_some() {
            return Err(400);
        }
    }
    let wants_content = match method {
        "GET" => true,
        "HEAD" => false,
        _ => return Err(405),
    };
    let path = target.split(['?', '#']).next().unwrap_or_default().to_owned();
    Ok(Request { wants_content, path, host: host.map(str::to_owned) })
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    }
}

fn send(stream: &mut (impl Write + AsFd), mut octets: &[u8]) -> io::Result<()> {
    let until = Instant::now() + TIMEOUT;
    while !octets.is_empty() {
        wait(stream, PollFlags::POLLOUT, until)?;
        match stream.write(octets) {
            Ok(count) => octets = &octets[count..],
            Err(error) if is_passing(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

/// Waits until something can be read or written, until `until` at most.
fn wait(stream: &impl AsFd, what: PollFlags, until: Instant) -> io::Result<()> {
    let left = until.saturating_duration_since(Instant::now());
    let left = PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO);
    match poll(&mut [PollFd::new(stream.as_fd(), what)], left) {
        Ok(0) => Err(ErrorKind::TimedOut.into()),
        Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        431 => "Request Header Fields Too Large",
        505 => "HTTP Version Not Supported",
        _ => "Error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Shutdown;
    use std::os::unix::net::UnixStream;
    use std::thread;

    /// What a client gets that sends this, and hears to the end.
    fn asked(text: &[u8]) -> String {
        let (mut client, server) = UnixStream::pair().unwrap();
        server.set_nonblocking(true).unwrap();
        let serving = thread::spawn(move || {
            let _ = answer(server, |request| {
                Answer::found("text/plain", format!("{} {:?}", request.path, request.host))
            });
        });
        let _ = client.write_all(text);
        let _ = client.shutdown(Shutdown::Write);
        let mut heard = String::new();
        let _ = client.read_to_string(&mut heard);
        serving.join().unwrap();
        heard
    }

    #[test]
    fn requests_are_answered_or_refused() {
        let get = asked(b"GET /metrics?x=1 HTTP/1.1\r\nhost: [::1]:9225\r\n\r\n");
        assert!(get.starts_with("HTTP/1.1 200 OK\r\n"), "{get}");
        assert!(get.ends_with("\r\n\r\n/metrics Some(\"[::1]\")"), "{get}");
        let head = asked(b"HEAD / HTTP/1.0\r\n\r\n");
        assert!(head.contains("Content-Length: 6\r\n") && head.ends_with("\r\n\r\n"), "{head}");
        for (text, status) in [
            (&b"POST / HTTP/1.1\r\n\r\n"[..], "405"),
            (b"GET / HTTP/2.0\r\n\r\n", "505"),
            (b"GET /\r\n\r\n", "400"),
            (b"GET http://a/ HTTP/1.1\r\n\r\n", "400"),
            (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "400"),
            (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", "400"),
            (b"GET / HTTP/1.1\r\nnonsense\r\n\r\n", "400"),
            (b"GET /\xff HTTP/1.1\r\n\r\n", "400"),
            (b"\r\n\r\n", "400"),
            (&[b"GET / HTTP/1.1\r\nA: ".to_vec(), vec![b'x'; 20_000]].concat(), "431"),
        ] {
            let heard = asked(text);
            assert!(heard.starts_with(&format!("HTTP/1.1 {status} ")), "{status}: {heard}");
        }
        assert_eq!(asked(b"GET / HTTP/1.1\r\n"), "", "half a request");
    }

    #[test]
    fn only_addresses_and_localhost_are_own_names() {
        for (host, is_own) in [
            ("localhost", true),
            ("127.0.0.1", true),
            ("[::1]", true),
            ("192.0.2.1", true),
            ("evil.example", false),
            ("127.0.0.1.evil.example", false),
            ("", false),
        ] {
            assert_eq!(is_own_name(host), is_own, "{host}");
        }
    }
}
