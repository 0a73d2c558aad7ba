//! The server that does nothing but answer: what a message costs at least.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use crate::Result;

const LISTENER: u64 = u64::MAX;

/// Answers all clients in one process until it is killed.
pub(crate) fn serve() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    writeln!(std::io::stderr(), "listening on {}", listener.local_addr()?)?;
    let poll = Epoll::new(EpollCreateFlags::empty())?;
    poll.add(&listener, EpollEvent::new(EpollFlags::EPOLLIN, LISTENER))?;
    let mut clients: HashMap<u64, Client> = HashMap::new();
    let mut events = [EpollEvent::empty(); 64];
    let mut buffer = vec![0; 64 * 1024];
    for number in 0.. {
        let count = poll.wait(&mut events, EpollTimeout::NONE)?;
        for (place, event) in events[..count].iter().enumerate() {
            let token = event.data();
            if token == LISTENER {
                let (mut stream, _) = listener.accept()?;
                stream.set_nodelay(true)?;
                stream.write_all(b"220 sink\r\n")?;
                let token = number << 8 | place as u64;
                poll.add(stream.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN, token))?;
                clients.insert(token, Client { stream, data: false, last: vec![] });
            } else if let Some(client) = clients.get_mut(&token)
                && !client.serve(&mut buffer)?
            {
                clients.remove(&token);
            }
        }
    }
    Ok(())
}

struct Client {
    stream: TcpStream,
    /// Is a message on its way?
    data: bool,
    /// How what was read last ended.
    last: Vec<u8>,
}

impl Client {
    /// Reads once and answers; false: the client is gone.
    fn serve(&mut self, buffer: &mut [u8]) -> Result<bool> {
        let count = match self.stream.read(buffer) {
            Ok(0) => return Ok(false),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        let text = &buffer[..count];
        let answer: &[u8] = if self.data {
            let tail = &text[count.saturating_sub(5)..];
            self.last.extend_from_slice(tail);
            let excess = self.last.len().saturating_sub(5);
            self.last.drain(..excess);
            self.data = self.last != b"\r\n.\r\n";
            if self.data { b"" } else { b"250 ok\r\n" }
        } else {
            self.data = text.starts_with(b"DATA");
            match text.first() {
                Some(b'D') => b"354 go\r\n",
                Some(b'Q') => b"221 bye\r\n",
                _ => b"250 ok\r\n",
            }
        };
        self.stream.write_all(answer)?;
        Ok(!text.starts_with(b"QUIT"))
    }
}
