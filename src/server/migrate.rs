//! `--migrate-check`: what a site of Perl qpsmtpd would be here, line by line, and what has to be done.
//! Nothing is written.
//!
//! ```text
//! site         which folders of a site are what
//! lines        the lines that name plugins
//! files        the other files of the configuration
//! started      the run script: program, account
//! options      its options
//! limits       its limits of memory
//! shell        the words of such a script
//! rights       what the account may not do, and what Perl qpsmtpd has remembered
//! differences  docs/differences.md, by plugin and by file
//! faults       what --check would say, by file and line
//! paper        the text, and the list of what has to be done
//! ```

mod differences;
mod faults;
mod files;
mod limits;
mod lines;
mod options;
mod paper;
mod rights;
mod shell;
mod site;
mod started;

use std::env;
use std::path::Path;
use std::process::ExitCode;

use crate::config::Config;
use crate::error::{Error, Result};
use crate::perl;
use crate::plugin;
use crate::server::account;
use crate::server::check;
use crate::server::console::{say, tame, warn};
use crate::smtp;
use faults::Faults;
use paper::Paper;
use site::Site;

/// What a folder that is no site ends with.
const NO_SITE: u8 = 2;

/// Looks at the site as the account that sessions run as.  Fails where something has to be done.
pub(super) fn run(folder: &Path, user: Option<&str>) -> ExitCode {
    match look(folder, user) {
        Ok(paper) => {
            let is_ready = paper.is_ready();
            say(&tame(&paper.to_string()));
            if is_ready { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            warn(format_args!("qpsmtpd: {error}"));
            ExitCode::from(NO_SITE)
        }
    }
}

/// # Errors
/// The folder is no site, the account does not exist, or may not look into the folder.
fn look(folder: &Path, user: Option<&str>) -> Result<Paper> {
    let folder = std::path::absolute(folder).map_err(|error| Error::new(error.to_string()))?;
    let account = account::for_sessions(user)?;
    check::become_account(&Config::new(vec![]), account.as_ref())?;
    let site = site::find(&folder)?;
    env::set_current_dir(&site.top)
        .map_err(|error| Error::new(format!("{}: {error}", site.top.display())))?;
    let config = site.configuration();
    if let Some(account) = &account {
        config.set_home(account::home(account));
    }

    let (plugins, errors) = plugin::look(&config);
    let mut faults = Faults::new(errors, plugins.take_kept());
    // A line that cannot be loaded is told of already.
    if !faults.are_of("tls:") {
        faults.add(smtp::warnings(&config, &plugins));
    }
    faults.add(plugins.perl_sources().filter_map(perl::misspelt_hook));

    let mut paper = Paper::new();
    introduce(&mut paper, &site, &config);
    lines::tell(&mut paper, &config, &plugins, &mut faults);
    files::tell(&mut paper, &config, &plugins, &mut faults);
    started::tell(&mut paper, &site, &config, &plugins);
    rights::tell(&mut paper, &site, &config, &plugins, account.is_some());
    let rest = faults.rest();
    if !rest.is_empty() {
        paper.heading("Other findings");
        for text in rest {
            let step = paper.step(&format!("{text}{}", advice(&text)));
            paper.below(2, &format!("to do {step}: {text}"));
        }
    }
    Ok(paper)
}

/// What can be done about what a start warns of.
fn advice(text: &str) -> &'static str {
    const KNOWN: [(&str, &str); 3] = [
        (
            "no plugin queues",
            ": add one, for example queue/smtp-forward HOST PORT or queue/maildir FOLDER",
        ),
        ("no plugin decides about recipients", ": add the line rcpt_ok"),
        ("AUTH is not offered", ": add the line tls, or set tls_before_auth to 0"),
    ];
    KNOWN.iter().find(|(part, _)| text.contains(part)).map_or("", |(_, advice)| advice)
}

fn introduce(paper: &mut Paper, site: &Site, config: &Config) {
    paper.line(&format!("The configuration is in {}.", site.config.display()));
    if let Some(how) = site.is_found_by() {
        paper.line(&format!("({how})"));
    }
    let dirs = perl::dirs(config).into_iter().filter(|dir| dir.is_dir());
    let dirs: Vec<String> = dirs.map(|dir| dir.display().to_string()).collect();
    if !dirs.is_empty() {
        paper.line(&format!("Perl plugins are looked for in {}.", dirs.join(", ")));
    }
    let who = account::own_name().unwrap_or_else(|| "this user".to_owned());
    paper.line(&format!("The plugins were loaded as the user {who}; nothing was changed."));
    paper.line("native: a plugin of this program.  Perl: your own file, which Perl runs.");
}
