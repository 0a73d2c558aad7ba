//! Every plugin of Debian's package: can it be loaded here if Perl qpsmtpd can load it, has it the
//! same hooks, and does docs/perl.md tell the truth about it?

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;

use super::PLUGINS;
use crate::backends::make_certificate;
use crate::harness::{Config, Model, deb};
use crate::ident::writer::database;

const GUIDE: &str = include_str!("../../docs/perl.md");

/// What is in the folder beside plugins.
const NO_PLUGINS: [&str; 3] = ["karma_tool", "registry.txt", "tls_cert"];

/// Plugins that need arguments, or whose usual ones name what is not here.
const ARGUMENTS: [(&str, &str); 22] = [
    ("async/queue/smtp-forward", "127.0.0.1"),
    ("auth/auth_checkpassword", "checkpw /bin/true true /bin/true"),
    ("auth/auth_cvm_unix_local", "enable_smtp yes cvm_socket {work}/socket"),
    ("auth/auth_ldap_bind", "ldap_base ou=people,dc=example,dc=com"),
    ("http_config", "http://127.0.0.1:1/"),
    ("dspam", "dspam_bin /bin/true"),
    ("ident/geoip", "db_dir {work}/config"),
    ("ident/p0f", "{work}/socket"),
    ("logging/adaptive", "accept 4 reject 6"),
    ("logging/file", "{work}/log"),
    ("milter", "name 127.0.0.1:1"),
    ("queue/exim-bsmtp", "exim_path /bin/true"),
    ("queue/maildir", "{work}/Maildir"),
    ("queue/postfix-queue", "{work}/socket"),
    ("queue/smtp-forward", "127.0.0.1"),
    ("rcpt_map", "domain example.com file {work}/config/map"),
    ("tls", "{work}/tls.pem {work}/tls.pem"),
    ("virus/aveclient", "avdaemon_sock {work}/socket"),
    ("virus/hbedv", "hbedvscanner /bin/true"),
    ("virus/kavscanner", "kavscanner_bin /bin/true"),
    ("virus/sophie", "sophie_socket {work}/socket"),
    ("virus/uvscan", "uvscan_location /bin/true"),
];

/// Perl modules that Debian does not have, and what of them plugins look for when they are loaded.
const MODULES: [(&str, &str); 7] = [
    ("Mail/DomainKeys/Message.pm", "Mail::DomainKeys::Message"),
    ("Mail/DomainKeys/Policy.pm", "Mail::DomainKeys::Policy"),
    ("Net/Milter.pm", "Net::Milter"),
    ("ParaDNS.pm", "ParaDNS"),
    ("Apache2/Log.pm", "Apache2::Log"),
    ("Apache2/RequestUtil.pm", "Apache2::RequestUtil"),
    ("Qmail/Deliverable/Client.pm", "Qmail::Deliverable::Client"),
];

/// Such a module: whatever is wanted of it is there.
const MODULE: &str = "\nsub import {
    my ($class, @names) = @_;
    my $to = caller;
    for my $name (@names) {
        *{\"${to}::$name\"} = sub { 1 };
    }
}
1;
";

#[test]
fn debians_plugins_are_native_or_perl_as_the_guide_says() {
    if !super::perl_qpsmtpd() {
        return;
    }
    let config = set_up();
    let guide = guide();
    let here = |state: &str| -> BTreeSet<&str> {
        let rows = guide.iter().filter(|(_, row)| row.here == state);
        rows.map(|(name, _)| name.as_str()).collect()
    };
    let lines: Vec<String> = names()
        .iter()
        .filter(|name| !here("no").contains(name.as_str()))
        .map(|name| line(&config, name))
        .collect();
    let (ok, log) = check(&config, &lines.join("\n"));
    assert!(ok, "not all can be loaded: {}", tail(&log));
    let said = |start: &str| -> BTreeSet<&str> {
        let line = log.lines().find_map(|line| line.strip_prefix(start));
        line.unwrap_or_default().split(' ').collect()
    };
    assert_eq!(said("native plugins instead of known Perl files: "), here("native"), "{log}");
    assert_eq!(said("Perl plugins: "), here("Perl"), "{log}");
    let notice = "native plugins are used instead of known Perl files (see perl_plugins): ";
    assert_eq!(log.matches(notice).count(), 1, "{log}");
}

