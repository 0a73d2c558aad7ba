//! The options of the three programs, nothing else.

use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{Args, Parser};

/// Where the configuration is, below the options of all programs.
const CONFIGURATION: &str = "\
Files of the configuration are looked for in the folder that the environment variable \
QPSMTPD_CONFIG names or, if it is not set, in config/ in the working directory, then in config/ beside \
the program, and in $QMAIL/control/ (QMAIL is /var/qmail by default).";

/// How wide text for people is, in columns, where the terminal is wider or there is none.
pub(crate) const WIDEST: usize = 100;

/// Serves one SMTP session on standard input and output: under tcpserver, inetd, xinetd, or
/// systemd with Accept=yes.  The client's address is taken from TCPREMOTEIP and the other variables
/// that tcpserver sets, else from the socket.
#[derive(Debug, Parser)]
#[command(name = "qpsmtpd", version, after_help = CONFIGURATION, max_term_width = WIDEST)]
pub struct Inetd {
    /// Run the session as this user [default: the user who starts the program]
    #[arg(short, long, value_name = "USER")]
    pub user: Option<String>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub common: Common,
}

/// An SMTP daemon that makes a new process for every connection.
#[derive(Debug, Parser)]
#[command(name = "qpsmtpd-forkserver", version, after_help = CONFIGURATION, max_term_width = WIDEST)]
pub struct Forkserver {
    /// Listen on this address, at its own port or those of --port, or at this path, where clients
    /// speak LMTP; repeatable [default: all]
    #[arg(short, long, value_name = "ADDRESS[:PORT]|/PATH")]
    pub listen_address: Vec<String>,
    /// Listen on this port; 0 takes a free one; repeatable [default: 2525]
    #[arg(short, long, value_name = "PORT")]
    pub port: Vec<u16>,
    /// Serve at most this many connections at a time
    #[arg(short = 'c', long, value_name = "N", default_value_t = 15)]
    pub limit_connections: usize,
    /// Serve at most this many connections from one address (IPv6: from one /64); 0: any number
    #[arg(short = 'm', long, value_name = "N", default_value_t = 5)]
    pub max_from_ip: usize,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub daemon: Daemon,
}

/// An SMTP daemon that keeps a pool of processes waiting for connections.
#[derive(Debug, Parser)]
#[command(name = "qpsmtpd-prefork", version, after_help = CONFIGURATION, max_term_width = WIDEST)]
pub struct Prefork {
    /// Listen on this address, at its own port or those of --port, or at this path, where clients
    /// speak LMTP; repeatable [default: all]
    #[arg(short, long, visible_alias = "interface", value_name = "ADDRESS[:PORT]|/PATH")]
    pub listen_address: Vec<String>,
    /// Listen on this port; 0 takes a free one; repeatable [default: 25]
    #[arg(short, long, value_name = "PORT")]
    pub port: Vec<u16>,
    /// Run at most this many processes; each serves one connection at a time
    #[arg(short = 'c', long, value_name = "N", default_value_t = 15)]
    pub children: usize,
    /// Keep this many processes waiting
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub idle_children: usize,
    /// Replace a process after this many connections
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub child_lifetime: u64,
    /// Serve at most this many connections from one address (IPv6: from one /64); 0: any number
    #[arg(short = 'm', long, value_name = "N", default_value_t = 10)]
    pub max_from_ip: usize,
    /// Raise the parent's priority by this much, if that is allowed
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub renice_parent: i32,
    /// Accepted for old command lines: process titles are always shown
    #[arg(long, hide = true)]
    pub pretty_child: bool,
    /// Log everything to standard error if no logging plugin is configured
    #[arg(long)]
    pub debug: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub daemon: Daemon,
}

