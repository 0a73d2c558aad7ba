//! Where users are, and how they are found there.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;

use crate::auth::settings::BackEndSettings;
use crate::config::{Config, Lines};
use crate::error::{Error, Result};
use crate::hook::Args;
use crate::net::{Endpoint, file_named, parse_port, verified};

const KNOWN: [&str; 10] = [
    "ldap_base",
    "ldap_host",
    "ldap_port",
    "ldap_timeout",
    "ldap_auth_filter_attr",
    "ldap_filter",
    "ldap_bind_dn",
    "ldap_bind_password_file",
    "ldap_tls",
    "ldap_ca",
];

/// Where users are, and how they are found there.
pub(super) struct Directory {
    pub(super) endpoint: Endpoint,
    pub(super) base: String,
    filter: String,
    /// The limit of each wait.
    pub(super) timeout: Duration,
    /// Who searches: a DN, and the file with the password.
    pub(super) reader: Option<(String, PathBuf)>,
    pub(super) tls: Option<Tls>,
}

pub(super) struct Tls {
    pub(super) config: Arc<ClientConfig>,
    /// From the start on?
    pub(super) is_first: bool,
}

impl Directory {
    pub(super) fn read(lines: &Lines, args: &Args, config: &Config) -> Result<Directory> {
        let settings = BackEndSettings::read(&KNOWN, lines, args)?;
        let tls = tls(&settings, config)?;
        let port = match (settings.get("ldap_port"), &tls) {
            (Some(port), _) => parse_port(port).map_err(|why| why.within("ldap_port"))?,
            (None, Some(Tls { is_first: true, .. })) => 636,
            (None, _) => 389,
        };
        let host = settings.get("ldap_host").unwrap_or("127.0.0.1");
        let mut endpoint = Endpoint::parse(host, Some(port))?;
        match &mut endpoint {
            Endpoint::Tcp { port: other, .. } => *other = port,
            Endpoint::Unix(_) if tls.is_some() => {
                return Err(Error::new("there is no TLS over a socket in the file system"));
            }
            Endpoint::Unix(_) => {}
        }
        let timeout = settings.get("ldap_timeout").unwrap_or("5");
        let seconds = timeout.parse().ok().filter(|seconds| *seconds > 0);
        let wrong = || Error::new(format!("ldap_timeout is not a number of seconds: '{timeout}'"));
        let reader = match (settings.get("ldap_bind_dn"), settings.get("ldap_bind_password_file")) {
            (Some(dn), Some(file)) => Some((dn.to_owned(), file_named(file, config))),
            (None, None) => None,
            _ => return Err("ldap_bind_dn and ldap_bind_password_file belong together".into()),
        };
        Ok(Directory {
            endpoint,
            base: settings.required("ldap_base")?.to_owned(),
            filter: template(&settings)?,
            timeout: Duration::from_secs(seconds.ok_or_else(wrong)?),
            reader,
            tls,
        })
    }

    /// The filter that finds a user.
    pub(super) fn filter_for(&self, user: &str) -> String {
        let (name, domain) = user.split_once('@').unwrap_or((user, ""));
        let mut filter = String::new();
        let mut rest = self.filter.as_str();
        while let Some((before, after)) = rest.split_once('%') {
            filter += before;
            filter += &match after.bytes().next() {
                Some(b'u') => escaped(user),
                Some(b'n') => escaped(name),
                Some(b'd') => escaped(domain),
                _ => "%".to_owned(),
            };
            rest = after.get(1..).unwrap_or("");
        }
        filter + rest
    }
}

fn tls(settings: &BackEndSettings, config: &Config) -> Result<Option<Tls>> {
    let ca = settings.get("ldap_ca").map(|name| file_named(name, config));
    match settings.get("ldap_tls").unwrap_or("no") {
        "no" if ca.is_some() => Err(Error::new("ldap_ca is for ldap_tls must and first")),
        "no" => Ok(None),
        word @ ("must" | "first") => {
            Ok(Some(Tls { config: verified(ca)?, is_first: word == "first" }))
        }
        word => Err(Error::unknown("ldap_tls", word, &["no", "must", "first"])),
    }
}

/// The filter with its placeholders.
fn template(settings: &BackEndSettings) -> Result<String> {
    let attribute = settings.get("ldap_auth_filter_attr");
    let Some(filter) = settings.get("ldap_filter") else {
        let name = attribute.unwrap_or("uid");
        let is_name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b';' | b'.');
        return match name.bytes().all(is_name) {
            true => Ok(format!("({name}=%n)")),
            false => Err(Error::new(format!("ldap_auth_filter_attr is no attribute: '{name}'"))),
        };
    };
    if attribute.is_some() {
        return Err(Error::new("ldap_filter and ldap_auth_filter_attr exclude each other"));
    }
    let known = |part: &str| matches!(part.bytes().next(), Some(b'u' | b'n' | b'd'));
    let parts: Vec<_> = filter.split("%%").flat_map(|text| text.split('%').skip(1)).collect();
    if parts.is_empty() || !parts.into_iter().all(known) {
        return Err(Error::new(
            "ldap_filter needs one of %u, %n and %d, and any other % has to be %%",
        ));
    }
    Ok(filter.to_owned())
}