#[test]
fn debians_plugins_load_as_the_guide_says() {
    if !super::perl_qpsmtpd() {
        return;
    }
    let config = set_up().set("perl_plugins", "always");
    let lines: BTreeMap<String, String> =
        names().into_iter().map(|name| (name.clone(), line(&config, &name))).collect();
    let guide = guide();
    let there = there(&config, lines.values());
    let mut wrong = vec![];
    for name in lines.keys().filter(|name| !guide.contains_key(*name)) {
        wrong.push(format!("{name} is not in the guide"));
    }
    for name in guide.keys().filter(|name| !lines.contains_key(*name)) {
        wrong.push(format!("{name} is in the guide and no plugin"));
    }
    let is = |name: &str, state: &str| {
        guide.get(name).is_some_and(|row| match state {
            "native" => row.as_perl == "no" && row.here == "native",
            "no" => row.as_perl == "no" && row.here == "no",
            _ => row.as_perl == state,
        })
    };
    // The parent of check_earlytalker is the native earlytalker, which registers otherwise.
    // Those that log take the lines about hooks away from the others.
    for is_logging in [false, true] {
        let some = lines.iter().filter(|(name, _)| name.starts_with("logging/") == is_logging);
        let good: Vec<_> = some.filter(|(name, _)| !is(name, "no")).collect();
        let text: Vec<&str> = good.iter().map(|(_, line)| line.as_str()).collect();
        let (ok, log) = check(&config, &text.join("\n"));
        if !ok {
            wrong.push(format!("not all can be loaded: {}", tail(&log)));
            continue;
        }
        for (name, _) in good {
            if is(name, "native") {
                let why = &guide[name].why;
                let warning = format!("{PLUGINS}/{name} cannot work here: {why}; the native '");
                if !log.contains(&warning) {
                    wrong.push(format!("{name}: nothing in the log says {warning}"));
                }
            } else if let (Ok(hooks), false) = (&there[name], is_logging) {
                let here = hooks_in(&log, name);
                if here != *hooks && name != "check_earlytalker" {
                    wrong.push(format!("{name} has the hooks {here:?}, and in Perl {hooks:?}"));
                }
            }
        }
    }
    for name in guide.keys().filter(|name| is(name, "no")) {
        let (why, Some(line)) = (&guide[name].why, lines.get(name)) else { continue };
        let (ok, log) = check(&config, line);
        if ok || !log.contains(why) {
            wrong.push(format!("{name} is not refused with {why:?}: {}", tail(&log)));
        }
    }
    for (name, why) in there.iter().filter_map(|(name, found)| Some((name, found.as_ref().err()?)))
    {
        if !is(name, "no") {
            wrong.push(format!("{name} cannot be loaded in Perl qpsmtpd: {why}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A plugin's source, and what is said of it if it is refused.
const ODD: [(&str, Option<&str>); 6] = [
    ("my $last = 0;\nsub hook_rcpt { return DECLINED }\n__END__\nno code", None),
    ("use FindBin;\ndie unless -d \"$FindBin::Bin/config\";", None),
    ("sub hook_rcpt {", Some("Missing right curly")),
    ("use No::Such::Module;", Some("No::Such::Module")),
    ("sub register { die \"not like that\\n\" }", Some("not like that")),
    ("sub register { exit 3 }", Some("the Perl process died")),
];

#[test]
fn odd_files_are_loaded_or_refused() {
    if !deb::need("perl") {
        return;
    }
    for (source, refusal) in ODD {
        let config = Config::new();
        fs::create_dir(config.path("plugins")).unwrap();
        fs::write(config.path("plugins/odd"), source).unwrap();
        let (ok, log) = check(&config, "odd\nrcpt_ok\nqueue/discard");
        match refusal {
            None => assert!(ok, "{source}: {log}"),
            Some(why) => assert!(!ok && log.contains(":1: odd: ") && log.contains(why), "{log}"),
        }
    }
}

/// A configuration with what the plugins look for.
fn set_up() -> Config {
    let config = Config::new()
        .set("plugin_dirs", PLUGINS)
        .set("loglevel", "7")
        .set("map", "b@example.com OK yes")
        .set("relayclients", "127.0.0.1")
        .set("dnsbl_zones", "bl.test");
    fs::remove_file(config.path("config/logging")).unwrap();
    make_certificate(&config.path("tls.pem"), "mail.test");
    fs::write(config.path("config/GeoLite2-City.mmdb"), database("GeoLite2-City", &[])).unwrap();
    std::os::unix::net::UnixListener::bind(config.path("socket")).unwrap();
    for (file, module) in MODULES {
        let file = config.path("lib").join(file);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, format!("package {module};{MODULE}")).unwrap();
    }
    let lib = config.path("lib").to_str().unwrap().to_owned();
    config.env("PERL5LIB", &lib)
}

/// The plugins that are there.
fn names() -> Vec<String> {
    let mut found = vec![];
    let mut folders = vec![Path::new(PLUGINS).to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(PLUGINS).unwrap().to_str().unwrap().to_owned();
            if !NO_PLUGINS.contains(&name.as_str()) {
                found.push(name);
            }
        }
    }
    found.sort();
    found
}

fn line(config: &Config, name: &str) -> String {
    let arguments = ARGUMENTS.iter().find(|row| row.0 == name).map_or("", |row| row.1);
    let work = config.work().to_str().unwrap();
    format!("{name} {arguments}").trim_end().replace("{work}", work)
}

/// A row of the guide.
struct Row {
    here: String,
    as_perl: String,
    why: String,
}

/// The rows of the guide by name.
fn guide() -> BTreeMap<String, Row> {
    let (_, table) = GUIDE.split_once("\n## Debian's plugins\n").expect("the guide has this part");
    let table = table.split("\n## ").next().unwrap_or_default();
    let rows = table.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let mut cells = row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned());
        let [name, here, as_perl, why] =
            std::array::from_fn(|_| cells.next().unwrap_or_else(|| panic!("{row}")));
        let here = here.split(':').next().unwrap_or_default().to_owned();
        (name.trim_matches('`').to_owned(), Row { here, as_perl, why })
    })
    .collect()
}

