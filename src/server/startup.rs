//! From the command line to a parent that serves, in the order of a start: the sockets, as root
//! where there is root; the account; configuration and plugins; ready.

use std::ffi::OsStr;
use std::path::Path;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use clap::Parser;
use nix::sys::stat::{Mode, umask};
use nix::unistd::getpid;

use crate::cli;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::hook::Shared;
use crate::log::Level;
use crate::plugin::{self, Plugin};
use crate::server::account::{self, Account};
use crate::server::console::warn;
use crate::server::forkserver::Forkserver;
use crate::server::listener::Listener;
use crate::server::manager::Manager;
use crate::server::parent::{Dispatch, Parent, Resources, store};
use crate::server::pid_file::PidFile;
use crate::server::prefork::Prefork;
use crate::server::privileges;
use crate::server::scoreboard::Scoreboard;
use crate::server::signals::Signals;
use crate::server::status::Status;
use crate::server::worker::WorkerSettings;
use crate::server::{
    bind, check, daemonize, environment, handoff, inetd, job, list_hooks, migrate, oneshot,
    rehearsal,
};
use crate::settings::{Permissions, SPOOL_DIR, SPOOL_PERMS};
use crate::smtp;
use crate::state::Spool;
use crate::sys::{confine, descriptors, panics, process, resolve, title};

/// Files that we make are nobody else's to change.
const OTHERS_WRITE: Mode = Mode::S_IWGRP.union(Mode::S_IWOTH);

/// What a parent is started with.
struct Setup {
    program: &'static str,
    daemon: cli::Daemon,
    addresses: Vec<String>,
    ports: Vec<u16>,
    max_from_ip: usize,
    /// By how much to raise the parent's priority.
    renice: i32,
    debug: bool,
}

/// The program `qpsmtpd`, with the plugins that a site has besides.  Under the name of one of the
/// daemons, as by a link, it is that daemon: so one program is enough to install all three.
pub fn qpsmtpd(site: &'static [Plugin]) -> ExitCode {
    let name = std::env::args_os().next().unwrap_or_default();
    match Path::new(&name).file_name().and_then(OsStr::to_str) {
        Some("qpsmtpd-forkserver") => forkserver(site),
        Some("qpsmtpd-prefork") => prefork(site),
        _ => session(site),
    }
}

/// One session on standard input and output.
fn session(site: &'static [Plugin]) -> ExitCode {
    let options = cli::Inetd::parse();
    let (common, user) = (&options.common, options.user.as_deref());
    if let Some(answered) = answer("qpsmtpd", site, common, user) {
        return answered;
    }
    inetd::protect_client();
    finish("qpsmtpd", run_inetd(&options))
}

/// The program `qpsmtpd-forkserver`, with the plugins that a site has besides.
pub fn forkserver(site: &'static [Plugin]) -> ExitCode {
    let options = cli::Forkserver::parse();
    let program = "qpsmtpd-forkserver";
    let (common, user) = (&options.daemon.common, options.daemon.user.as_deref());
    if let Some(answered) = answer(program, site, common, user) {
        return answered;
    }
    let setup = Setup {
        program,
        daemon: options.daemon,
        addresses: options.listen_address,
        ports: or_default(options.port, 2525),
        max_from_ip: options.max_from_ip,
        renice: 0,
        debug: false,
    };
    let limit = options.limit_connections.max(1);
    finish(setup.program, run_parent(&setup, &mut Forkserver { limit }))
}

/// The program `qpsmtpd-prefork`, with the plugins that a site has besides.
pub fn prefork(site: &'static [Plugin]) -> ExitCode {
    let options = cli::Prefork::parse();
    let program = "qpsmtpd-prefork";
    let (common, user) = (&options.daemon.common, options.daemon.user.as_deref());
    if let Some(answered) = answer(program, site, common, user) {
        return answered;
    }
    let setup = Setup {
        program,
        daemon: options.daemon,
        addresses: options.listen_address,
        ports: or_default(options.port, 25),
        max_from_ip: options.max_from_ip,
        renice: options.renice_parent,
        debug: options.debug,
    };
    let most = options.children.max(1);
    let mut pool = Prefork::new(most, options.idle_children, options.child_lifetime);
    finish(setup.program, run_parent(&setup, &mut pool))
}