/// What both parents have.
#[derive(Debug, Clone, Args)]
pub struct Daemon {
    /// Run sessions as this user [default: smtpd, qpsmtpd or nobody when started by root]
    #[arg(short, long, value_name = "USER")]
    pub user: Option<String>,
    /// Write the process id to this file, and refuse to start while another process holds it
    #[arg(long, value_name = "FILE")]
    pub pid_file: Option<PathBuf>,
    /// Go to the background once everything is ready
    #[arg(short, long)]
    pub detach: bool,
    /// Do not look up the names of clients
    #[arg(short = 'H', long)]
    pub no_rdns: bool,
    /// When stopping, give sessions this many seconds to finish
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    pub grace: u64,
    /// Do not say on which addresses the daemon listens
    #[arg(long)]
    pub quiet: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub common: Common,
}

/// The options that do something else than serve clients: one of them at a time.
const TASK: &str = "task";

/// What all programs have.
#[derive(Debug, Clone, Args)]
pub struct Common {
    /// Show the manual of a plugin, or the list of plugins, and exit
    #[arg(group = TASK, long, value_name = "PLUGIN", num_args = 0..=1, default_missing_value = "")]
    pub help_plugin: Option<String>,
    /// Make a self-signed certificate in this folder, to try out TLS, and exit
    #[arg(group = TASK, long, value_name = "FOLDER")]
    pub make_certificate: Option<PathBuf>,
    /// Write the manual pages and the completions for shells in this folder, and exit
    #[arg(group = TASK, long, value_name = "FOLDER", hide = true)]
    pub make_manuals: Option<PathBuf>,
    /// Make a key for signing mail, rsa or ed25519 [default: rsa], in dkim/DOMAIN of the
    /// configuration, print its DNS record, and exit
    #[arg(group = TASK, long, num_args = 2..=3, value_names = ["DOMAIN", "SELECTOR", "KIND"])]
    pub make_dkim_key: Vec<String>,
    /// Show or change what plugins remember, and exit; ACTION is list, show, explain, clear, import,
    /// tend, or one that the plugin adds
    #[arg(group = TASK, long, num_args = 1..=3, value_names = ["ACTION", "PLUGIN", "KEY"])]
    pub store: Vec<String>,
    /// Send the DMARC reports that are due, or all reports of past days, or only show these, and exit
    /// [default: send]
    #[arg(group = TASK, long, value_name = "send|all|show", num_args = 0..=1, default_missing_value = "send")]
    pub dmarc_reports: Option<String>,
    /// Report on the mail in the logs that are given as FILE, or on standard input if there is none,
    /// and exit; the logs are written with 'format json'
    #[arg(group = TASK, long)]
    pub report: bool,
    /// With --report: a log; files that end in `.gz` are read, too
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// With --report: write an HTML page
    #[arg(long, requires = "report")]
    pub html: bool,
    /// With --report: count only what happened in this time, such as 2026-11-28 or 2026-11-28T14
    #[arg(long, value_name = "TIME", requires = "report")]
    pub time: Option<String>,
    /// With --report: the most rows that a list has
    #[arg(long, value_name = "N", requires = "report", default_value_t = 10)]
    pub top: usize,
    /// Show who is connected to the running daemon, what was counted and what happened last, and exit
    #[arg(group = TASK, long)]
    pub status: bool,
    /// With --status: repeat every two seconds
    #[arg(long, requires = "status")]
    pub watch: bool,
    /// Check the configuration and exit
    #[arg(group = TASK, long)]
    pub check: bool,
    /// Check a site of Perl qpsmtpd, given its folder or that of its configuration: show line by line what
    /// is native, what runs as Perl and what is different, then what there is to do, and exit: with 0 if
    /// there is nothing to do, with 2 if the folder is no site
    #[arg(group = TASK, long, value_name = "FOLDER")]
    pub migrate_check: Option<PathBuf>,
    /// Show every setting of the core as it is in effect, with file and line, and exit
    #[arg(group = TASK, long)]
    pub show_config: bool,
    /// Show for every hook which plugins are asked, in order, and exit [default: text]
    #[arg(group = TASK, long, value_name = "text|json", num_args = 0..=1, require_equals = true,
        default_missing_value = "text", value_parser = ["text", "json"])]
    pub list_hooks: Option<String>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub rehearsal: Rehearsal,
    /// With --show-config: show only what a file sets
    #[arg(short = 'n', requires = "show_config")]
    pub only_set: bool,
    /// A handler was overdue, and this program takes the place of the process: writes that to the
    /// log and removes what is left of the session
    #[arg(group = TASK, long, hide = true, num_args = 3, value_names = ["SESSION", "HOOK", "PLUGIN"])]
    pub overdue: Vec<String>,
}

