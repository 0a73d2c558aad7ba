//! The fields of a connection that Perl plugins see, by the names that they have there.

use std::net::IpAddr;

use crate::perl::wire::Item;
use crate::state::{Connection, Hello};

/// All fields, with the values that Perl is told.
pub(super) fn fields(connection: &Connection) -> [(&'static str, Item); 13] {
    let encryption = connection.encryption.as_ref();
    let hello = connection.hello.map(|hello| match hello {
        Hello::Helo => "helo",
        // What Perl plugins ask is whether it is ESMTP.
        Hello::Ehlo | Hello::Lhlo => "ehlo",
    });
    let known = connection.known_remote_host();
    let info = known.map(|_| connection.remote_info());
    [
        ("remote_ip", Item::text(connection.remote_ip.to_string())),
        ("remote_port", Item::number(connection.remote_port)),
        ("remote_host", Item::maybe(known)),
        ("remote_info", Item::maybe(info.as_deref())),
        ("local_ip", Item::text(connection.local_ip.to_string())),
        ("local_port", Item::number(connection.local_port)),
        ("relay_client", if connection.relay_client { Item::text("1") } else { Item::Undef }),
        ("hello", Item::maybe(hello)),
        ("hello_host", Item::maybe(hello.map(|_| connection.hello_host.as_str()))),
        ("auth_user", Item::maybe(connection.auth_user.as_deref())),
        ("auth_mechanism", Item::maybe(connection.auth_mechanism.as_deref())),
        ("tls_cipher", Item::maybe(encryption.map(|tls| tls.cipher.as_str()))),
        ("tls_protocol", Item::maybe(encryption.map(|tls| tls.protocol.as_str()))),
    ]
}

/// Sets a field to what a plugin has made of it.
pub(super) fn set_field(connection: &mut Connection, name: &str, value: &Item) {
    let text = value.as_text();
    match name {
        "remote_ip" => set_ip(&mut connection.remote_ip, &text),
        "local_ip" => set_ip(&mut connection.local_ip, &text),
        "remote_port" => connection.remote_port = text.parse().unwrap_or(0),
        "local_port" => connection.local_port = text.parse().unwrap_or(0),
        "remote_host" if !text.is_empty() => connection.set_remote_host(Some(text)),
        "relay_client" => connection.relay_client = value.is_true(),
        "hello_host" => connection.hello_host = text,
        "auth_user" => connection.auth_user = Some(text).filter(|text| !text.is_empty()),
        "auth_mechanism" => connection.auth_mechanism = Some(text).filter(|text| !text.is_empty()),
        "hello" if connection.hello != Some(Hello::Lhlo) => {
            connection.hello = match text.as_str() {
                "helo" => Some(Hello::Helo),
                "ehlo" => Some(Hello::Ehlo),
                _ => None,
            }
        }
        _ => {}
    }
}

fn set_ip(ip: &mut IpAddr, text: &str) {
    if let Ok(new) = text.parse() {
        *ip = new;
    }
}
