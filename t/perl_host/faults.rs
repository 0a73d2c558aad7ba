//! Processes that are killed, loop or ignore their rules.

use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{PROBE, ask, asks, config, helo, plugin};
use crate::harness::config::unprivileged;
use crate::harness::{Client, Config, Model, Server, TIMEOUT, poll};

/// Reads every field, as many plugins do.
const READER: &str = r#"
sub hook_data_post { my ($self, $transaction) = @_; $transaction->header->get('Subject'); DECLINED }
"#;

/// A message whose fields take much more memory than they have octets; small ones make no difference.
#[test]
fn a_perl_process_that_has_grown_makes_room_for_another() {
    let text = [PROBE, TROUBLE, READER].concat();
    let config = config(&format!("trouble\nrcpt_ok\n{QUEUE}"), &[("trouble", &text)]);
    let config = config.set("databytes", "0");
    let server =
        Server::start_with(&config, Model::Prefork, &["--children", "1", "--idle-children", "1"]);
    let session = |message: &str| {
        let mut client = connect(&server);
        let before = perl(&mut client);
        client.envelope();
        client.send_raw(format!("{message}\r\ntext\r\n.\r\n").as_bytes());
        client.expect("250");
        client.quit();
        before
    };
    let first = session("Subject: x\r\n");
    assert_eq!(session("Subject: x\r\n"), first);
    assert_eq!(session(&"a:\r\n".repeat(250_000)), first, "it was big only afterwards");
    let second = session("Subject: x\r\n");
    assert_ne!(second, first);
    wait_for_end(first);
    assert_eq!(session("Subject: x\r\n"), second);
    server.stop().unwrap();
}

const QUEUE: &str = "queue/maildir {work}/Maildir";
const FAILED: &str = "451 Internal error - try again later";

const TROUBLE: &str = r#"
sub do_pid { return $$ }
sub do_sleep { my ($self) = @_; $self->log(LOGWARN, "now $$"); sleep 1000 }
sub do_stubborn { my ($self) = @_; $SIG{$_} = 'IGNORE' for qw(TERM HUP INT PIPE ALRM); $self->log(LOGWARN, "now $$"); while (1) { } }
sub do_regex { my ($self) = @_; $self->log(LOGWARN, "now $$"); my $text = 'a' x 200; return $text =~ /^(a|aa)+\1*[bc]$/ ? 1 : 0 }
sub do_end { my ($self) = @_; kill KILL => $$; sleep 1000 }
sub do_word { 'old' }
"#;

fn trouble(model: Model) -> (Config, Model) {
    let text = [PROBE, TROUBLE].concat();
    (config(&format!("trouble\nrcpt_ok\n{QUEUE}"), &[("trouble", &text)]), model)
}

fn connect(server: &Server<'_>) -> Client {
    let mut client = server.connect();
    helo(&mut client);
    client
}

/// The Perl process that serves this client.
fn perl(client: &mut Client) -> Pid {
    Pid::from_raw(ask(client, "NOOP pid")[4..].parse().unwrap())
}

fn parent_of(pid: Pid) -> Option<Pid> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
    line.trim().parse().ok().map(Pid::from_raw)
}

/// Is it there, and not a zombie?
fn lives(pid: Pid) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status.lines().any(|line| line.starts_with("State:") && !line.contains('Z'))
}

fn wait_for_end(pid: Pid) {
    let ended = poll(TIMEOUT, || (!lives(pid)).then_some(()));
    assert!(ended.is_some(), "process {pid} does not end");
}

/// Waits until a handler runs that does not come back; its process.
fn stuck(server: &Server<'_>, client: &mut Client, how: &str) -> Pid {
    client.say(&format!("NOOP {how}"));
    let number = |log: &str| log.rsplit_once("now ")?.1.split_once('\n')?.0.trim().parse().ok();
    Pid::from_raw(server.log().wait_until(number).expect("the handler says who it is"))
}