/// In Perl qpsmtpd: the hooks of each plugin, or why it cannot be loaded.
fn there<'a>(
    config: &Config,
    lines: impl Iterator<Item = &'a String>,
) -> BTreeMap<String, Result<BTreeSet<String>, String>> {
    let mut command = config.command("perl");
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("t/perl/load.pl")).arg(PLUGINS);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let text: String = lines.map(|line| format!("{line}\n")).collect();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let output = String::from_utf8(output.stdout).unwrap();
    let found = output.lines().map(|line| {
        let (name, rest) = line.split_once('\t').unwrap_or((line, "!nothing"));
        let name = name.split(' ').next().unwrap().to_owned();
        let hooks = match rest.strip_prefix('!') {
            Some(why) => Err(why.to_owned()),
            None => Ok(rest.split_whitespace().map(str::to_owned).collect()),
        };
        (name, hooks)
    });
    let found: BTreeMap<_, _> = found.collect();
    assert_eq!(found.len(), text.lines().count(), "{output}");
    found
}

/// Checks a configuration with these plugins: is it good, and what was logged?
fn check(config: &Config, plugins: &str) -> (bool, String) {
    config.write("plugins", plugins);
    let output = config.check(Model::Inetd.program()).output().unwrap();
    let log = [output.stderr, output.stdout].concat();
    (output.status.success(), String::from_utf8_lossy(&log).into_owned())
}

fn hooks_in(log: &str, name: &str) -> BTreeSet<String> {
    let start = format!(" {name} hooking ");
    log.lines().filter_map(|line| Some(line.split_once(&start)?.1.to_owned())).collect()
}

fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(3)..].join("\n")
}
