//! How fast is it, and how does what it costs grow?
//!
//! ```text
//! cargo bench --bench speed                     everything, in about half an hour
//! cargo bench --bench speed -- jobs             only that: jobs, growth, plugins, slow or store
//! cargo bench --bench speed -- store URL        the store, with a Redis server, too
//! cargo bench --bench speed -- slow every       only slow clients in every state of a session
//! cargo bench --bench speed -- jobs against DIR beside the programs of another build, in DIR
//! cargo bench --bench speed -- profile prefork  where the time goes, with perf(1)
//! ```
//!
//! What is measured is the processor time of all processes of a server for a message: the rate
//! would be the client's as much as the server's, since both share the machine.  Each number is the
//! median of rounds in which the servers take turns.  `sink` answers and does nothing else, in one
//! process: the ratios to it say more than seconds, which are different on every machine.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use qpsmtpd::hook::Hook;
use qpsmtpd::testing::Trial;

#[path = "speed/client.rs"]
mod client;
#[path = "speed/server.rs"]
mod server;
#[path = "speed/sink.rs"]
mod sink;
#[path = "speed/slow.rs"]
mod slow;
#[path = "speed/store.rs"]
mod store;

use client::Job;
use server::{Kind, Setup};

pub(crate) type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const ROUNDS: usize = 3;

