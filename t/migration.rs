//! `--migrate-check`: what a site of Perl qpsmtpd would be here, and what has to be done.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::stat::Mode;
use nix::unistd::{User, geteuid, mkfifo};

use crate::harness::config::unprivileged;
use crate::harness::deb::need;
use crate::harness::{Config, Model};

/// Where Debian's package has its files.
const DEBIAN: &str = "/etc/qpsmtpd";

/// A site in a folder of its own.
struct Site(Config);

impl Site {
    /// Files by their paths; `{work}` in a text is the site's folder.
    fn new(files: &[(&str, &str)]) -> Site {
        let site = Site(Config::new());
        fs::remove_dir_all(site.0.path("config")).unwrap();
        files.iter().for_each(|(path, text)| site.write(path, text));
        site
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.0.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let text = text.replace("{work}", &self.0.work().to_string_lossy());
        fs::write(path, text + "\n").unwrap();
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path(path)
    }

    /// What is said of a folder, with the site's path as SITE, and the exit status.
    fn look(&self, folder: &str) -> (String, i32) {
        self.look_as(folder, unprivileged())
    }

    fn look_as(&self, folder: &str, user: Option<User>) -> (String, i32) {
        let mut command: Command = self.0.command(Model::Inetd.program());
        command.env_remove("QPSMTPD_CONFIG");
        command.args(user.map(|user| format!("--user={}", user.name)));
        let before = files(self.0.work());
        let output = command.arg("--migrate-check").arg(self.path(folder)).output().unwrap();
        assert_eq!(files(self.0.work()), before, "something was written");
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        (text.replace(&*self.0.work().to_string_lossy(), "SITE"), output.status.code().unwrap())
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = vec![];
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.is_symlink() {
            found.extend(files(&path));
        }
        found.push(path);
    }
    found.sort();
    found
}

/// All of the texts are there, whatever blanks and ends of lines are between their words.
fn assert_says(text: &str, wanted: &[&str]) {
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let all = words(text);
    for want in wanted {
        assert!(all.contains(&words(want)), "no '{want}' in\n{text}");
    }
}

fn whoever() -> String {
    unprivileged().map_or_else(|| "nobody".to_owned(), |user| user.name)
}

/// Debian's configuration as its package leaves it where nobody answers, below the site's folder.
fn debian() -> Site {
    let site = Site::new(&[]);
    for entry in fs::read_dir(DEBIAN).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap().replace(DEBIAN, "{work}/etc");
        let name = path.file_name().unwrap().to_string_lossy();
        site.write(&format!("etc/{name}"), text.trim_end());
    }
    site.write(
        "etc/debconf-settings",
        "ENABLED=\"false\"\nSERVER=\"forkserver\"\nINTERFACES=\"unset\"\nQUEUE_PLUGIN=\"\"",
    );
    site.write("etc/debian-queue-method", "# none");
    site.write("etc/debian-rcpthosts", "# by debconf\nunset");
    site
}

#[test]
fn the_guide_shows_what_is_said_of_debians_package() {
    if !need("qpsmtpd") || !geteuid().is_root() {
        return;
    }
    let account = || User::from_name("qpsmtpd").unwrap();
    let site = debian();
    let (text, status) = site.look_as("etc", account());
    assert_eq!(status, 1, "{text}");
    let guide = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/migration.md"));
    let guide = guide.unwrap();
    let shown = text.replace("SITE/etc", DEBIAN);
    assert!(guide.contains(&format!("```text\n{shown}```\n")), "docs/migration.md lacks\n{shown}");

    site.write("etc/debian-queue-method", "queue/maildir {work}/mail");
    site.write("etc/debian-rcpthosts", "example.com");
    fs::create_dir(site.path("mail")).unwrap();
    let (text, status) = site.look_as("etc", account());
    assert_eq!(status, 1, "{text}");
    assert_says(&text, &["queue/maildir: SITE/mail: Permission denied for qpsmtpd"]);
    fs::set_permissions(site.path("mail"), fs::Permissions::from_mode(0o777)).unwrap();
    let (text, status) = site.look_as("etc", account());
    assert_eq!(status, 0, "{text}");
    assert_says(&text, &["debian-queue-method 1 queue/maildir native", "To do nothing Ready:"]);
}