fn or_default(ports: Vec<u16>, default: u16) -> Vec<u16> {
    if ports.is_empty() { vec![default] } else { ports }
}

/// Answers what takes no session; the plugins of the site are known from here on.
fn answer(
    program: &str,
    site: &'static [Plugin],
    common: &cli::Common,
    user: Option<&str>,
) -> Option<ExitCode> {
    common.refuse_words().unwrap_or_else(|error| error.exit());
    if let Err(error) = plugin::add(site) {
        return Some(finish(program, Err(error)));
    }
    if let Some(folder) = &common.migrate_check {
        prepare_process("qpsmtpd", false);
        return Some(migrate::run(folder, user));
    }
    answer_or_fail(common, user).map(|answered| finish(program, answered))
}

fn answer_or_fail(common: &cli::Common, user: Option<&str>) -> Option<Result<()>> {
    if common.rehearsal.is_wanted {
        if !common.overdue.is_empty() {
            rehearsal::tell_overdue(&common.overdue);
        }
        return Some(look(user, |config| rehearsal::run(config, &common.rehearsal)));
    }
    if !common.overdue.is_empty() {
        return Some(log_overdue(&common.overdue));
    }
    if let Some(word) = &common.dmarc_reports {
        return Some(run_job("dmarc-reports", word, user));
    }
    if let Some(form) = &common.list_hooks {
        return Some(look(user, |config| list_hooks::show(config, form == "json")));
    }
    oneshot::answer(common, user)
}

/// Takes the place of a process without a parent of which a handler was overdue.
fn log_overdue(told: &[String]) -> Result<()> {
    prepare_process("qpsmtpd", false);
    let config = Config::from_env();
    config.reachable()?;
    become_account_before_load(&config, None)?;
    inetd::log_overdue(&load(&config, None)?, told)
}

/// Looks at the configuration as the user that sessions run as, and changes nothing.
fn look(user: Option<&str>, look: impl FnOnce(&Config) -> Result<()>) -> Result<()> {
    prepare_process("qpsmtpd", false);
    let config = Config::from_env();
    config.reachable()?;
    check::become_account(&config, account::for_sessions(user)?.as_ref())?;
    look(&config)
}

/// Has a plugin do something without a client, as the user that sessions run as.
fn run_job(name: &str, word: &str, user: Option<&str>) -> Result<()> {
    prepare_process("qpsmtpd", false);
    let config = Config::from_env();
    config.reachable()?;
    become_account_before_load(&config, account::for_sessions(user)?.as_ref())?;
    job::run(&load(&config, None)?, name, word)
}

/// The start-up steps of a parent, in their order: what needs root comes first.
fn run_parent(setup: &Setup, dispatch: &mut dyn Dispatch) -> Result<()> {
    prepare_process(setup.program, true);
    let config = Config::from_env();
    config.reachable()?;
    if setup.daemon.common.check {
        let account = account::for_sessions(setup.daemon.user.as_deref())?;
        let wrong = bind::faults(&setup.addresses, &setup.ports);
        return check::run(&config, account.as_ref(), wrong);
    }
    let most = dispatch.most();
    let no_memory = |error| format!("no memory for {most} sessions at a time: {error}");
    let board = Scoreboard::new(most).map_err(|error| Error::new(no_memory(error)))?;
    let background = setup.daemon.detach.then(daemonize::begin).transpose()?;

    let account = account::for_sessions(setup.daemon.user.as_deref())?;
    let account = account.as_ref();
    let listeners = bind::bind_all(&setup.addresses, &setup.ports, account)?;
    let pid_file = setup.daemon.pid_file.as_deref();
    let pid_file = pid_file.map(|path| PidFile::create(path, account)).transpose()?;
    let renice = process::raise_priority(setup.renice);
    let manager = Manager::from_env();
    become_account_before_load(&config, account)?;

    let shared = load(&config, setup.debug.then_some(Level::Debug))?;
    shared.spool.sweep_dead();
    let signals = Signals::install().map_err(|error| Error::new(format!("signals: {error}")))?;
    announce(setup, &listeners, &shared);
    let no_socket = |error| Error::new(format!("no socket for reports: {error}"));
    let (reports, own) = handoff::pair().map_err(no_socket)?;
    let status = Status::new(&shared.config)?;
    let resources = Resources { listeners, reports, signals, pid_file, manager, status };
    let rdns = !setup.daemon.no_rdns;
    let settings = WorkerSettings { parent: getpid(), reports: own, rdns, renice };
    let grace = Duration::from_secs(setup.daemon.grace);
    let mut parent = Parent::new(shared, resources, board, settings, setup.max_from_ip, grace)
        .map_err(|error| Error::new(format!("cannot wait for events: {error}")))?;

    parent.check_store();
    if let Some(background) = background {
        background.ready();
    }
    parent.is_ready();
    parent.check_lists();
    parent.run(dispatch)
}