#[test]
fn a_perl_process_that_is_killed_is_replaced() {
    for model in Model::ALL {
        let (config, model) = trouble(model);
        let server = Server::start(&config, model);
        let mut client = connect(&server);
        let first = perl(&mut client);
        let nursery = parent_of(first).unwrap();
        let open = || open_files(nursery).map(|open| open.len());
        let before = open();
        kill(first, Signal::SIGKILL).unwrap();
        match before {
            Some(_) => poll(TIMEOUT, || (open() < before).then_some(())).expect("it is missed"),
            // Whether it is missed already cannot be seen; the next call is made then.
            None => {
                wait_for_end(first);
                client.say("NOOP word");
                client.reply();
            }
        }
        // Nothing was under way, so nobody needs to know.
        let second = perl(&mut client);
        assert_ne!(first, second);
        asks(&mut client, &[("NOOP end", FAILED)]);
        wait_for_end(second);
        let third = stuck(&server, &mut client, "sleep");
        kill(third, Signal::SIGKILL).unwrap();
        assert_eq!(client.reply().lines, [FAILED]);
        client.quit();
        server.stop().unwrap();
    }
}

#[test]
fn handlers_that_take_too_long_are_ended() {
    for how in ["sleep", "stubborn", "regex"] {
        let (config, model) = trouble(Model::Prefork);
        config.write("perl_timeout", "4");
        let server = Server::start(&config, model);
        let mut client = connect(&server);
        let pid = stuck(&server, &mut client, how);
        assert_eq!(client.reply().lines, [FAILED], "{how}");
        server.log().wait_for("trouble: FATAL PLUGIN ERROR: the Perl plugin took too long");
        wait_for_end(pid);
        // The next process has no more time, which may be too little on a busy machine.
        let next = poll(TIMEOUT, || ask(&mut client, "NOOP pid")[4..].parse().ok());
        assert_ne!(next.map(Pid::from_raw).expect("there is another"), pid);
        client.quit();
        server.stop().unwrap();
    }
}

/// The universal argument `timeout` is for Perl plugins, too, be it less or more than they have
/// without.
#[test]
fn a_plugin_may_have_a_time_limit_of_its_own() {
    let text = [PROBE, TROUBLE].concat();
    let config = config(&format!("trouble timeout 1\nrcpt_ok\n{QUEUE}"), &[("trouble", &text)]);
    let server = Server::start(&config, Model::Prefork);
    let mut client = connect(&server);
    let pid = stuck(&server, &mut client, "sleep");
    assert_eq!(client.reply().lines, [FAILED]);
    server.log().wait_for("trouble: FATAL PLUGIN ERROR: the Perl plugin took too long");
    wait_for_end(pid);
    client.quit();
    server.stop().unwrap();
}

#[test]
fn the_time_limit_has_to_be_seconds() {
    let (config, model) = trouble(Model::Prefork);
    config.write("perl_timeout", "soon");
    let said = Server::try_start(&config, model, &[]).err().expect("that is no limit");
    assert!(said.contains("perl_timeout is 'soon'"), "{said}");
}

/// Sessions that run go on, and those that come get another.
#[test]
fn the_process_that_loads_plugins_comes_back() {
    for model in Model::PARENTS {
        let (config, model) = trouble(model);
        let server = Server::start(&config, model);
        let mut client = connect(&server);
        let child = perl(&mut client);
        let nursery = parent_of(child).unwrap();
        kill(nursery, Signal::SIGKILL).unwrap();
        wait_for_end(nursery);
        assert_eq!(perl(&mut client), child);
        let mut again = poll(TIMEOUT, || {
            let mut client = connect(&server);
            (ask(&mut client, "NOOP word") == "250 old").then_some(client)
        });
        let again = again.take().expect("there is another");
        server.log().wait_for("the Perl process had died and was started again");
        again.quit();
        client.quit();
        server.stop().unwrap();
    }
}

/// Nobody asks any more, so there is nobody to answer to, be the handler willing to end or not.
#[test]
fn a_perl_process_ends_with_its_worker() {
    for model in Model::PARENTS {
        let (config, model) = trouble(model);
        let mut server = Server::start(&config, model);
        let mut client = connect(&server);
        let pid = stuck(&server, &mut client, "stubborn");
        let workers = server.parent().children();
        let nursery = parent_of(pid).unwrap();
        for worker in workers.into_iter().filter(|worker| *worker != nursery) {
            kill(worker, Signal::SIGKILL).ok();
        }
        wait_for_end(pid);
        assert!(lives(nursery));
        drop(client);
        server.stop().unwrap();
    }
}

#[test]
fn nothing_outlives_a_parent_that_is_killed() {
    for model in Model::PARENTS {
        let (config, model) = trouble(model);
        config.write("perl_timeout", "4");
        let mut server = Server::start(&config, model);
        let mut busy = connect(&server);
        let pid = stuck(&server, &mut busy, "stubborn");
        let nursery = parent_of(pid).unwrap();
        server.parent().signal(Signal::SIGKILL);
        server.parent().wait().unwrap();
        drop(busy);
        wait_for_end(pid);
        wait_for_end(nursery);
        config.nothing_left().unwrap();
    }
}