/// Upstream's sample, with its two scripts.
#[test]
fn the_sample_of_upstream() {
    let who = whoever();
    let script = format!(
        "#!/bin/sh\nQPUSER={who}\nMAXRAM=300000000\nBIN=/usr/local/bin\nPERL=/usr/bin/perl\nexec 2>&1 \\\n\
         sh -c \"\n  exec $BIN/softlimit -m $MAXRAM  \\\n    $PERL -T ./qpsmtpd-forkserver \\\n      \
         --listen-address 0.0.0.0 --port 25 --port 587 \\\n      --limit-connections 15 --max-from-ip 5 \\\n  \
         --user $QPUSER\n\""
    );
    let tcpserver = format!(
        "#!/bin/sh\nQPUSER={who}\nIP=`head -1 config/IP`\nQ=`id -u $QPUSER`\n\
         exec softlimit -m 30000000 \\\n  tcpserver -c 10 -v -R -p -u $Q $IP 25 \\\n ./qpsmtpd 2>&1"
    );
    let site = Site::new(&[
        (
            "config.sample/plugins",
            "hosts_allow\nearlytalker\nkarma penalty_box 1 reject naughty\nrelay\nfcrdns\n\
             helo policy strict reject 0\nauth/auth_flat_file\nauth/authdeny\nresolvable_fromhost reject 0\n\
             badrcptto\nrcpt_ok\nheaders reject 0 require From,Date\nspamassassin reject 12\nnaughty reject data",
        ),
        ("config.sample/IP", "0"),
        ("config.sample/logging", "logging/warn LOGINFO"),
        ("config.sample/relayclients", "192.168."),
        ("config.sample/spool_dir", "{work}/spool"),
        ("config.sample/store", "lmdb {work}/store"),
        ("config.sample/tls_before_auth", "1"),
        ("config.sample/log2sql", "dsn = none"),
        ("run.forkserver", &script),
        ("run.tcpserver", &tcpserver),
    ]);
    let (text, status) = site.look(".");
    assert_eq!(status, 2, "{text}");
    assert_says(&text, &["SITE/config.sample is a sample: give that, or copy it to config"]);
    fs::rename(site.path("config.sample"), site.path("config")).unwrap();
    let (text, status) = site.look(".");
    assert_eq!(status, 1, "{text}");
    assert_says(
        &text,
        &[
            "The configuration is in SITE/config.",
            "5 fcrdns native Perl qpsmtpd: never refuses, whatever reject says. Here: refuses if reject",
            "IP the address for tcpserver; only the run script reads it",
            "log2sql only Perl qpsmtpd's log/log2sql reads it",
            "relayclients read by relay Perl qpsmtpd: a client from ::1 may relay.",
            "start qpsmtpd-forkserver instead of the Perl program: \
             /usr/local/bin/softlimit -m 300000000 qpsmtpd-forkserver \\ --listen-address 0.0.0.0",
            "The limit of 300000000 octets of memory is enough. Under it the store of the plugins may grow to 71 MiB, not 1024.",
            "softlimit -m 30000000 tcpserver -c 10 -v -R -p -u $Q $IP 25 qpsmtpd",
            "run.tcpserver: the limit of 30000000 octets of memory is too low: set it to 100000000",
            "no plugin queues: every message will be answered 451: add one, for example",
            "AUTH is not offered: tls_before_auth wants TLS first, and no plugin offers TLS: add the line tls",
        ],
    );
    assert!(!text.contains("has no user"), "{text}");
}