/// What is sent, and how many messages of it.
const JOBS: [(&str, Job, usize); 4] = [
    ("a connection for each message, 5 KB, thrown away", Job { octets: 5120, ..Job::NEW }, 3000),
    ("one connection for many, 5 KB, thrown away", Job { octets: 5120, ..Job::MANY }, 6000),
    (
        "a connection for each message, 5 KB, on disk",
        Job { octets: 5120, stored: true, ..Job::NEW },
        1000,
    ),
    ("a connection for each message, 1 MB, thrown away", Job { octets: 1 << 20, ..Job::NEW }, 100),
];

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["sink"] => sink::serve(),
        [] => jobs(None)
            .and_then(|()| growth())
            .and_then(|()| plugins())
            .and_then(|()| store::measure(None))
            .and_then(|()| slow::measure(true)),
        ["jobs"] => jobs(None),
        ["jobs", "against", other] => jobs(Some(Path::new(other))),
        ["growth"] => growth(),
        ["plugins"] => plugins(),
        ["store"] => store::measure(None),
        ["store", url] => store::measure(Some(url)),
        ["slow"] => slow::measure(true),
        ["slow", "every"] => slow::measure(false),
        ["profile", kind] => profile(kind),
        _ => Err(
            "arguments: nothing, jobs [against DIR], growth, plugins, store [URL], slow [every], \
             profile SERVER"
                .into(),
        ),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("speed: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// The jobs against every server.
fn jobs(other: Option<&Path>) -> Result<()> {
    for (name, job, messages) in JOBS {
        let mut kinds = vec![Kind::Sink, Kind::Prefork(None), Kind::Forkserver(None)];
        if let Some(other) = other {
            let program = |name: &str| -> Option<PathBuf> { Some(other.join(name)) };
            kinds.push(Kind::Prefork(program("qpsmtpd-prefork")));
            kinds.push(Kind::Forkserver(program("qpsmtpd-forkserver")));
        }
        let setups: Vec<Setup> = kinds.into_iter().map(|kind| Setup::new(kind, &job)).collect();
        say(&format!("\n{name}; processor seconds for 1000 messages"));
        let costs = costs(&setups, &job, messages)?;
        for (setup, cost) in setups.iter().zip(&costs) {
            say(&format!("{:<28} {:8.3}  {:5.2} times sink", setup.kind, cost, cost / costs[0]));
        }
    }
    Ok(())
}

/// One thing grows, everything else stays.
fn growth() -> Result<()> {
    let one = |what: &str, value: usize, setup: Setup, job: Job, messages: usize| -> Result<()> {
        let cost = costs(&[setup], &job, messages)?[0];
        say(&format!("{value:>10} {what:<28} {cost:10.3} processor ms a message"));
        Ok(())
    };
    let small = Job { octets: 1024, ..Job::NEW };
    say("\nhow the cost of a message grows (prefork, thrown away)");
    for value in [1, 10, 50, 200] {
        let setup = Setup { workers: value, ..Setup::new(Kind::Prefork(None), &small) };
        one("workers", value, setup, Job { sessions: value.min(50), ..small }, 1000)?;
    }
    for value in [1, 10, 100, 500] {
        let setup = Setup::new(Kind::Prefork(None), &small);
        one("recipients", value, setup, Job { recipients: value, ..small }, 4000 / (value + 4))?;
    }
    for value in [1 << 10, 10 << 10, 100 << 10, 1 << 20, 10 << 20, 100 << 20] {
        let setup = Setup::new(Kind::Prefork(None), &small);
        let messages = ((50 << 20) / value).clamp(2, 1000);
        one("octets", value, setup, Job { octets: value, sessions: 2, ..small }, messages)?;
    }
    for value in [0, 10, 60] {
        let setup = Setup { plugins: value, ..Setup::new(Kind::Prefork(None), &small) };
        one("more plugins", value, setup, small, 1000)?;
    }
    for value in [10, 1000, 100_000] {
        let setup = Setup { domains: value, ..Setup::new(Kind::Prefork(None), &small) };
        one("lines of rcpthosts", value, setup, small, 1000)?;
    }
    Ok(())
}

/// What one more plugin costs that has a handler for a hook and declines.
fn plugins() -> Result<()> {
    const CALLS: u32 = 20_000;
    say("\none more plugin at a hook");
    let time = |count: usize| -> Result<f64> {
        let lines: String = (0..count).map(|n| format!("queue/discard:{n} note never\n")).collect();
        let mut trial = Trial::load(&lines, &[("loglevel", "4")])?;
        let start = Instant::now();
        for _ in 0..CALLS {
            trial.plain(Hook::Queue);
        }
        Ok(start.elapsed().as_secs_f64() * 1e9 / f64::from(CALLS))
    };
    let few = time(1)?;
    for count in [2, 11, 61] {
        let each = (time(count)? - few) / (count - 1) as f64;
        say(&format!("{:>10} more plugins {each:20.0} ns each", count - 1));
    }
    Ok(())
}

/// Runs perf(1) over a server that is busy with the first job.
fn profile(kind: &str) -> Result<()> {
    let kind = match kind {
        "prefork" => Kind::Prefork(None),
        "forkserver" => Kind::Forkserver(None),
        _ => return Err("profile what: prefork or forkserver".into()),
    };
    let (_, job, messages) = JOBS[0];
    let server = Setup::new(kind, &job).start()?;
    say(&server.profile(|address| client::send(address, &job, messages))?);
    Ok(())
}

/// The processor time of each server in ms a message.
fn costs(setups: &[Setup], job: &Job, messages: usize) -> Result<Vec<f64>> {
    const FEW: usize = 20;
    let mut costs = vec![vec![]; setups.len()];
    for _ in 0..ROUNDS {
        for (setup, costs) in setups.iter().zip(&mut costs) {
            // Starting and stopping is part of both, and so falls out.
            let spent = |messages| -> Result<f64> {
                let server = setup.start()?;
                client::send(server.address, job, messages)?;
                server.stop()
            };
            let few = FEW.min(messages / 2);
            let (less, more) = (spent(few)?, spent(messages)?);
            costs.push((more - less) * 1e3 / (messages - few) as f64);
        }
    }
    let median = |mut costs: Vec<f64>| {
        costs.sort_by(f64::total_cmp);
        costs[costs.len() / 2]
    };
    Ok(costs.into_iter().map(median).collect())
}

fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}