/// What has no meaning of its own in a filter (RFC 4515 3).
fn escaped(text: &str) -> String {
    let one = |octet: u8| match octet {
        b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'-' | b'_' | b'.' => (octet as char).to_string(),
        _ => format!("\\{octet:02x}"),
    };
    text.bytes().map(one).collect()
}

#[cfg(all(test, feature = "ldap"))]
mod tests {
    use super::*;
    use crate::net::self_signed;
    use crate::testing::Trial;

    fn directory(args: &str) -> Result<Directory> {
        let args = Args::new(args.split_whitespace());
        Directory::read(&Lines::default(), &args, &Config::new(vec![]))
    }

    #[test]
    fn a_user_name_is_a_value_and_never_a_filter() {
        let filter = |args: &str, user: &str| {
            directory(&format!("ldap_base o=x {args}")).unwrap().filter_for(user)
        };
        for (args, user, want) in [
            ("", "ann", "(uid=ann)"),
            ("", "ann@example.com", "(uid=ann)"),
            ("ldap_auth_filter_attr mail;x", "an-n_1.x", "(mail;x=an-n_1.x)"),
            ("", "*", r"(uid=\2a)"),
            ("", "a)(uid=*", r"(uid=a\29\28uid\3d\2a)"),
            ("", "\\2a@x", r"(uid=\5c2a)"),
            ("", "\u{e9}", r"(uid=\c3\a9)"),
            ("ldap_filter (mail=%u)", "%d*@x", r"(mail=\25d\2a\40x)"),
            ("ldap_filter (&(a=%n)(b=%d)(c=5%%))", "ann@x@y", r"(&(a=ann)(b=x\40y)(c=5%))"),
            ("ldap_filter (a=%n%%d)", "ann", "(a=ann%d)"),
        ] {
            assert_eq!(filter(args, user), want, "{args} {user}");
        }
    }

    #[test]
    fn ports_follow_from_tls() {
        let ca = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(ca.path(), self_signed("ca.test").1).unwrap();
        let ca = ca.path().display();
        for (args, endpoint) in [
            (String::new(), "127.0.0.1:389"),
            ("ldap_host ldap.test".into(), "ldap.test:389"),
            ("ldap_host ldap.test ldap_port 1389".into(), "ldap.test:1389"),
            (format!("ldap_tls must ldap_ca {ca}"), "127.0.0.1:389"),
            (format!("ldap_tls first ldap_ca {ca}"), "127.0.0.1:636"),
            (format!("ldap_tls first ldap_ca {ca} ldap_port 1636"), "127.0.0.1:1636"),
            ("ldap_host /run/ldapi".into(), "/run/ldapi"),
        ] {
            let found = directory(&format!("ldap_base o=x {args}")).unwrap();
            assert_eq!(found.endpoint.to_string(), endpoint, "{args}");
            assert_eq!(found.timeout, Duration::from_secs(5));
        }
    }

    #[test]
    fn wrong_settings_stop_the_start() {
        for (args, error) in [
            ("", "setting missing: ldap_base"),
            ("ldap_base x ldap_port 0", "ldap_port: not a port: '0'"),
            ("ldap_base x ldap_host a@b", "Bad data in server: a@b"),
            ("ldap_base x ldap_timeout 0", "ldap_timeout is not a number of seconds: '0'"),
            ("ldap_base x ldap_tls yes", "unknown ldap_tls 'yes' (known: no, must, first)"),
            ("ldap_base x ldap_ca /f", "ldap_ca is for ldap_tls must and first"),
            ("ldap_base x ldap_tls must ldap_ca /no/such", "/no/such: "),
            (
                "ldap_base x ldap_auth_filter_attr a=b",
                "ldap_auth_filter_attr is no attribute: 'a=b'",
            ),
            ("ldap_base x ldap_filter (a=b)", "ldap_filter needs one of"),
            ("ldap_base x ldap_filter (a=%u%x)", "ldap_filter needs one of"),
            ("ldap_base x ldap_filter (a=%u%)", "ldap_filter needs one of"),
            ("ldap_base x ldap_filter (a=%u) ldap_auth_filter_attr b", "exclude each other"),
            ("ldap_base x ldap_bind_dn cn=a", "belong together"),
        ] {
            let found = Trial::load(&format!("auth/auth_ldap_bind {args}"), &[]).err().unwrap();
            assert!(found.to_string().contains(error), "{args}: {found}");
        }
        let found = Trial::load("auth/auth_ldap_bind", &[("ldap", "ldap_bass x")]).err().unwrap();
        assert!(
            found.to_string().contains("ldap:1: auth/auth_ldap_bind: unknown setting 'ldap_bass'"),
            "{found}"
        );
    }
}
