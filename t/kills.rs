//! Processes are killed with -9 under load, again and again: what got a 250 is there, once; nobody
//! gets a permanent refusal; and nothing is left behind.
//!
//! `QPSMTPD_ROUNDS=20 cargo test --test t kills::` makes 20 rounds of each and says how many
//! messages there were.

// Clients that deliver, and what became of their messages.
mod load;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::{Config, Model, Server, TIMEOUT, deb, poll, say};
use crate::perl_host;
use load::Load;

/// A round has so many kills, where the server survives them.
const KILLS: usize = 10;
/// Attempts to deliver between one kill and the next, on average.
const PACE: usize = 40;

/// Plugins that pass something on from one hook to another, keep files in the spool, and look at
/// the whole message.
const ENVELOPE: &str = r#"
sub hook_rcpt { my ($self, $t) = @_; $t->notes(asked => 'yes'); $self->temp_dir; return DECLINED }
"#;
const MESSAGE: &str = r#"
sub hook_data_post {
    my ($self, $t) = @_;
    my $lines = 0;
    $t->body_resetpos;
    $lines++ while defined $t->body_getline;
    $t->header->add('X-Asked', $t->notes('asked'));
    $t->header->add('X-Lines', $lines);
    return DECLINED;
}
"#;
const PLUGINS: &str = "envelope\nrcpt_ok\nmessage\nqueue/maildir {work}/Maildir";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    /// A process that serves a client or waits for one.
    Worker,
    /// The one that has loaded the Perl plugins, or one that it has made for a worker.
    Perl,
    /// The parent; its workers live on.
    Parent,
    /// Every process there is.
    All,
}

#[test]
fn workers_of_forkserver() {
    kills(Model::Forkserver, Victim::Worker);
}

#[test]
fn workers_of_prefork() {
    kills(Model::Prefork, Victim::Worker);
}

#[test]
fn perl_of_forkserver() {
    kills(Model::Forkserver, Victim::Perl);
}

#[test]
fn perl_of_prefork() {
    kills(Model::Prefork, Victim::Perl);
}

#[test]
fn the_parent_of_forkserver() {
    kills(Model::Forkserver, Victim::Parent);
}

#[test]
fn the_parent_of_prefork() {
    kills(Model::Prefork, Victim::Parent);
}

#[test]
fn all_of_forkserver() {
    kills(Model::Forkserver, Victim::All);
}

#[test]
fn all_of_prefork() {
    kills(Model::Prefork, Victim::All);
}

fn kills(model: Model, victim: Victim) {
    if !deb::need("perl") {
        return;
    }
    let config = perl_host::config(PLUGINS, &[("envelope", ENVELOPE), ("message", MESSAGE)]);
    let config = config.set("size_threshold", "2000");
    let rounds = std::env::var("QPSMTPD_ROUNDS").ok().and_then(|text| text.parse().ok());
    let load = Load::default();
    let mut killed = 0;
    for round in 0..rounds.unwrap_or(1) {
        let mut server = start(&config, model);
        let (address, log) = (server.addresses(1)[0], server.log().clone());
        load.run(&format!("round {round}"), address, &log, || {
            killed += match victim {
                Victim::Worker | Victim::Perl => one_by_one(&mut server, &config, &load, victim),
                Victim::Parent | Victim::All => end(&mut server, &config, &load, victim),
            }
        });
        if matches!(victim, Victim::Worker | Victim::Perl) {
            // Whatever was killed last, mail goes on.
            load.one(&format!("end of round {round}"), address, &log);
            server.stop().unwrap();
        } else {
            server.parent().wait().unwrap();
            let gone = || config.processes().is_empty().then_some(());
            assert!(poll(TIMEOUT, gone).is_some(), "left: {:?}", config.processes());
        }
    }
    start(&config, model).stop().unwrap();
    let figures = load.check(&config.mails());
    if rounds.is_some() {
        say(&format!("{victim:?} of {model}: {figures}, {killed} kills"));
    }
}

/// What the last round has left in the spool is gone when the server listens.
fn start(config: &Config, model: Model) -> Server<'_> {
    let server = Server::start(config, model);
    assert_eq!(config.spool_left(), Vec::<std::path::PathBuf>::new());
    server
}

/// Kills one after the other; how many.
fn one_by_one(server: &mut Server<'_>, config: &Config, load: &Load, victim: Victim) -> usize {
    for number in 0..KILLS {
        load.wait(random() % (2 * PACE));
        let choose = || {
            let all = match victim {
                Victim::Worker => workers(server),
                // Now and then it is the one that all others come from.
                _ => perls(server, config, number % 4 == 3),
            };
            let pid = all.get(random() % all.len().max(1))?;
            kill(*pid, Signal::SIGKILL).ok()
        };
        poll(TIMEOUT, choose).unwrap_or_else(|| panic!("there is no {victim:?} to kill"));
    }
    load.wait(PACE);
    KILLS
}

/// Kills the parent, or all there are; how many.
fn end(server: &mut Server<'_>, config: &Config, load: &Load, victim: Victim) -> usize {
    load.wait(PACE + random() % (2 * PACE));
    server.parent().signal(Signal::SIGKILL);
    match victim {
        Victim::All => {
            let others = config.processes();
            1 + others.iter().filter(|pid| kill(**pid, Signal::SIGKILL).is_ok()).count()
        }
        _ => 1,
    }
}

fn workers(server: &mut Server<'_>) -> Vec<Pid> {
    server.parent().children().into_iter().filter(|pid| !is_perl(*pid)).collect()
}

/// The Perl process that makes the others, or the others.
fn perls(server: &mut Server<'_>, config: &Config, first: bool) -> Vec<Pid> {
    let children = server.parent().children();
    let all = config.processes().into_iter().filter(|pid| is_perl(*pid));
    all.filter(|pid| children.contains(pid) == first).collect()
}

fn is_perl(pid: Pid) -> bool {
    let program = std::fs::read_link(format!("/proc/{pid}/exe"));
    program.is_ok_and(|path| path.to_string_lossy().contains("perl"))
}

/// Any number: the standard library seeds every hasher anew.
fn random() -> usize {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0) as usize
}
