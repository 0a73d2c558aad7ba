//! What a client says in SCRAM (RFC 5802 7).

use base64::prelude::{BASE64_STANDARD, Engine};

/// The longest nonce of a client in octets.
const LONGEST: usize = 512;

/// The client's first message.
#[derive(Debug, PartialEq, Eq)]
pub struct First {
    /// What the client says of channel binding.
    pub binding: Binding,
    /// As whom the client wants to act, where it says so.
    pub identity: Option<String>,
    /// The user name.
    pub user: String,
    /// The nonce.
    pub nonce: String,
    /// What is before the message proper, which the client has to repeat.
    pub header: String,
    /// The message proper.
    pub bare: String,
}

/// What the client says of channel binding.
#[derive(Debug, PartialEq, Eq)]
pub enum Binding {
    /// It cannot do it, `n`.
    None,
    /// It thinks that the server does not offer it, `y`.
    NotOffered,
    /// It does it with these data, `p=tls-exporter`.
    Of(String),
}

/// The client's last message.  It has no Debug: it gives away how a password can be guessed.
pub struct Last {
    /// The header and what binds to the channel.
    pub bound: Vec<u8>,
    /// The nonce.
    pub nonce: String,
    /// The proof that the client knows of the password.
    pub proof: [u8; 32],
    /// The message without the proof.
    pub unproved: String,
}

impl First {
    /// Reads it; None: it is none, or wants an extension (`m=`) that nobody knows.
    pub fn parse(octets: &[u8]) -> Option<First> {
        let text = std::str::from_utf8(octets).ok()?;
        let (binding, rest) = text.split_once(',')?;
        let (identity, bare) = rest.split_once(',')?;
        let binding = match binding.split_once('=') {
            None if binding == "n" => Binding::None,
            None if binding == "y" => Binding::NotOffered,
            Some(("p", kind)) => Binding::Of(kind.to_owned()),
            _ => return None,
        };
        let identity = match identity {
            "" | "a=" => None,
            _ => Some(name(identity.strip_prefix("a=")?)?),
        };
        let mut parts = bare.split(',');
        let user = name(parts.next()?.strip_prefix("n=")?)?;
        let nonce = parts.next()?.strip_prefix("r=")?;
        let is_nonce = (1..=LONGEST).contains(&nonce.len()) && nonce.bytes().all(is_visible);
        is_nonce.then(|| First {
            binding,
            identity,
            user,
            nonce: nonce.to_owned(),
            header: text[..text.len() - bare.len()].to_owned(),
            bare: bare.to_owned(),
        })
    }
}

impl Last {
    /// Reads it; None: it is none.
    pub fn parse(octets: &[u8]) -> Option<Last> {
        let text = std::str::from_utf8(octets).ok()?;
        let (unproved, proof) = text.rsplit_once(",p=")?;
        let mut parts = unproved.split(',');
        let bound = parts.next()?.strip_prefix("c=")?;
        let nonce = parts.next()?.strip_prefix("r=")?;
        Some(Last {
            bound: BASE64_STANDARD.decode(bound).ok()?,
            nonce: nonce.to_owned(),
            proof: BASE64_STANDARD.decode(proof).ok()?.try_into().ok()?,
            unproved: unproved.to_owned(),
        })
    }
}

/// A name, in which `=2C` is a comma and `=3D` an equals sign, as SASLprep (RFC 4013) has it.
fn name(text: &str) -> Option<String> {
    let mut pieces = text.split('=');
    let mut name = pieces.next()?.to_owned();
    for piece in pieces {
        match (piece.strip_prefix("2C"), piece.strip_prefix("3D")) {
            (Some(rest), _) => name = name + "," + rest,
            (_, Some(rest)) => name = name + "=" + rest,
            _ => return None,
        }
    }
    stringprep::saslprep(&name).ok().map(|name| name.into_owned())
}

