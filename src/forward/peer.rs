//! For tests: a server that follows a script.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::{self, JoinHandle};

/// A server for one connection after the other, on a port of the loopback address.
///
/// Its script has a line for each thing that it does:
///
/// ```text
/// + 250 text      says this; where it contains \n, more than a line at once
/// - NOOP          wants to hear this
/// *               takes whatever lines come until a dot on its own, and keeps them
/// close           closes the connection; then the next one is served
/// hang            says nothing more until the client closes the connection
/// ```
pub(crate) struct Peer {
    pub(crate) port: u16,
    thread: JoinHandle<Vec<u8>>,
}

impl Peer {
    /// Starts to listen.
    pub(crate) fn start(script: &str) -> Peer {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let script = script.to_owned();
        Peer { port, thread: thread::spawn(move || follow(&listener, &script)) }
    }

    /// Waits for the end of the script.  Returns what was kept.
    ///
    /// # Panics
    /// Something else was heard than the script says.
    pub(crate) fn end(self) -> Vec<u8> {
        self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

fn follow(listener: &TcpListener, script: &str) -> Vec<u8> {
    let mut client: Option<BufReader<TcpStream>> = None;
    let mut kept = vec![];
    for step in script.lines().map(str::trim).filter(|step| !step.is_empty()) {
        if step == "close" {
            client = None;
            continue;
        }
        let client = client.get_or_insert_with(|| BufReader::new(listener.accept().unwrap().0));
        match step.split_at_checked(2) {
            Some(("+ ", text)) => {
                let text = format!("{text}\r\n").replace("\\n", "\r\n");
                // A client need not wait for a last word.  One that should have is missed below.
                let _ = client.get_mut().write_all(text.as_bytes());
            }
            Some(("- ", text)) => assert_eq!(hear(client).escape_ascii().to_string(), text),
            _ if step == "*" => loop {
                let line = hear(client);
                if line == b"." {
                    break;
                }
                kept.extend_from_slice(&line);
                kept.extend_from_slice(b"\r\n");
            },
            _ if step == "hang" => while client.read_until(b'\n', &mut vec![]).unwrap_or(0) > 0 {},
            _ => panic!("not a step: {step}"),
        }
    }
    kept
}

fn hear(client: &mut BufReader<TcpStream>) -> Vec<u8> {
    let mut line = vec![];
    client.read_until(b'\n', &mut line).unwrap();
    assert!(line.ends_with(b"\r\n"), "heard {:?}", line.escape_ascii().to_string());
    line.truncate(line.len() - 2);
    line
}