impl Common {
    /// A word that is no option has a meaning only for --report.
    ///
    /// # Errors
    /// There is another one.
    pub(crate) fn refuse_words(&self) -> Result<(), clap::Error> {
        match self.files.first().filter(|_| !self.report) {
            Some(word) => {
                let text = format!("unexpected argument '{}' found\n", word.display());
                Err(clap::Error::raw(ErrorKind::UnknownArgument, text))
            }
            None => Ok(()),
        }
    }
}

/// A session that is only played.
#[derive(Debug, Clone, Args)]
pub struct Rehearsal {
    /// Play a session with the commands on standard input, show what each plugin answers, queue
    /// nothing, and exit
    #[arg(group = TASK, long = "try")]
    pub is_wanted: bool,
    /// With --try: the client's address [default: 192.0.2.1]
    #[arg(long, value_name = "ADDRESS", requires = "is_wanted")]
    pub client: Option<std::net::IpAddr>,
    /// With --try: the client's name [default: looked up in the DNS]
    #[arg(long, value_name = "NAME", requires = "is_wanted")]
    pub client_name: Option<String>,
    /// With --try: pretend that the client already has TLS; STARTTLS really begins it
    #[arg(long, requires = "is_wanted")]
    pub client_tls: bool,
    /// With --try: the port that the client has connected to
    #[arg(long, value_name = "PORT", requires = "is_wanted", default_value_t = 25)]
    pub to_port: u16,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_options_are_consistent() {
        Inetd::command().debug_assert();
        Forkserver::command().debug_assert();
        Prefork::command().debug_assert();
    }

    #[test]
    fn one_task_at_a_time() {
        for line in ["--check --show-config", "--try --list-hooks", "--status --report"] {
            let line = format!("qpsmtpd {line}");
            assert!(Inetd::try_parse_from(line.split(' ')).is_err(), "{line}");
        }
    }

    #[test]
    fn logs_stand_anywhere() {
        for line in [
            "--report a b --html --top 3",
            "--report --html a --top 3 b",
            "--html --top 3 a --report b",
            "a b --html --report --top=3",
            "--report --html --top 3 -- a b",
        ] {
            let line = format!("qpsmtpd {line}");
            let common = Inetd::try_parse_from(line.split(' ')).unwrap().common;
            assert_eq!(common.files, [PathBuf::from("a"), PathBuf::from("b")], "{line}");
            assert!(common.report && common.html && common.top == 3, "{line}");
            assert!(common.refuse_words().is_ok());
        }
        let common = Inetd::try_parse_from(["qpsmtpd", "start"]).unwrap().common;
        let error = common.refuse_words().unwrap_err().to_string();
        assert!(error.contains("unexpected argument 'start' found"), "{error}");
    }

    #[test]
    fn old_command_lines_work() {
        let line = "qpsmtpd-forkserver -l 127.0.0.1 -p 25 -p 587 -c 50 -m 0 -u smtpd -H -d";
        let options = Forkserver::try_parse_from(line.split(' ')).unwrap();
        assert_eq!(options.port, [25, 587]);
        assert!(options.daemon.no_rdns && options.daemon.detach);
        let line = "qpsmtpd-prefork --interface 127.0.0.1 --port 25 --children 9 --pretty-child";
        let options = Prefork::try_parse_from(line.split(' ')).unwrap();
        assert_eq!((options.children, options.idle_children, options.max_from_ip), (9, 5, 10));
    }
}