fn is_visible(octet: u8) -> bool {
    octet.is_ascii_graphic() && octet != b','
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hook::{PENCIL, ScramKeys};

    /// The example of RFC 7677 3.
    #[test]
    fn the_example_is_understood() {
        let first = First::parse(b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO").unwrap();
        assert_eq!(
            first,
            First {
                binding: Binding::None,
                identity: None,
                user: "user".into(),
                nonce: "rOprNGfwEbeRWgbNEkqO".into(),
                header: "n,,".into(),
                bare: "n=user,r=rOprNGfwEbeRWgbNEkqO".into(),
            }
        );
        let nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let server_first = format!("r={nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096");
        let last = format!("c=biws,r={nonce},p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=");
        let last = Last::parse(last.as_bytes()).unwrap();
        assert_eq!((&last.bound[..], &last.nonce[..]), (&b"n,,"[..], nonce));
        let messages = format!("{},{server_first},{}", first.bare, last.unproved);
        let keys = ScramKeys::parse(PENCIL[0]).unwrap();
        assert!(keys.are_proved(&last.proof, &messages));
        assert!(!keys.are_proved(&last.proof, &messages.replace("user", "usex")));
        let mut wrong = last.proof;
        wrong[31] ^= 1;
        assert!(!keys.are_proved(&wrong, &messages));
        let signature = BASE64_STANDARD.encode(keys.signature(&messages));
        assert_eq!(signature, "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
    }

    #[test]
    fn names_and_headers_are_read() {
        let read = |text: &str| First::parse(text.as_bytes());
        let first = read("p=tls-exporter,a=b=2Cc,n=a=3D=2Cb,r=x,more=1").unwrap();
        assert_eq!(first.binding, Binding::Of("tls-exporter".into()));
        assert_eq!(first.identity.as_deref(), Some("b,c"));
        assert_eq!((&first.user[..], &first.nonce[..]), ("a=,b", "x"));
        assert_eq!(first.header, "p=tls-exporter,a=b=2Cc,");
        assert_eq!(first.bare, "n=a=3D=2Cb,r=x,more=1");
        assert_eq!(read("y,,n=I\u{ad}X,r=x").unwrap().user, "IX");
        assert_eq!(read("y,a=,n=u,r=x").unwrap().identity, None);
        assert_eq!(read("y,,n=,r=x").unwrap().user, "");
    }

    #[test]
    fn what_is_no_message_is_refused() {
        let long = format!("n,,n=u,r={}", "x".repeat(LONGEST + 1));
        for text in [
            "",
            "n",
            "n,,",
            "n=u,r=x",
            "x,,n=u,r=x",
            "n=,,n=u,r=x",
            "p,,n=u,r=x",
            "n,u,n=u,r=x",
            "n,,u,r=x",
            "n,,n=u",
            "n,,n=u,r=",
            "n,,n=u,r=a b",
            "n,,n=u,r=\u{e9}",
            "n,,r=x,n=u",
            "n,,m=1,n=u,r=x",
            "n,,n=u=,r=x",
            "n,,n=u=2c,r=x",
            "n,,n=u\u{7},r=x",
            &long,
        ] {
            assert_eq!(First::parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(First::parse(b"n,,n=\xff,r=x"), None);
        let proof = BASE64_STANDARD.encode([7; 32]);
        let good = format!("c=biws,r=x,more=1,p={proof}");
        assert!(Last::parse(good.as_bytes()).is_some_and(|last| last.unproved.ends_with("re=1")));
        for (part, other) in [
            ("c=biws", "c=biw"),
            ("c=", "d="),
            ("r=x,", ""),
            ("r=", "q="),
            (",p=", ",q="),
            (&proof[..4], ""),
            ("more=1", "\u{7}\u{e9}=!,p=x,p"),
        ] {
            let text = good.replacen(part, other, 1);
            let is_last = Last::parse(text.as_bytes()).is_some();
            assert_eq!(is_last, part == "more=1", "{text}");
        }
    }
}
