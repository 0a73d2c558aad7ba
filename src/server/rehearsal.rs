//! `--try`: a session on the terminal, against the configuration as it is, which queues nothing.
//!
//! The process plays both ends of a pair of sockets: when the session begins to wait for its client,
//! [`Terminal`] shows the replies and gives it the next line.

mod terminal;
mod wire;

use std::env;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use nix::sys::wait::{WaitStatus, waitpid};

use crate::cli;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::hook::{Code, Decision, Hook, Incoming, Rehearsal, Session, Shared, verdict_of};
use crate::plugin;
use crate::server::check::all_but_last;
use crate::server::console::{say, warn};
use crate::settings::TLS_PORTS;
use crate::smtp::refusals::refusal;
use crate::smtp::service::is_proxy;
use crate::smtp::syntax::reply::Form;
use crate::smtp::{self, Stream, serve};
use crate::state::{Connection, Encryption, Note, Spool};
use crate::store::Store;
use crate::sys::fork::{Forked, exit, fork};
use crate::sys::{deadline, process};

use terminal::{First, Terminal, shown};

/// Who the client is unless the command line says so: a stranger, of a network for documentation.
const STRANGER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// What is said of `--client-tls`.
const PRETENDED: &str = "   TLS is only pretended: there was no handshake.\n";

/// Plays a session.  The messages that do not fit into memory, and what plugins make in the spool, are in
/// a folder that is removed at the end.
///
/// # Errors
/// A start would fail.
pub(super) fn run(config: &Config, wanted: &cli::Rehearsal) -> Result<()> {
    let spool = spool_of(std::process::id());
    let no_folder = |error| Error::new(format!("cannot make {}: {error}", spool.display()));
    std::os::unix::fs::DirBuilderExt::mode(&mut fs::DirBuilder::new(), 0o700)
        .create(&spool)
        .map_err(no_folder)?;
    let status = match fork() {
        Ok(Forked::Child) => {
            let status = match play(config, wanted, &spool) {
                Ok(()) => 0,
                Err(error) => {
                    warn(format_args!("qpsmtpd: {error}"));
                    1
                }
            };
            exit(status)
        }
        Ok(Forked::Parent(child)) => {
            // Whoever interrupts the session has its folder removed as well.
            process::ignore_group_signals();
            waitpid(child, None)
        }
        Err(errno) => Err(errno),
    };
    let _ = fs::remove_dir_all(&spool);
    match status {
        Ok(WaitStatus::Exited(_, 0)) => Ok(()),
        // The child has said why.
        Ok(WaitStatus::Exited(_, status)) => std::process::exit(status),
        Ok(_) => {
            // What was typed is on the line.
            say("\n");
            Err(Error::new("the session was interrupted"))
        }
        Err(errno) => Err(Error::new(format!("cannot make a process for the session: {errno}"))),
    }
}

/// Takes the place of the process of a session of which a handler was overdue.
pub(super) fn tell_overdue(told: &[String]) -> ! {
    if let [_, hook, plugin] = told {
        warn(format_args!("   {hook}: {plugin} {}", deadline::PASSED));
    }
    std::process::exit(deadline::EXIT_OVERDUE)
}

fn spool_of(pid: u32) -> PathBuf {
    env::temp_dir().join(format!("qpsmtpd-try-{pid}"))
}

fn play(config: &Config, wanted: &cli::Rehearsal, spool: &Path) -> Result<()> {
    let connection = connection(wanted);
    let no_socket = |error| Error::new(format!("cannot make sockets: {error}"));
    let (client, server) = UnixStream::pair().map_err(no_socket)?;
    let terminal =
        Rc::new(Terminal::new(client, &server, first(config, &connection)).map_err(no_socket)?);
    let shared = shared(config, spool, terminal.clone())?;
    say(&format!(
        "   The configuration is in {}.  The client is {}{}.  Nothing is queued.\n   The store is \
         empty, and thrown away at the end: no client is known from before.\n{}",
        config.folder().display(),
        connection.remote_ip,
        connection.known_remote_host().map(|name| format!(" ({name})")).unwrap_or_default(),
        if wanted.client_tls { PRETENDED } else { "" },
    ));
    if is_refused_before(&shared, &connection) {
        return Ok(());
    }
    deadline::install_alone(&["/proc/self/exe", "--try", "--overdue"]);
    shared.plugins.post_fork(config);
    let client = terminal.clone();
    let stream = Stream::new(server.into()).patient().on_close(move || client.is_left());
    serve(stream, connection, &shared);
    terminal.end();
    Ok(())
}

