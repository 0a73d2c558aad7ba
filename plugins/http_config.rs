//! ```text
//! NAME
//!     http_config - takes configuration files from a web server
//!
//! SYNOPSIS
//!     http_config URL... [ttl SECONDS] [deadline SECONDS]
//!
//! DESCRIPTION
//!     When somebody in a session asks for the configuration file NAME, the page URLNAME is fetched
//!     and its lines are used, without empty ones and comments.  With
//!
//!         http_config http://127.0.0.1/config/ http://www.example.com/qp?config=
//!
//!     rcpthosts is looked for as http://127.0.0.1/config/rcpthosts, then as
//!     http://www.example.com/qp?config=rcpthosts, and at last as a file.  What was found, or that
//!     nothing was, is remembered for each name, by each process for itself.
//!
//!     A page that does not exist (404, 410), or has no lines, leaves it to the next URL.  If a
//!     server cannot be asked, is too slow, or answers anything else, redirections included, the
//!     next URL is tried; when that has nothing either, the plugin has failed: whatever wanted the
//!     file gives the client a temporary failure, as it does not know what was decided.  The server
//!     is then left alone for some seconds.  With the argument "on_error ignore" the files count.
//!
//!     What is asked for outside of sessions, such as plugins, loglevel and hosts_allow, comes from
//!     files.
//!
//!     The plugin of the same name in Perl asks for every name each time, and takes a server that
//!     does not answer for one that has nothing.
//!
//! ARGUMENTS
//!     URL                begins with http://; https:// is refused, as there is no TLS yet
//!     ttl SECONDS        how long to remember; 60 by default, 0 for not at all
//!     deadline SECONDS   how long all URLs together may take; 5 by default
//!
//! SEE ALSO
//!     user_config, docs/config.md
//! ```

use std::cell::RefCell;
use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::hook::{Args, Call, DECLINED, Hook, Hooks, Verdict};
use crate::log::Level;

/// How long a server that failed is left alone.
const PAUSE: Duration = Duration::from_secs(5);

/// The largest answer in octets.
const LARGEST: u64 = 1024 * 1024;

/// How many names are remembered.
const MOST: usize = 1000;

/// Registers the plugin; see its manual above.
pub fn register(hooks: &mut Hooks, args: &Args) -> Result<()> {
    let source = Source::from_args(args)?;
    hooks.on(Hook::Config, move |session, call| {
        let Call::Config(name) = call else { return DECLINED };
        session.log(Level::Debug, format_args!("asked for {name}"));
        match source.lines(name, session.time_left()) {
            Ok(Some(lines)) => Verdict::values(lines),
            Ok(None) => DECLINED,
            Err(why) => Verdict::failure(format!("{name}: {why}")),
        }
    });
    Ok(())
}

/// The lines of a name; None where there is nothing of that name.
type Found = Option<Vec<String>>;

struct Source {
    servers: Vec<Server>,
    ttl: Duration,
    deadline: Duration,
    pause: Duration,
    known: RefCell<HashMap<String, (Instant, Found)>>,
}

/// One URL.
struct Server {
    host: String,
    port: u16,
    /// The path without the name.
    path: String,
    /// When and why it failed.
    failed: RefCell<Option<(Instant, String)>>,
}

impl Source {
    fn from_args(args: &Args) -> Result<Source> {
        let words = args.positional();
        let (urls, pairs) = words
            .split_at(words.iter().take_while(|word| !["ttl", "deadline"].contains(word)).count());
        Args::new(pairs.iter().copied()).only(&["ttl", "deadline"])?;
        if urls.is_empty() {
            return Err(Error::new("argument missing: a URL"));
        }
        let deadline = args.parsed("deadline", 5u32)?;
        if deadline == 0 {
            return Err(Error::new("argument deadline has the value '0' (known: 1 or more)"));
        }
        Ok(Source {
            servers: urls.iter().map(|url| Server::parse(url)).collect::<Result<_>>()?,
            ttl: Duration::from_secs(args.parsed("ttl", 60u32)?.into()),
            deadline: Duration::from_secs(deadline.into()),
            pause: PAUSE,
            known: RefCell::default(),
        })
    }