#[test]
fn term_ends_all_and_hup_loads_what_has_changed() {
    for model in Model::PARENTS {
        let (config, model) = trouble(model);
        let mut server = Server::start(&config, model);
        let mut old = connect(&server);
        asks(&mut old, &[("NOOP word", "250 old")]);
        let text = [PROBE, TROUBLE].concat().replace("'old'", "'new'");
        plugin(&config, "trouble", &text);
        server.parent().signal(Signal::SIGHUP);
        let mut new = poll(TIMEOUT, || {
            let mut client = connect(&server);
            (ask(&mut client, "NOOP word") == "250 new").then_some(client)
        })
        .expect("new sessions have the new plugin");
        asks(&mut old, &[("NOOP word", "250 old")]);
        let nurseries = [&mut old, &mut new].map(|client| parent_of(perl(client)).unwrap());
        assert_ne!(nurseries[0], nurseries[1]);
        old.quit();
        wait_for_end(nurseries[0]);
        new.quit();
        server.stop().unwrap();
    }
}

/// A plugin that is broken when HUP comes leaves the ones that run as they are.
#[test]
fn hup_with_a_broken_plugin_changes_nothing() {
    let (config, model) = trouble(Model::Prefork);
    let mut server = Server::start(&config, model);
    plugin(&config, "trouble", "sub hook_rcpt { my $x = ; }");
    server.parent().signal(Signal::SIGHUP);
    server.log().wait_for("syntax error");
    let mut client = connect(&server);
    asks(&mut client, &[("NOOP word", "250 old")]);
    client.quit();
    server.stop().unwrap();
}

/// Perl takes workers on a socket without a name, so nobody else can keep it busy.
#[test]
fn nobody_else_reaches_the_perl_processes() {
    for model in Model::PARENTS {
        let (config, model) = trouble(model);
        let mut server = Server::start(&config, model);
        let mut client = connect(&server);
        let first = perl(&mut client);
        let nursery = parent_of(first).unwrap();
        let named = fs::read_to_string("/proc/net/unix").unwrap();
        let is_named = |inode: &str| {
            named
                .lines()
                .map(|line| line.split_whitespace().collect::<Vec<_>>())
                .any(|words| words.get(6) == Some(&inode) && words.len() > 7)
        };
        for pid in [server.parent().pid(), nursery, first] {
            for target in open_files(pid).unwrap_or_default() {
                let inode = target.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']'));
                assert!(!inode.is_some_and(is_named), "{model}: {pid} has {target}");
            }
        }
        client.quit();
        server.stop().unwrap();
    }
}

/// The Perl process of a worker has its own descriptors only, and nothing of root.
#[test]
fn perl_processes_have_no_more_than_they_need() {
    for model in Model::ALL {
        let (config, model) = trouble(model);
        let server = Server::start(&config, model);
        let mut clients: Vec<_> = (0..3).map(|_| connect(&server)).collect();
        for client in &mut clients {
            let pid = perl(client);
            if let Some(open) = open_files(pid) {
                let kinds = open.iter().map(|target| target.split(':').next().unwrap());
                let mut kinds: Vec<_> = kinds.collect();
                kinds.sort_unstable();
                // Standard output and error, and what the worker is told without being woken.
                let own = ["/dev/null", "pipe", "pipe", "pipe", "socket"];
                assert_eq!(kinds, own, "{model}");
            }
            let Some(user) = unprivileged().filter(|_| model != Model::Inetd) else { continue };
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
            let field = |name: &str| {
                let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
                line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
            };
            assert_eq!(field("Uid:"), vec![user.uid.to_string(); 4]);
            assert_eq!(field("Gid:"), vec![user.gid.to_string(); 4]);
            assert!(!field("Groups:").contains(&"0".to_owned()), "{status}");
        }
        clients.into_iter().for_each(Client::quit);
        server.stop().unwrap();
    }
}

/// What a process has open; only root may see it.
fn open_files(pid: Pid) -> Option<Vec<String>> {
    unprivileged()?;
    let open = fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
    let targets = open.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    Some(targets.map(|target| target.display().to_string()).collect())
}