/// The configuration as a start would have it, but for the log, the spool and the store.
fn shared(config: &Config, spool: &Path, terminal: Rc<Terminal>) -> Result<Shared> {
    let (mut plugins, errors) = plugin::check(config);
    all_but_last(errors)?;
    smtp::warnings(config, &plugins).iter().for_each(warn);
    plugins.rehearse(Rehearsal {
        said: Box::new(tell),
        queue: Box::new(show_message),
        waits: Box::new(move |_| terminal.turn()),
    });
    let (spool, _) = Spool::open(spool, 0o700)?;
    smtp::preload(config);
    let store = Rc::new(Store::volatile(config)?);
    Ok(Shared { plugins: Rc::new(plugins), config: config.clone(), spool: Rc::new(spool), store })
}

fn connection(wanted: &cli::Rehearsal) -> Connection {
    let here: IpAddr = match wanted.client.unwrap_or(STRANGER) {
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
    };
    let remote = (wanted.client.unwrap_or(STRANGER), 54321);
    let connection = Connection::new(remote, (here, wanted.to_port));
    let mut connection = match &wanted.client_name {
        Some(name) => connection.with_remote(Some(name.clone()), None),
        None => connection.with_look_up(),
    };
    if wanted.client_tls {
        connection.notes.set(Note::<bool>::new("tls_enabled"), true);
        connection.encryption = Some(Encryption {
            protocol: "TLSv1.3".to_owned(),
            cipher: "TLS_AES_256_GCM_SHA384".to_owned(),
            server_name: None,
            resumed: false,
        });
    }
    connection
}

/// What the client has to do before the greeting.
fn first(config: &Config, connection: &Connection) -> First {
    let port = connection.local_port;
    let tls = config.setting(TLS_PORTS).contains(port) && connection.encryption.is_none();
    match (is_proxy(connection.remote_ip, port, config), tls) {
        (true, tls) => First::Proxy { tls },
        (false, true) => First::Tls,
        (false, false) => First::Nothing,
    }
}

/// Does the hook `pre-connection` send the client away?
fn is_refused_before(shared: &Shared, connection: &Connection) -> bool {
    let remote = (connection.remote_ip, connection.remote_port);
    let local = (connection.local_ip, connection.local_port);
    let others = [connection.remote_ip];
    let incoming = Incoming::new(remote, local, 0, &others, &shared.config);
    let decision = shared.plugins.pre_connection(&incoming);
    let Some((reply, _)) = refusal(Hook::PreConnection, &decision, "") else { return false };
    let mut text = vec![];
    reply.write(Form::default(), &mut text);
    terminal::show_replies(&text);
    true
}

/// Says what a handler has decided.
fn tell(hook: Hook, plugin: &str, decision: &Decision) {
    let verdict = verdict_of(decision);
    // These are asked all the time, and mostly do not know.
    let is_often = matches!(hook, Hook::Config | Hook::UserConfig | Hook::Deny | Hook::Ok);
    if is_often && decision.is_ok() && matches!(verdict.code(), Code::Declined | Code::Ok) {
        return;
    }
    let (code, text) = match decision {
        Ok(_) => (verdict.code().to_string(), verdict.text().to_owned()),
        Err(failure) => ("failed".to_owned(), failure.to_string()),
    };
    let text = if text.is_empty() { text } else { format!(": {text}") };
    say(&format!("   {}: {plugin} {code}{}\n", hook.name(), shown(&text)));
}

/// A message that would be queued: who would take it, and what it is.
fn show_message(session: &Session) {
    let queues = session.asked_at(Hook::Queue);
    let transaction = &session.transaction;
    let mut text = String::from("   queue: not asked, the message is thrown away\n");
    for (at, queue) in queues.iter().enumerate() {
        let first = if at == 0 { "would be handed to" } else { "or, if that declines, to" };
        let (plugin, arguments) = (&queue.plugin, &queue.arguments);
        let place = queue.place.as_deref().unwrap_or_default();
        text += format!("   {first} {plugin} {arguments}").trim_end();
        text += &format!(" ({place})\n");
    }
    let sender = transaction.sender().map(ToString::to_string).unwrap_or_default();
    text += &format!("   from {sender}\n");
    for recipient in transaction.recipients() {
        text += &format!("   to   {recipient}\n");
    }
    for line in String::from_utf8_lossy(&transaction.header.to_bytes()).lines() {
        text += &format!("   | {}\n", shown(line));
    }
    let length = transaction.message_len();
    text += &format!("   {length} octets in all\n");
    say(&text);
}