    /// The lines of `name`, within `patience`.
    ///
    /// # Errors
    /// Nobody has it, and somebody could not be asked.
    fn lines(&self, name: &str, patience: Duration) -> std::result::Result<Found, String> {
        if let Some((when, found)) = self.known.borrow().get(name)
            && when.elapsed() < self.ttl
        {
            return Ok(found.clone());
        }
        let until = Instant::now() + self.deadline.min(patience);
        let mut failed = None;
        let mut found = None;
        for server in &self.servers {
            match server.ask(name, until, self.pause) {
                Ok(lines) => found = lines,
                Err(why) => failed = Some(why),
            }
            if found.is_some() {
                break;
            }
        }
        if let (None, Some(why)) = (&found, failed) {
            return Err(why);
        }
        let mut known = self.known.borrow_mut();
        if known.len() >= MOST {
            known.clear();
        }
        known.insert(name.to_owned(), (Instant::now(), found.clone()));
        Ok(found)
    }
}

impl Server {
    fn parse(url: &str) -> Result<Server> {
        if url.starts_with("https://") {
            let why = "https:// cannot be used yet, as there is no TLS; use http://";
            return Err(Error::new(format!("'{url}': {why}")));
        }
        let rest = url
            .strip_prefix("http://")
            .ok_or_else(|| Error::new(format!("'{url}' is not a URL that begins with http://")))?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let wrong = |why: &str| Error::new(format!("a URL {why}"));
        if authority.contains('@') {
            return Err(wrong("cannot have a user name"));
        }
        if path.contains('#') {
            return Err(wrong("cannot have a '#'"));
        }
        let after_bracket = authority.rfind(']').map_or(0, |at| at + 1);
        let (host, port) = match authority[after_bracket..].rfind(':') {
            Some(at) => authority.split_at(after_bracket + at),
            None => (authority, ""),
        };
        let port = match port.trim_start_matches(':') {
            "" => 80,
            port => port.parse().map_err(|_| wrong(&format!("cannot have the port '{port}'")))?,
        };
        if host.is_empty() {
            return Err(wrong("needs a host"));
        }
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Ok(Server { host: host.to_owned(), port, path, failed: RefCell::default() })
    }

    /// What the server has under `name`, unless it failed less than `pause` ago.
    fn ask(
        &self,
        name: &str,
        until: Instant,
        pause: Duration,
    ) -> std::result::Result<Found, String> {
        if let Some((when, why)) = &*self.failed.borrow()
            && when.elapsed() < pause
        {
            return Err(why.clone());
        }
        let answer = self.get(name, until).and_then(|answer| page(&answer));
        let answer = answer.map_err(|why| format!("{}:{}: {why}", self.host, self.port));
        self.failed.replace(answer.as_ref().err().map(|why| (Instant::now(), why.clone())));
        Ok(answer?.map(|page| lines(&page)).filter(|lines| !lines.is_empty()))
    }

    /// The server's whole answer (RFC 1945 5).
    fn get(&self, name: &str, until: Instant) -> io::Result<Vec<u8>> {
        let mut stream = self.connect(until)?;
        let request = format!(
            "GET {}{} HTTP/1.0\r\nHost: {}:{}\r\nUser-Agent: qpsmtpd/{}\r\n\r\n",
            self.path,
            escaped(name),
            self.host,
            self.port,
            env!("CARGO_PKG_VERSION"),
        );
        stream.set_write_timeout(Some(left(until)?))?;
        stream.write_all(request.as_bytes())?;
        let mut answer = vec![];
        let mut piece = [0; 8192];
        loop {
            stream.set_read_timeout(Some(left(until)?))?;
            match stream.read(&mut piece) {
                Ok(0) => return Ok(answer),
                Ok(count) => answer.extend_from_slice(&piece[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    return Err(ErrorKind::TimedOut.into());
                }
                Err(error) => return Err(error),
            }
            if answer.len() as u64 > LARGEST {
                return Err(io::Error::other("the answer is too large"));
            }
        }
    }

    fn connect(&self, until: Instant) -> io::Result<TcpStream> {
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        let mut failed = io::Error::other("the host has no address");
        for address in (host, self.port).to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, left(until)?) {
                Ok(stream) => return Ok(stream),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }
}

fn left(until: Instant) -> io::Result<Duration> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(ErrorKind::TimedOut.into()) } else { Ok(left) }
}

