//! The servers that are asked.

use std::io;
use std::rc::Rc;
use std::time::Instant;

use super::answer::Answer;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::hook::Args;
use crate::net::{Endpoint, Form, Http, Place, file_named, verified};

/// Where rspamd is usually, and the port of its normal worker.
const DEFAULT: &str = "127.0.0.1";
const PORT: u16 = 11333;

/// The largest answer in octets.
const LARGEST: u64 = 4 << 20;

/// One server.
pub(super) struct Server {
    http: Rc<Http>,
    url: String,
    /// For the log.
    pub(super) shown: String,
}

impl Server {
    pub(super) fn all(words: &[&str], args: &Args, config: &Config) -> Result<Vec<Server>> {
        let words = if words.is_empty() { &[DEFAULT] } else { words };
        let is_https = words.iter().any(|word| word.starts_with("https://"));
        let ca = args.named("ca").map(|file| file_named(file, config));
        if ca.is_some() && !is_https {
            return Err(Error::new("argument ca is only for https://"));
        }
        let tls = if is_https { Some(verified(ca)?) } else { None };
        let http = Rc::new(Http::new(tls));
        let mut words = words.iter().copied().peekable();
        let mut servers = vec![];
        while let Some(word) = words.peek().copied() {
            // Else a name of an argument that is misspelt would be one.
            let is_server =
                word.contains(['.', ':', '/']) || word.eq_ignore_ascii_case("localhost");
            if !is_server {
                let text =
                    format!("unknown argument '{word}', or a server without a port or a dot");
                return Err(Error::new(text));
            }
            servers.push(if word.contains("://") {
                words.next();
                Server::by_url(word, &http)?
            } else {
                let endpoint = Endpoint::take(&mut words, Some(PORT))?;
                Server::by_endpoint(endpoint.expect("there is a word"), &http)?
            });
        }
        Ok(servers)
    }

    /// What it says of a message.
    pub(super) fn ask(&self, form: Form<'_>, until: Instant) -> io::Result<Answer> {
        let page = self.http.post(&self.url, form, LARGEST, until)?;
        match page.status {
            200 => Answer::read(&page.content).map_err(io::Error::other),
            status => {
                let reason = page.reason;
                Err(io::Error::other(format!("the answer is '{status} {reason}'")))
            }
        }
    }

    fn by_url(url: &str, http: &Rc<Http>) -> Result<Server> {
        let place = Place::parse(url)?;
        if place.url.contains('?') {
            return Err(Error::new(format!("a server of rspamd cannot have a '?': {url}")));
        }
        let url = format!("{}/checkv2", place.url.trim_end_matches('/'));
        Ok(Server { http: http.clone(), url, shown: place.shown })
    }

    fn by_endpoint(endpoint: Endpoint, http: &Rc<Http>) -> Result<Server> {
        let shown = endpoint.to_string();
        match endpoint {
            Endpoint::Unix(path) => {
                let url = "http://localhost/checkv2".to_owned();
                Ok(Server { http: Rc::new(Http::at(path)), url, shown })
            }
            Endpoint::Tcp { .. } => Server::by_url(&format!("http://{shown}"), http),
        }
    }
}