/// SME Server: lists by client, in two service folders; its own plugins, and one for hooks of its own.
#[test]
fn an_sme_server() {
    if !need("perl") {
        return;
    }
    let run = "#!/bin/sh\nexec 2>&1\n[ -f ./runenv ] && . ./runenv\n\
               export QPSMTPD_CONFIG=/var/service/qpsmtpd/config\n./control/1\n\
               exec /usr/local/bin/softlimit -d ${SOFTLIMIT:-25000000} \\\n  \
               {work}/bin/qpsmtpd-forkserver \\\n\t-u no-such-account \\\n\t-l 0.0.0.0 \\\n\t-p ${PORT:-25} \\\n\t\
               -c ${INSTANCES:-40} \\\n\t-m ${INSTANCES_PER_IP:-5}\n\n#sub usage {\n# qpsmtpd-forkserver [ options ]";
    let everybody = "logging/logterse\ntls ssl/cert.pem ssl/cert.pem ssl/cert.pem\ncheck_earlytalker\n\
                     count_unrecognized_commands 4\ncheck_relay\ncheck_norelay\nrequire_resolvable_fromhost\n\
                     check_basicheaders\ndnsbl\ncheck_badmailfrom\ncheck_badrcptto\ncheck_spamhelo\n\
                     check_goodrcptto extn -\nrcpt_ok\nspamassassin reject_threshold 12\n\
                     queue/qmail-queue";
    let site = Site::new(&[
        ("config/plugins", "hosts_allow\npeers\ntls ssl/cert.pem ssl/cert.pem ssl/cert.pem"),
        ("config/logging", "logging/warn 6"),
        ("config/peers/0", everybody),
        (
            "config/peers/local",
            "check_relay\nauth/auth_cvm_unix_local cvm_socket /var/lib/cvm/cvm.sock\nrcpt_ok\nqueue/qmail-queue",
        ),
        ("config/plugin_dirs", "{work}/share"),
        ("config/spool_dir", "{work}/spool"),
        ("config/subject_prefix", "[SPAM]"),
        ("config/tls_before_auth", "1"),
        ("config/tls_ciphers", "HIGH"),
        ("config/goodrcptto", "admin@example.com"),
        ("config/rcpthosts", "example.com"),
        ("config/badrcptto_patterns", "!.*!"),
        ("config/databytes", "15000000"),
        (
            "share/peers",
            "sub hook_set_hooks { my ($self) = @_; $self->qp->{hooks} = {}; return DECLINED }",
        ),
        (
            "share/logging/logterse",
            "sub hook_queue { my ($self) = @_; $self->log(LOGALERT, 'x'); return DECLINED }",
        ),
        (
            "share/auth/auth_cvm_unix_local",
            "sub register { my $self = shift; $self->register_hook('auth-login', 'authcheck') }\nsub authcheck { return DECLINED }",
        ),
        ("bin/qpsmtpd-forkserver", "#!/usr/bin/perl -Tw"),
        ("run", run),
        ("run.sample", "exec ./qpsmtpd"),
    ]);
    fs::create_dir(site.path("ssl")).unwrap();
    symlink("local", site.path("config/peers/192.168.1")).unwrap();
    let (text, status) = site.look("config");
    assert_eq!(status, 1, "{text}");
    assert_says(
        &text,
        &[
            "2 peers native SITE/share/peers cannot work here: it is written for hooks that only SME Server",
            "plugins:3: tls: ",
            "peers/0 1 logging/logterse Perl: SITE/share/logging/logterse",
            "7 require_resolvable_fromhost native: resolvable_fromhost",
            "13 check_goodrcptto native: goodrcptto",
            "peers/local 1 check_relay native: relay",
            "2 auth/auth_cvm_unix_local Perl: SITE/share/auth/auth_cvm_unix_local",
            "badrcptto_patterns: nothing reads it: put the patterns into badrcptto.",
            "goodrcptto read by goodrcptto",
            "peers/ lists of plugins by client",
            "subject_prefix read by spamassassin",
            "run: this machine has no user no-such-account",
            "start qpsmtpd-forkserver instead of the Perl program: \
             /usr/local/bin/softlimit -d 25000000 qpsmtpd-forkserver -u no-such-account",
            "-p 25 -c 40 -m 5",
        ],
    );
    site.write("bin/qpsmtpd-forkserver", "not Perl");
    assert_says(&site.look("config").0, &["The same command line works with this program: /usr"]);
    for absent in ["run.sample", "AUTH is not offered", "too little"] {
        assert!(!text.contains(absent), "{text}");
    }
}

/// A service folder for tcpserver with plugins of its own beside it.
#[test]
fn a_tree_for_tcpserver_with_plugins_of_its_own() {
    if !need("perl") {
        return;
    }
    let who = whoever();
    let run = format!(
        "#!/bin/sh\nexport MAILDOMAIN=example.com\nU=`id -u {who}`\n\
         exec tcpserver -v -R -l mx.example.com -x rules.cdb -u $U -g 64011 0 smtp ./qpsmtpd 2>&1"
    );
    let site = Site::new(&[
        (
            "config/plugins",
            "our_users\ndnsbl reject naughty\ntalks\nuses_much\nnever_was\nrcpt_okk\n\
             badmailfrom rejct 1\n$include more\nrcpt_ok\nqueue/maildir {work}/Maildir",
        ),
        ("config/more", "check_loop 20\n$include nowhere"),
        ("config/our_list", "jo"),
        ("config/rcpthost", "example.com"),
        ("config/me~", "mx.example.com"),
        ("config/databytes", "10M"),
        ("config/spool_dir", "{work}/spool"),
        ("config/loglevel", "4"),
        ("config/plugin_dirs", "{work}/local"),
        (
            "plugins/our_users",
            "sub init { $_[0]->log(LOGWARN, \"loaded by user $>\") }\n\
             sub hook_rcpt { my ($self) = @_; my @users = $self->qp->config('our_list'); return DECLINED }",
        ),
        ("plugins/dnsbl", "sub hook_connect { return DECLINED } # changed"),
        (
            "local/talks",
            "sub hook_mail { my ($self) = @_; return $self->qp->rcpt_respond(DENY, 'no') }",
        ),
        ("plugins/uses_much", "use Very::Much;\nsub hook_rcpt { return DECLINED }"),
        ("run", &run),
    ]);
    let (text, status) = site.look(".");
    assert_eq!(status, 1, "{text}");
    let user = unprivileged().map_or(geteuid(), |user| user.uid);
    assert_says(
        &text,
        &[
            "The configuration is in SITE/config. (it is in the folder that was given)",
            "Perl plugins are looked for in SITE/local, SITE/plugins.",
            "1 our_users Perl: SITE/plugins/our_users",
            &format!("loaded by user {user}"),
            "2 dnsbl Perl: SITE/plugins/dnsbl This file is in no release: it is your own, changed, or of a development version.",
            "plugins:3: talks: it calls rcpt_respond, which does not exist here; rewrite that part",
            "plugins:4: uses_much: its Perl file SITE/plugins/uses_much needs the Perl module Very::Much, which \
             is not installed; if Debian has it, its package is libvery-much-perl.",
            "plugins:5: unknown plugin 'never_was'",
            "plugins:6: unknown plugin 'rcpt_okk'",
            "did you mean 'rcpt_ok'?",
            "plugins:7: badmailfrom: unexpected argument 'rejct'; did you mean 'reject'?",
            "more 1 check_loop native: loop",
            "more:2: $include nowhere: no such file",
            "databytes:1: databytes is '10M', not a number",
            "me~ ignored",
            "our_list read by our_users",
            "rcpthost: nothing reads it; did you mean 'rcpthosts'?",
            "The script exports MAILDOMAIN, which sessions get only if keep_environment names it.",
            "tcpserver -v -R -l mx.example.com -x rules.cdb -u $U -g 64011 0 smtp \\ qpsmtpd",
            "things to do.",
        ],
    );
    let wide: Vec<&str> = text.lines().filter(|line| line.chars().count() > 80).collect();
    assert!(wide.iter().all(|line| line.contains("SITE") || !line.contains(' ')), "{wide:?}");
}