/// The page in an answer (RFC 1945 6); None where there is no such page.
fn page(answer: &[u8]) -> io::Result<Option<String>> {
    let wrong = |why: &str| io::Error::other(why.to_owned());
    let end = |separator: &[u8]| {
        let at = answer.windows(separator.len()).position(|window| window == separator)?;
        Some((at, at + separator.len()))
    };
    let (end, start) = end(b"\r\n\r\n")
        .or_else(|| end(b"\n\n"))
        .ok_or_else(|| wrong("the answer is not HTTP, or cut off"))?;
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let mut fields = head.lines();
    let status = fields.next().unwrap_or("");
    let code = status.strip_prefix("HTTP/1.").and_then(|rest| rest.split(' ').nth(1));
    match code {
        Some("200") => {}
        Some("204" | "404" | "410") => return Ok(None),
        _ => return Err(wrong(&format!("the answer is '{status}'"))),
    }
    let mut body = &answer[start..];
    for (name, value) in fields.filter_map(|field| field.split_once(':')) {
        if name.eq_ignore_ascii_case("Transfer-Encoding") {
            return Err(wrong("the answer has a transfer encoding, which HTTP/1.0 has not"));
        }
        if name.eq_ignore_ascii_case("Content-Length") {
            let length: usize =
                value.trim().parse().map_err(|_| wrong("the answer has a wrong length"))?;
            body = body.get(..length).ok_or_else(|| wrong("the answer is cut off"))?;
        }
    }
    let text = String::from_utf8(body.to_vec()).map_err(|_| wrong("the answer is not UTF-8"))?;
    Ok(Some(text))
}

/// The lines of a page as those of a file.
fn lines(page: &str) -> Vec<String> {
    let lines = page.split(['\r', '\n']).map(str::trim);
    lines.filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect()
}

