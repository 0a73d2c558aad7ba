//! A session's way to ask: its servers, its limit of time, and what it was told already.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::{Answer, Dns, Memory, Question, Stub, system};
use crate::metrics::{self, Metric, Outside};
use crate::settings::NameServers;

/// Answers a session's questions.
pub struct Resolver {
    source: Source,
    memory: Memory,
}

enum Source {
    /// Servers, those of the system where there is none; and how long a batch may take.
    Servers(NameServers, Duration),
    /// Something else, in tests.
    Other(Box<dyn Dns>),
}

impl Resolver {
    /// Asks these servers, or those of the system where there is none; the answers to what is
    /// asked at once may take `timeout`.
    pub fn new(servers: NameServers, timeout: Duration) -> Resolver {
        Resolver { source: Source::Servers(servers, timeout), memory: Memory::default() }
    }

    /// Asks `dns`, for tests.
    pub fn over(dns: impl Dns + 'static) -> Resolver {
        Resolver { source: Source::Other(Box::new(dns)), memory: Memory::default() }
    }

    /// Something to ask whose answers are there before `deadline`.
    pub fn until(&self, deadline: Instant) -> impl Dns + '_ {
        Asking { resolver: self, deadline }
    }

    /// The host name of `ip`: that of /etc/hosts, else what the domain name system says; None where
    /// there is none that is a host name.
    pub fn host_of(&self, ip: IpAddr) -> Option<String> {
        if ip.is_loopback() {
            return Some("localhost".into());
        }
        if let Some(name) = system::host_of(ip) {
            return Some(name);
        }
        let timeout = match self.source {
            Source::Servers(_, timeout) => timeout,
            Source::Other(_) => Duration::ZERO,
        };
        let answer = self.until(Instant::now() + timeout).ask_one(Question::name_of(ip));
        let is_host =
            |name: &&str| name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
        answer.names().find(is_host).map(str::to_owned)
    }
}

impl std::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resolver").finish_non_exhaustive()
    }
}

struct Asking<'a> {
    resolver: &'a Resolver,
    deadline: Instant,
}

impl Dns for Asking<'_> {
    fn ask(&self, questions: &[Question]) -> Vec<Answer> {
        let memory = &self.resolver.memory;
        match &self.resolver.source {
            Source::Other(dns) => memory.ask(&Counted(dns.as_ref()), questions),
            Source::Servers(servers, timeout) => {
                let system;
                let servers = match servers.as_slice() {
                    [] => {
                        system = system::servers();
                        system.as_slice()
                    }
                    own => own,
                };
                let deadline = self.deadline.min(Instant::now() + *timeout);
                memory.ask(&Counted(&Stub { servers, deadline }), questions)
            }
        }
    }
}

/// Counts what is asked.
struct Counted<'a>(&'a dyn Dns);

impl Dns for Counted<'_> {
    fn ask(&self, questions: &[Question]) -> Vec<Answer> {
        if questions.is_empty() {
            return vec![];
        }
        let call = Outside::begin("dns");
        let answers = self.0.ask(questions);
        let word = |answer: &Answer| match answer {
            Answer::Found { .. } => "found",
            Answer::NoData | Answer::Nothing => "nothing",
            Answer::Failed(_) => "failed",
        };
        answers.iter().for_each(|answer| metrics::add(Metric::DnsAnswers, &[word(answer)], 1));
        let has_failed = answers.iter().any(|answer| matches!(answer, Answer::Failed(_)));
        call.end(if has_failed { "failed" } else { "ok" });
        answers
    }
}
