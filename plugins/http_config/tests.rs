use super::*;
use crate::net::self_signed;
use crate::testing::Trial;
use rustls::{ServerConnection, StreamOwned};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::{self, JoinHandle};

const TIMEOUT: Duration = Duration::from_secs(60);

/// A web server that gives these answers, one a connection, and in the end the first lines of
/// the requests.
fn server(answers: Vec<String>) -> (u16, JoinHandle<Vec<String>>) {
    served(answers, Ok)
}

/// The same over what `wrap` makes of each connection.
fn served<S: Read + Write>(
    answers: Vec<String>,
    wrap: impl Fn(TcpStream) -> io::Result<S> + Send + 'static,
) -> (u16, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let requests = thread::spawn(move || {
        let serve = |answer: String| {
            let mut stream = wrap(listener.accept().unwrap().0).unwrap();
            let mut request = vec![];
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                if stream.read_exact(&mut byte).is_err() {
                    return String::new();
                }
                request.push(byte[0]);
            }
            // A client that has read enough closes the connection.
            let _ = stream.write_all(answer.as_bytes());
            String::from_utf8(request).unwrap().lines().next().unwrap().to_owned()
        };
        answers.into_iter().map(serve).collect()
    });
    (port, requests)
}

/// The same under TLS, and the file with its certificate.
fn secure_server(answers: Vec<String>) -> (u16, JoinHandle<Vec<String>>, tempfile::NamedTempFile) {
    let (config, certificate) = self_signed("localhost");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), certificate).unwrap();
    let (port, requests) = served(answers, move |stream| {
        let connection = ServerConnection::new(config.clone()).map_err(io::Error::other)?;
        Ok(StreamOwned::new(connection, stream))
    });
    (port, requests, file)
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

fn none() -> String {
    "HTTP/1.0 404 Not Found\r\n\r\nno such page\n".into()
}

fn source(line: &str) -> Source {
    let args = Args::new(line.split_whitespace());
    let source = Source::from_args(&args, &Config::new(vec![])).unwrap();
    Source { pause: Duration::ZERO, ..source }
}

#[test]
fn pages_are_asked_for_in_order_and_remembered() {
    let (port, requests) =
        server(vec![none(), ok("# ours\r\n example.com \r\n\r\nb\n"), none(), none()]);
    let source = source(&format!("http://127.0.0.1:{port}/c/ http://127.0.0.1:{port}?n="));
    for _ in 0..2 {
        let lines = source.lines("rcpt hosts", TIMEOUT);
        assert_eq!(lines, Ok(Some(vec!["example.com".to_owned(), "b".to_owned()])));
        assert_eq!(source.lines("me", TIMEOUT), Ok(None));
    }
    let wanted = ["/c/rcpt%20hosts", "/?n=rcpt%20hosts", "/c/me", "/?n=me"];
    assert_eq!(requests.join().unwrap(), wanted.map(|path| format!("GET {path} HTTP/1.1")));
}

#[test]
fn pages_are_fetched_under_tls_from_servers_that_are_known() {
    let (port, requests, ca) = secure_server(vec![ok("a\n")]);
    let ca = ca.path().display();
    let known = source(&format!("https://localhost:{port}/c/ ca {ca}"));
    assert_eq!(known.lines("me", TIMEOUT), Ok(Some(vec!["a".to_owned()])));
    assert_eq!(requests.join().unwrap(), ["GET /c/me HTTP/1.1"]);

    let (port, requests, other) = secure_server(vec![ok("a\n")]);
    let other_ca = source(&format!("https://localhost:{port}/c/ ca {ca}"));
    let error = other_ca.lines("me", TIMEOUT).unwrap_err();
    assert!(error.contains("certificate"), "{error}");
    assert_eq!(requests.join().unwrap(), [""]);

    let (port, requests, ca) = secure_server(vec![ok("a\n")]);
    let ca = ca.path().display();
    let other_name = source(&format!("https://127.0.0.1:{port}/c/ ca {ca}"));
    let error = other_name.lines("me", TIMEOUT).unwrap_err();
    assert!(error.contains("certificate"), "{error}");
    assert_eq!(requests.join().unwrap(), [""]);
    drop(other);
}

#[test]
fn chunks_are_put_together() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let whole = format!("{chunked}3\r\na\nb\r\n2\r\nc\n\r\n0\r\n\r\n");
    let (port, requests) = server(vec![whole]);
    let found = source(&format!("http://127.0.0.1:{port}/")).lines("x", TIMEOUT);
    assert_eq!(found, Ok(Some(vec!["a".to_owned(), "bc".to_owned()])));
    requests.join().unwrap();
}

#[test]
fn a_ttl_of_0_asks_again() {
    let (port, requests) = server(vec![ok("a"), ok("b"), ok("")]);
    let source = source(&format!("http://127.0.0.1:{port}/ ttl 0"));
    assert_eq!(source.lines("x", TIMEOUT), Ok(Some(vec!["a".to_owned()])));
    assert_eq!(source.lines("x", TIMEOUT), Ok(Some(vec!["b".to_owned()])));
    assert_eq!(source.lines("x", TIMEOUT), Ok(None));
    assert_eq!(requests.join().unwrap().len(), 3);
}

#[test]
fn what_is_no_good_answer_is_an_error() {
    for (answer, why) in [
        ("", "cut off"),
        ("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n", "cut off"),
        ("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nabc", "cut off"),
        ("HTTP/1.0 200 OK\r\nContent-Length: x\r\n\r\nabc", "the answer is not HTTP"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc", "cut off"),
        ("HTTP/1.0 500 Oops\r\n\r\n", "the answer is '500 Internal Server Error'"),
        ("HTTP/1.0 302 There\r\nLocation: /\r\n\r\n", "the answer is '302 Found'"),
        ("HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n\u{e9}", "the answer is not UTF-8"),
        ("220 mx ESMTP\r\n\r\n", "the answer is not HTTP"),
    ] {
        let (port, requests) = server(vec![answer.into()]);
        let error = source(&format!("http://127.0.0.1:{port}/")).lines("x", TIMEOUT);
        assert!(error.as_ref().unwrap_err().contains(why), "{answer}: {error:?}");
        requests.join().unwrap();
    }
    let (port, requests) = server(vec![ok(&"x\n".repeat(LARGEST as usize))]);
    let error = source(&format!("http://127.0.0.1:{port}/")).lines("x", TIMEOUT);
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
    assert_eq!(source.lines("x", TIMEOUT), Ok(Some(vec!["a".to_owned()])));
    assert!(source.lines("y", TIMEOUT).unwrap_err().contains("refused"));
    assert_eq!(requests.join().unwrap().len(), 2);
}

#[test]
fn a_server_that_failed_is_left_alone_for_a_while() {
    let (port, requests) = server(vec!["HTTP/1.0 503 Later\r\n\r\n".into()]);
    let source = source(&format!("http://127.0.0.1:{port}/"));
    let source = Source { pause: Duration::from_secs(3600), ..source };
    for name in ["x", "x", "y"] {
        assert!(source.lines(name, TIMEOUT).unwrap_err().contains("503 Service Unavailable"));
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
fn wrong_arguments_are_refused() {
    for (line, why) in [
        ("http_config", "argument missing: a URL"),
        ("http_config ttl 5", "argument missing: a URL"),
        ("http_config http://a.test/ ca /x", "argument ca is only for https://"),
        ("http_config https://a.test/ ca /no/such.pem", "/no/such.pem: "),
        ("http_config http://a.test:80:81/", "a URL cannot "),
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