/// A name as part of a URL (RFC 3986 2.1).
fn escaped(name: &str) -> String {
    let mut out = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            out.push(byte.into());
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Trial;
    use std::net::TcpListener;
    use std::thread::{self, JoinHandle};

    const PATIENCE: Duration = Duration::from_secs(60);

    /// A web server that gives these answers, one a connection, and in the end the first lines of
    /// the requests.
    fn server(answers: Vec<String>) -> (u16, JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = thread::spawn(move || {
            let serve = |answer: String| {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = vec![];
                while !request.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    stream.read_exact(&mut byte).unwrap();
                    request.push(byte[0]);
                }
                stream.write_all(answer.as_bytes()).unwrap();
                String::from_utf8(request).unwrap().lines().next().unwrap().to_owned()
            };
            answers.into_iter().map(serve).collect()
        });
        (port, requests)
    }

    fn ok(body: &str) -> String {
        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
    }

    fn none() -> String {
        "HTTP/1.0 404 Not Found\r\n\r\nno such page\n".into()
    }

    fn source(line: &str) -> Source {
        let source = Source::from_args(&Args::new(line.split_whitespace())).unwrap();
        Source { pause: Duration::ZERO, ..source }
    }

    #[test]
    fn pages_are_asked_for_in_order_and_remembered() {
        let (port, requests) =
            server(vec![none(), ok("# ours\r\n example.com \r\n\r\nb\n"), none(), none()]);
        let source = source(&format!("http://127.0.0.1:{port}/c/ http://127.0.0.1:{port}?n="));
        for _ in 0..2 {
            let lines = source.lines("rcpt hosts", PATIENCE);
            assert_eq!(lines, Ok(Some(vec!["example.com".to_owned(), "b".to_owned()])));
            assert_eq!(source.lines("me", PATIENCE), Ok(None));
        }
        let wanted = ["/c/rcpt%20hosts", "/?n=rcpt%20hosts", "/c/me", "/?n=me"];
        assert_eq!(requests.join().unwrap(), wanted.map(|path| format!("GET {path} HTTP/1.0")));
    }

    #[test]
    fn a_ttl_of_0_asks_again() {
        let (port, requests) = server(vec![ok("a"), ok("b"), ok("")]);
        let source = source(&format!("http://127.0.0.1:{port}/ ttl 0"));
        assert_eq!(source.lines("x", PATIENCE), Ok(Some(vec!["a".to_owned()])));
        assert_eq!(source.lines("x", PATIENCE), Ok(Some(vec!["b".to_owned()])));
        assert_eq!(source.lines("x", PATIENCE), Ok(None));
        assert_eq!(requests.join().unwrap().len(), 3);
    }

    #[test]
    fn what_is_no_good_answer_is_an_error() {
        for (answer, why) in [
            ("", "not HTTP, or cut off"),
            ("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n", "not HTTP, or cut off"),
            ("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nabc", "the answer is cut off"),
            ("HTTP/1.0 200 OK\r\nContent-Length: x\r\n\r\nabc", "a wrong length"),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", "transfer encoding"),
            ("HTTP/1.0 500 Oops\r\n\r\n", "the answer is 'HTTP/1.0 500 Oops'"),
            ("HTTP/1.0 302 There\r\nLocation: /\r\n\r\n", "302 There"),
            ("220 mx ESMTP\r\n\r\n", "the answer is '220 mx ESMTP'"),
        ] {
            let (port, requests) = server(vec![answer.into()]);
            let error = source(&format!("http://127.0.0.1:{port}/")).lines("x", PATIENCE);
            assert!(error.as_ref().unwrap_err().contains(why), "{answer}: {error:?}");
            requests.join().unwrap();
        }
        let (port, requests) = server(vec![ok(&"x\n".repeat(LARGEST as usize))]);
        let error = source(&format!("http://127.0.0.1:{port}/")).lines("x", PATIENCE);
        assert!(error.unwrap_err().contains("too large"));
        // Perhaps the server could not write it all.
        let _ = requests.join();
    }

    #[test]
    fn another_server_makes_up_for_one_that_fails() {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let closed = silent.local_addr().unwrap().port();
        drop(silent);
        let (port, requests) = server(vec![ok("a"), none()]);
        let line = format!("http://127.0.0.1:{closed}/ http://127.0.0.1:{port}/");
        let source = source(&line);
        assert_eq!(source.lines("x", PATIENCE), Ok(Some(vec!["a".to_owned()])));
        assert!(source.lines("y", PATIENCE).unwrap_err().contains("refused"));
        assert_eq!(requests.join().unwrap().len(), 2);
    }

    #[test]
    fn a_server_that_failed_is_left_alone_for_a_while() {
        let (port, requests) = server(vec!["HTTP/1.0 503 Later\r\n\r\n".into()]);
        let source = source(&format!("http://127.0.0.1:{port}/"));
        let source = Source { pause: Duration::from_secs(3600), ..source };
        for name in ["x", "x", "y"] {
            assert!(source.lines(name, PATIENCE).unwrap_err().contains("503 Later"));
        }
        assert_eq!(requests.join().unwrap().len(), 1);
    }

    #[test]
    fn a_server_that_says_nothing_is_given_up() {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = silent.local_addr().unwrap().port();
        let source = source(&format!("http://127.0.0.1:{port}/"));
        let error = source.lines("x", Duration::from_millis(50)).unwrap_err();
        assert!(error.contains("timed out"), "{error}");
    }

    #[test]
    fn a_failure_is_not_taken_for_an_empty_list() {
        let (port, requests) = server(vec!["HTTP/1.0 500 Oops\r\n\r\n".into()]);
        let line = format!("http_config http://127.0.0.1:{port}/\nrcpt_ok");
        let mut trial = Trial::new(&line, &[("rcpthosts", "example.com")]);
        assert!(trial.rcpt("<b@example.com>").is_failure());
        let said = "(config) http_config: FATAL PLUGIN ERROR: me: 127.0.0.1:";
        assert!(trial.log().contains(said) || trial.log().contains("rcpthosts: 127.0.0.1:"));
        requests.join().unwrap();
        let line = line.replace("/\n", "/ on_error ignore\n");
        let mut trial = Trial::new(&line, &[("rcpthosts", "example.com")]);
        assert_eq!(trial.rcpt("<b@example.com>").code(), crate::hook::Code::Ok);
    }

    #[test]
    fn urls_are_taken_apart() {
        for (url, host, port, path) in [
            ("http://a.test", "a.test", 80, "/"),
            ("http://a.test:8080/x/", "a.test", 8080, "/x/"),
            ("http://[::1]/", "[::1]", 80, "/"),
            ("http://[::1]:81?n=", "[::1]", 81, "/?n="),
        ] {
            let server = Server::parse(url).unwrap();
            assert_eq!((&*server.host, server.port, &*server.path), (host, port, path), "{url}");
        }
    }

    #[test]
    fn wrong_arguments_are_refused() {
        for (line, why) in [
            ("http_config", "argument missing: a URL"),
            ("http_config ttl 5", "argument missing: a URL"),
            ("http_config https://a.test/", "https:// cannot be used yet"),
            ("http_config http://a.test/ ftp://a.test/", "'ftp://a.test/' is not a URL"),
            ("http_config http://u:secret@a.test/", "cannot have a user name"),
            ("http_config http://a.test:x/", "cannot have the port 'x'"),
            ("http_config http://:80/", "needs a host"),
            ("http_config http://a.test/#x", "cannot have a '#'"),
            ("http_config http://a.test/ deadline 0", "deadline has the value '0'"),
            ("http_config http://a.test/ ttl 5 http://b.test/", "unknown argument 'http://b"),
        ] {
            let error = Trial::load(line, &[]).err().unwrap_or_else(|| panic!("{line}"));
            assert!(error.to_string().contains(why), "{line}: {error}");
            assert!(!error.to_string().contains("secret"));
        }
    }
}