#[test]
fn what_is_no_site_is_refused() {
    let site = Site::new(&[("empty/readme", "x"), ("secret/config/plugins", "rcpt_ok")]);
    for (folder, why) in [
        ("nowhere", "No such file or directory"),
        (
            "empty",
            "SITE/empty is no site of qpsmtpd: there is neither a file 'plugins' nor 'config/plugins'",
        ),
        ("empty/readme", "Not a directory"),
    ] {
        let (text, status) = site.look(folder);
        assert_eq!(status, 2, "{text}");
        assert_says(&text, &[why]);
        assert!(text.starts_with("qpsmtpd: ") && text.lines().count() == 1, "{text}");
    }
    if geteuid().is_root() {
        fs::set_permissions(site.path("secret"), fs::Permissions::from_mode(0o700)).unwrap();
        let (text, status) = site.look("secret");
        assert_eq!(status, 2, "{text}");
        assert_says(
            &text,
            &["Permission denied", "the account that sessions run as has to read it"],
        );
    }
}

#[test]
fn what_is_no_plain_file_is_not_read() {
    let site = Site::new(&[("fifo/config/me", "x"), ("site/config/plugins", "rcpt_ok")]);
    let fifo = |path: &str| mkfifo(&site.path(path), Mode::S_IRWXU).unwrap();
    fifo("fifo/config/plugins");
    fifo("site/run");
    fifo("site/config/loglevel");
    symlink("/dev/zero", site.path("site/config/rcpthosts")).unwrap();
    let (text, status) = site.look("fifo");
    assert_eq!(status, 2, "{text}");
    assert_says(&text, &["SITE/fifo is no site of qpsmtpd"]);
    let (text, status) = site.look("site");
    assert_eq!(status, 1, "{text}");
    assert_says(&text, &["loglevel: not a plain file", "rcpthosts: not a plain file"]);
}

#[test]
fn a_plugin_that_ends_perl_does_not_hide_the_others() {
    let site = Site::new(&[
        ("config/plugins", "first\nends\nbad\nlast\nrcpt_ok\nqueue/discard\nends_too"),
        ("plugins/first", "sub hook_mail { 1 }"),
        ("plugins/ends", "exit 3;"),
        ("plugins/bad", "sub hook_mail { if ( }"),
        ("plugins/last", "sub hook_rcpt { 1 }"),
        ("plugins/ends_too", "BEGIN { exit 4 }"),
    ]);
    let (text, status) = site.look("");
    assert_eq!(status, 1, "{text}");
    assert_says(
        &text,
        &[
            "first Perl: SITE/plugins/first",
            "ends cannot be loaded to do 1: ends: the Perl process died",
            "bad cannot be loaded to do 2: bad: syntax error at SITE/plugins/bad line 1",
            "last Perl: SITE/plugins/last",
            "ends_too cannot be loaded to do 3: ends_too: the Perl process died",
            "Not ready: 3 things to do.",
        ],
    );
}
