//! What is installed: one program with three names, its manuals, units and scripts.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use qpsmtpd::plugin;

use crate::harness::deb::need;
use crate::harness::{Config, Model, Server};

/// The top of the source.
const TOP: &str = env!("CARGO_MANIFEST_DIR");

#[test]
fn one_program_has_three_names() {
    let config = Config::new().set("plugins", "rcpt_ok\nqueue/maildir {work}/Maildir");
    for (model, name) in Model::PARENTS.iter().zip(["qpsmtpd-forkserver", "qpsmtpd-prefork"]) {
        let link = config.path(name);
        symlink(Model::Inetd.program(), &link).unwrap();
        let mut command = config.command(&link);
        command.args(model.arguments(&[]));
        let server = Server::start_command(&config, *model, command);
        let mut client = server.connect();
        client.hello();
        client.quit();
        server.stop().unwrap();
    }
}

#[test]
fn every_program_plugin_and_setting_has_its_page() {
    let folder = tempfile::tempdir().unwrap();
    made(Command::new(Model::Inetd.program()).arg("--make-manuals").arg(folder.path()));
    for program in ["qpsmtpd", "qpsmtpd-forkserver", "qpsmtpd-prefork"] {
        let page = fs::read_to_string(folder.path().join(format!("man8/{program}.8"))).unwrap();
        assert!(page.contains("help\\-plugin") && page.contains("QPSMTPD_CONFIG"), "{page}");
        let completion = format!("completions/{program}.bash");
        let completion = fs::read_to_string(folder.path().join(completion)).unwrap();
        assert!(completion.contains("--show-config"), "{completion}");
    }
    for plugin in plugin::all() {
        let name = plugin.name.replace('/', "-");
        let page = folder.path().join(format!("man7/qpsmtpd-{name}.7"));
        assert!(fs::read_to_string(page).unwrap().contains("DESCRIPTION"), "{name}");
    }
    let settings = fs::read_to_string(folder.path().join("man5/qpsmtpd.5")).unwrap();
    for row in qpsmtpd::settings::TABLE {
        assert!(settings.contains(&row.name.replace('-', "\\-")), "{}", row.name);
    }
}

#[test]
fn the_pages_are_good_roff() {
    if !need("groff-base") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    made(Command::new(Model::Inetd.program()).arg("--make-manuals").arg(folder.path()));
    for section in ["man5", "man7", "man8"] {
        let pages = files(&folder.path().join(section));
        assert!(!pages.is_empty());
        let mut groff = Command::new("groff");
        let said = made(groff.args(["-man", "-Tutf8", "-ww", "-z"]).args(pages));
        assert_eq!(String::from_utf8_lossy(&said.stderr), "", "{section}");
    }
}

#[test]
fn install_puts_everything_below_its_prefix() {
    let folder = tempfile::tempdir().unwrap();
    made(
        Command::new("t/install")
            .arg("/opt/mail")
            .current_dir(TOP)
            .env("DESTDIR", folder.path())
            .env("PROGRAM", Model::Inetd.program()),
    );
    let root = folder.path().join("opt/mail");
    let version = made(Command::new(root.join("bin/qpsmtpd-prefork")).arg("--version"));
    assert!(String::from_utf8(version.stdout).unwrap().starts_with("qpsmtpd-prefork "));
    for file in ["share/man/man7/qpsmtpd-queue-maildir.7", "share/qpsmtpd/config/plugins"] {
        assert!(root.join(file).is_file(), "{file}");
    }
    links_lead_somewhere(&root.join("share/doc/qpsmtpd"));
    let unit = fs::read_to_string(root.join("lib/systemd/system/qpsmtpd.service")).unwrap();
    assert!(unit.contains("\nExecStart=/opt/mail/bin/qpsmtpd-prefork "), "{unit}");
    let top: Vec<PathBuf> = files(folder.path());
    assert_eq!(top, [folder.path().join("opt")]);

    let refused = Command::new("t/install").arg("here").current_dir(TOP).output().unwrap();
    assert_eq!(refused.status.code(), Some(1));
}

#[test]
fn the_units_are_good_and_hardened() {
    if !need("systemd") {
        return;
    }
    for unit in ["qpsmtpd.service", "qpsmtpd-dmarc-reports.service"] {
        // The threshold is ten times the exposure that is shown.
        let mut security = Command::new("systemd-analyze");
        security.args(["security", "--offline=yes", "--no-pager", "--threshold=25"]);
        made(security.arg(Path::new(TOP).join("contrib/systemd").join(unit)));
    }
}

#[test]
fn scripts_are_good_shell() {
    let scripts = files(&Path::new(TOP).join("contrib/debian"));
    let scripts = scripts.into_iter().filter(|path| path.extension().is_none());
    let mut count = 0;
    for script in scripts.filter(|path| path.file_name().unwrap() != "logrotate") {
        made(Command::new("sh").arg("-n").arg(script));
        count += 1;
    }
    assert_eq!(count, 4);
    for script in ["t/install", "t/deb", "run"] {
        made(Command::new("sh").arg("-n").arg(Path::new(TOP).join(script)));
    }
}

/// The documents below a folder link only to what is there, too.
fn links_lead_somewhere(folder: &Path) {
    let documents = files(&folder.join("docs")).into_iter().chain(files(folder));
    let documents = documents.filter(|path| path.extension().is_some_and(|end| end == "md"));
    let mut count = 0;
    for document in documents {
        let text = fs::read_to_string(&document).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next()) {
            if !link.starts_with("http") {
                let place = document.parent().unwrap().join(link);
                assert!(place.exists(), "{}: {link}", document.display());
                count += 1;
            }
        }
    }
    assert!(count > 50, "{count}");
}

fn files(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

/// What a command says that has to succeed.
fn made(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
    output
}