fn run_inetd(options: &cli::Inetd) -> Result<()> {
    prepare_process("qpsmtpd", false);
    let config = Config::from_env();
    config.reachable()?;
    if options.common.check {
        // Who starts the session is not known here; root's rights are for no plugin of the site.
        let account = account::for_sessions(options.user.as_deref())?;
        return check::run(&config, account.as_ref(), vec![]);
    }
    let account = match options.user.as_deref() {
        Some(user) => account::for_sessions(Some(user))?,
        None => None,
    };
    become_account_before_load(&config, account.as_ref())?;
    let shared = load(&config, None)?;
    inetd::run(&shared)
}

/// Takes nothing from the starter that was not meant for us.
fn prepare_process(program: &'static str, from_systemd: bool) {
    descriptors::close_others(from_systemd);
    process::usual_signals();
    let usual = umask(OTHERS_WRITE);
    umask(usual | OTHERS_WRITE);
    panics::install();
    title::init(program);
    resolve::limit_waiting();
}

/// Root prepares what the account will need, then becomes it.  Whoever starts us, sessions get only
/// what they need of the starter's environment and rights.
fn become_account_before_load(config: &Config, account: Option<&Account>) -> Result<()> {
    match account {
        Some(account) => {
            privileges::prepare_before_drop(config, account)?;
            privileges::drop_to(account)?;
        }
        None => config.set_home(account::own_home()),
    }
    environment::clean(config, account::own_name().as_deref(), &config.home());
    confine::keep_memory_private()
        .map_err(|error| Error::new(format!("cannot turn off core dumps: {error}")))
}

/// Opens the spool folder and loads the plugins.
fn load(config: &Config, stderr_level: Option<Level>) -> Result<Shared> {
    config.reachable()?;
    if let Some(error) = config.check_settings().into_iter().next() {
        return Err(error);
    }
    let Permissions(mode) = config.setting(SPOOL_PERMS);
    let (spool, warning) = Spool::open(&config.expand(&config.setting(SPOOL_DIR)), mode)?;
    smtp::preload(config);
    let plugins = plugin::load(config)?;
    if let Some(level) = stderr_level {
        plugins.set_stderr_level(level);
    }
    for warning in smtp::warnings(config, &plugins) {
        plugins.log(Level::Warn, warning);
    }
    if let Some(warning) = warning {
        plugins.log(Level::Warn, warning);
    }
    let store = store::for_plugins(config, &plugins, None)?;
    Ok(Shared { plugins, config: config.clone(), spool: Rc::new(spool), store })
}

/// Says where clients are waited for, and who serves them.
fn announce(setup: &Setup, listeners: &[Listener], shared: &Shared) {
    let addresses: Vec<String> = listeners.iter().map(ToString::to_string).collect();
    let folder = shared.config.folder();
    let folder = folder.display();
    let (program, who) = (setup.program, account::whoami());
    let plugins = &shared.plugins;
    // What the log says there is not said twice.
    if !setup.daemon.quiet && !plugins.tells_stderr(Level::Notice) {
        warn(format_args!("{program}: the configuration is in {folder}"));
        for address in &addresses {
            warn(format_args!("{program}: listening on {address}"));
        }
    }
    let version = env!("CARGO_PKG_VERSION");
    let text = format!("{program} {version} as {who}, configuration in {folder}");
    plugins.log(Level::Notice, text);
    for address in addresses {
        plugins.log(Level::Notice, format_args!("listening on {address}"));
    }
}

fn finish(program: &str, result: Result<()>) -> ExitCode {
    let Err(error) = result else { return ExitCode::SUCCESS };
    warn(format_args!("{program}: {}", account::told(&error)));
    ExitCode::FAILURE
}
