//! XCLIENT, Postfix's extension: who our client is, for a server that trusts us to say so.

use std::io;
use std::net::IpAddr;

use crate::mail::xtext::encoded;
use crate::state::{Connection, Hello};

use super::{Client, Unusable};

/// The most octets of attributes in one command.
const MOST: usize = 500;

/// The value of what is not known.
const UNKNOWN: &str = "[UNAVAILABLE]";

impl Client {
    /// Tells the server what it wants to know of the client, and greets anew in its name.
    pub(super) fn xclient(&mut self, client: &Connection, name: &str) -> Result<(), Unusable> {
        let Some(wanted) = self.offer("XCLIENT") else {
            let details = "it is an argument of the plugin";
            return Err(Unusable::new("Server does not advertise XCLIENT support", details));
        };
        let what = "XCLIENT failed";
        let failed = |error: io::Error| Unusable::new(what, error);
        for command in commands(client, wanted) {
            self.ask(&command).map_err(failed)?.or_unusable(what)?;
        }
        let what = "HELLO after XCLIENT failed";
        let failed = |error: io::Error| Unusable::new(what, error);
        let is_name = |host: &str| {
            (1..=255).contains(&host.len()) && host.bytes().all(|b| b.is_ascii_graphic())
        };
        let name = Some(client.hello_host.as_str()).filter(|host| is_name(host)).unwrap_or(name);
        self.hello(name).map_err(failed)?.or_unusable(what)?;
        Ok(())
    }
}

/// The commands that say all that is known of what the server wants to know.
fn commands(client: &Connection, wanted: &str) -> Vec<String> {
    let known =
        |text: &str| if text.is_empty() { UNKNOWN.to_owned() } else { encoded(text.as_bytes()) };
    let host = Some(client.remote_host()).filter(|host| *host != "Unknown").unwrap_or("");
    let port = Some(client.remote_port).filter(|port| *port > 0).map(|port| port.to_string());
    let address = match client.remote_ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("IPV6:{ip}"),
    };
    let protocol = client.hello.map(|hello| match hello {
        Hello::Ehlo | Hello::Lhlo => "ESMTP".to_owned(),
        Hello::Helo => "SMTP".to_owned(),
    });
    // Once the server knows the address, it need not trust us any more.
    let attributes = [
        ("NAME", Some(known(host))),
        ("PORT", Some(known(&port.unwrap_or_default()))),
        ("HELO", Some(known(&client.hello_host))),
        ("PROTO", protocol),
        ("ADDR", Some(address)),
    ];
    let mut commands: Vec<String> = vec![];
    for (key, value) in attributes {
        let is_wanted = wanted.split_whitespace().any(|word| word.eq_ignore_ascii_case(key));
        let Some(value) = value.filter(|_| is_wanted) else { continue };
        match commands.last_mut() {
            Some(last) if last.len() + value.len() < MOST => *last += &format!(" {key}={value}"),
            _ => commands.push(format!("XCLIENT {key}={value}")),
        }
    }
    commands
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection(ip: &str, port: u16, helo: &str) -> Connection {
        let local = ([192, 0, 2, 25].into(), 25);
        let mut connection = Connection::new((ip.parse().unwrap(), port), local);
        connection.hello_host = helo.to_owned();
        connection.hello = Some(Hello::Ehlo);
        connection
    }

    #[test]
    fn the_server_is_told_what_it_wants_to_know() {
        let client = connection("192.0.2.7", 4000, "mx.example")
            .with_remote(Some("host.example".into()), None);
        let all = "NAME ADDR PROTO HELO REVERSE_NAME PORT LOGIN";
        assert_eq!(
            commands(&client, all),
            ["XCLIENT NAME=host.example PORT=4000 HELO=mx.example PROTO=ESMTP ADDR=192.0.2.7"]
        );
        assert_eq!(commands(&client, "addr"), ["XCLIENT ADDR=192.0.2.7"]);
        assert_eq!(commands(&client, ""), Vec::<String>::new());
    }

    #[test]
    fn what_is_not_known_or_odd_is_said_so() {
        let mut client = connection("2001:db8::1", 0, "a+b=\u{e4}\r\nQUIT x");
        client.hello = None;
        assert_eq!(
            commands(&client, "NAME ADDR PORT HELO PROTO"),
            ["XCLIENT NAME=[UNAVAILABLE] PORT=[UNAVAILABLE] HELO=a+2Bb+3D+C3+A4+0D+0AQUIT+20x \
              ADDR=IPV6:2001:db8::1"]
        );
    }

    #[test]
    fn long_attributes_have_commands_of_their_own() {
        let client = connection("192.0.2.7", 1, &"h".repeat(480));
        let commands = commands(&client, "NAME ADDR PORT HELO PROTO");
        assert_eq!(commands.len(), 3);
        assert!(
            commands[1].starts_with("XCLIENT HELO=hhh") && commands[1].ends_with("PROTO=ESMTP")
        );
        assert_eq!(commands[2], "XCLIENT ADDR=192.0.2.7");
    }
}
