//! A Perl file that is a plugin of a release, octet for octet, is answered by the native plugin, unless
//! somebody wants the file.

use std::fs;
use std::path::Path;

use nix::unistd::geteuid;

use super::PLUGINS;
use crate::harness::{Config, Model, Server, deb};
use crate::root::status;

/// The name of the plugin in the folder, the name in the line, what stands behind it, what is added to
/// the file, `perl_plugins`, and what `--check` calls it.
const CASES: [(&str, &str, &str, &str, &str, &str); 12] = [
    ("badmailfrom", "badmailfrom", "", "", "auto", NATIVE),
    // A wrapper of Debian's, and a file that has another name.
    ("check_relay", "check_relay", "", "", "auto", NATIVE),
    ("badrcptto", "closed", "reject 0", "", "auto", NATIVE),
    ("badmailfrom", "badmailfrom:1", "reject 0", "", "auto", NATIVE),
    // An older name leads to the file of the newer one.
    ("headers", "check_basicheaders", "7", "", "auto", NATIVE),
    // It has no native plugin.
    ("dspam", "dspam", "", "", "auto", PERL),
    ("badmailfrom", "badmailfrom", "", "\n# ours\n", "auto", PERL),
    ("badmailfrom", "badmailfrom", "", " ", "auto", PERL),
    ("badmailfrom", "badmailfrom", "perl always", "", "auto", PERL),
    ("badmailfrom", "badmailfrom", "reject 0 perl always", "", "auto", PERL),
    ("badmailfrom", "badmailfrom", "", "", "always", PERL),
    // The native plugin does not know this argument.
    ("relay", "relay", "never 1", "", "auto", PERL),
];

const NATIVE: &str = "native plugins instead of known Perl files";
const PERL: &str = "Perl plugins";

#[test]
fn only_known_files_give_way() {
    if !deb::need("qpsmtpd") || !super::perl_qpsmtpd() {
        return;
    }
    for case in CASES {
        let (file, name, arguments, added, setting, what) = case;
        let config = Config::new()
            .set("plugins", &format!("{name} {arguments}\nrcpt_ok\nqueue/discard"))
            .set("loglevel", "5")
            .set("perl_plugins", setting);
        fs::remove_file(config.path("config/logging")).unwrap();
        fs::create_dir(config.path("plugins")).unwrap();
        let text = fs::read_to_string(Path::new(PLUGINS).join(file)).unwrap() + added;
        let file = match name.split(':').next() {
            Some("check_basicheaders") | None => file,
            Some(name) => name,
        };
        fs::write(config.path("plugins").join(file), text).unwrap();
        let output = config.check(Model::Inetd.program()).output().unwrap();
        let log = String::from_utf8([output.stderr, output.stdout].concat()).unwrap();
        assert!(output.status.success(), "{case:?}: {log}");
        assert!(log.contains(&format!("\n{what}: {name}\n")), "{case:?}: {log}");
        let other = if what == NATIVE { PERL } else { NATIVE };
        assert!(!log.contains(&format!("\n{other}: ")), "{case:?}: {log}");
        let notice = format!(
            "native plugins are used instead of known Perl files (see perl_plugins): {name}\n"
        );
        assert_eq!(log.contains(&notice), what == NATIVE, "{case:?}: {log}");
        let stays = "/plugins/relay is used, because the native 'relay' refuses the line: ";
        assert_eq!(log.contains(stays), arguments == "never 1", "{case:?}: {log}");
    }
}

/// Where all files are answered natively, nobody needs what a program of a Perl plugin might.
#[test]
fn known_files_leave_nothing_of_root() {
    if !geteuid().is_root() || !super::perl_qpsmtpd() {
        return;
    }
    for (line, setting, is_bounded) in [
        ("check_relay", "auto", true),
        ("check_relay perl always", "auto", false),
        ("check_relay", "always", false),
    ] {
        let config = Config::new()
            .set("plugins", &format!("{line}\nrcpt_ok\nqueue/discard"))
            .set("plugin_dirs", PLUGINS)
            .set("perl_plugins", setting);
        let mut server = Server::start(&config, Model::Forkserver);
        let bounds = status(server.parent().pid(), "CapBnd");
        assert_eq!(bounds.trim_matches('0').is_empty(), is_bounded, "{line} {setting}: {bounds}");
        server.stop().unwrap();
    }
}
