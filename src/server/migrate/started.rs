//! How the site starts qpsmtpd: whether the same command line works here.

use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;

use nix::unistd::{Uid, User};

use crate::config::Config;
use crate::hook::Plugins;
use crate::server::account;
use crate::server::migrate::paper::Paper;
use crate::server::migrate::shell::{self, Script};
use crate::server::migrate::site::{Site, first_line_of, text_of};
use crate::server::migrate::{limits, options};
use crate::server::{bind, environment};

/// How far the text stands from the margin.
const INDENT: usize = 2;

/// What Debian's init script takes its command line from.
const DEBCONF: &str = "debconf-settings";

/// Where that script has the process id written, in a folder that it makes.
const DEBIAN_PID_FILE: &str = "/var/run/qpsmtpd/qpsmtpd.pid";

/// Tells of each script in the site that starts qpsmtpd.
pub(super) fn tell(paper: &mut Paper, site: &Site, config: &Config, plugins: &Plugins) {
    let mut is_told = false;
    for path in scripts(site) {
        let Some(text) = text_of(&path) else { continue };
        let name = site.shown(&path);
        let mut script = Script::read(&text);
        if path.file_name() == Some(OsStr::new(DEBCONF)) {
            script.command = of_debian(&script);
        }
        if script.command.is_empty() {
            continue;
        }
        is_told = true;
        paper.heading(&format!("How it is started: {name}"));
        if name == DEBCONF && script.values.get("INTERFACES").is_some_and(|value| value == "unset")
        {
            let text =
                "debconf was not answered and wrote INTERFACES=unset, which is ignored here.";
            paper.below(INDENT, text);
        }
        command_line(paper, site, &name, &script);
        limits::tell(paper, &name, &script, &text, config, plugins);
        for name in script.exports.iter().filter(|name| !environment::is_usual(name)) {
            paper.below(INDENT, &format!(
                "The script exports {name}, which sessions get only if keep_environment names it."
            ));
        }
    }
    if !is_told {
        paper.heading("How it is started");
        paper.below(INDENT, "There is no script here that starts qpsmtpd.");
    }
}

/// The files that may start a daemon, of the site and of its configuration.  Samples beside the script that
/// is used do not count.
fn scripts(site: &Site) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(&site.top)
        .into_iter()
        .flat_map(|entries| entries.flatten())
        .map(|entry| entry.path())
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            (name == "run" || name.starts_with("run.")) && path.is_file()
        })
        .collect();
    found.sort_unstable();
    if let Some(used) = found.iter().position(|path| path.ends_with("run")) {
        found = vec![found.swap_remove(used)];
    }
    found.push(site.config.join(DEBCONF));
    found
}

/// The command line of Debian's init script.
fn of_debian(script: &Script) -> Vec<String> {
    let value = |name: &str, default: &str| {
        script
            .values
            .get(name)
            .filter(|value| !value.is_empty())
            .map_or(default, |value| value)
            .to_owned()
    };
    let mut words = vec![format!("qpsmtpd-{}", value("SERVER", "forkserver"))];
    let usual = ["--port", &value("PORT", "25"), "--user", &value("RUNAS", "qpsmtpd")];
    words.extend(usual.map(str::to_owned));
    words.extend(["--pid-file", DEBIAN_PID_FILE].map(str::to_owned));
    for address in value("INTERFACES", "").split_whitespace().filter(|word| *word != "unset") {
        words.extend(["--listen-address".to_owned(), address.to_owned()]);
    }
    words.push("--detach".to_owned());
    words.extend(value("EXTRA_ARGS", "").split_whitespace().map(str::to_owned));
    words
}

fn command_line(paper: &mut Paper, site: &Site, name: &str, script: &Script) {
    let words = &script.command;
    let at = words.iter().position(|word| shell::program(word).is_some()).unwrap_or(0);
    let program = shell::program(&words[at]).unwrap_or_default();
    let is_perl = |word: &&String| word.rsplit('/').next() == Some("perl");
    let perl = words[..at].iter().position(|word| is_perl(&word));
    let ours = match program {
        "qpsmtpd-async" => "qpsmtpd-prefork",
        "in.qpsmtpd" => "qpsmtpd",
        same => same,
    };
    let front = &words[..perl.unwrap_or(at)];
    let options = &words[at + 1..];
    let command: Vec<&str> = front
        .iter()
        .map(String::as_str)
        .chain([ours])
        .chain(options.iter().map(String::as_str))
        .collect();

    match options::parse(ours, options) {
        Ok(options) => {
            for address in &options.addresses {
                let faults = bind::faults(std::slice::from_ref(address), &options.ports);
                for fault in faults {
                    paper.demand(INDENT, name, &fault.to_string());
                }
            }
            users(paper, name, script, options.user.as_deref());
        }
        Err(why) => {
            paper.demand(INDENT, name, &why);
        }
    }
    let is_in_place = perl.is_none() && ours == program && !is_of_perl(site, &words[at]);
    match is_in_place || name == DEBCONF {
        true => paper.below(INDENT, "The same command line works with this program:"),
        false => {
            let text = format!("start {ours} instead of the Perl program, as shown above");
            let step = paper.step(&format!("{name}: {text}"));
            paper
                .below(INDENT, &format!("to do {step}: start {ours} instead of the Perl program:"));
        }
    }
    if name == DEBCONF {
        paper.line(&format!("    export QPSMTPD_CONFIG={}", site.config.display()));
        let folder = DEBIAN_PID_FILE.rsplit_once('/').map_or("", |(folder, _)| folder);
        paper.line(&format!("    install -d -o qpsmtpd -g adm -m 2755 {folder}"));
    }
    paper.command(&command);
}

/// Is the program that a script names Perl's?  One beside the script that is not there was.
fn is_of_perl(site: &Site, word: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = match word.contains('/') {
        true => Some(site.top.join(word)),
        false => {
            std::env::split_paths(&path).map(|folder| folder.join(word)).find(|file| file.is_file())
        }
    };
    let Some(first) = found.and_then(|file| first_line_of(&file)) else {
        return word.starts_with('.');
    };
    first.starts_with("#!") && first.contains("perl")
}

/// Whom sessions run as.
fn users(paper: &mut Paper, name: &str, script: &Script, user: Option<&str>) {
    let of_tcpserver = script.command.iter().skip_while(|word| !word.ends_with("tcpserver"));
    let number = of_tcpserver.skip_while(|word| *word != "-u").nth(1);
    let number = number.and_then(|word| word.parse().ok());
    let by_number = number.and_then(|id| User::from_uid(Uid::from_raw(id)).ok().flatten());
    let named = user.map(str::to_owned).or(script.accounts.first().cloned());
    let Some(user) = named.or(by_number.map(|user| user.name)) else { return };
    let is_there = User::from_name(&user).is_ok_and(|found| found.is_some());
    let who = account::own_name().unwrap_or_default();
    if !is_there {
        let text = format!("this machine has no user {user}: make it, or name another one");
        paper.demand(INDENT, name, &text);
    } else if user != who {
        paper.below(
            INDENT,
            &format!(
                "The script runs sessions as {user}; add --user {user} to check what {user} may do."
            ),
        );
    }
}
