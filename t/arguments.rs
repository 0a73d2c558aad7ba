//! The arguments of all native plugins: a value that is none is refused, by name, and what
//! configurations of Perl qpsmtpd have is taken.

use std::collections::BTreeSet;

use qpsmtpd::plugin::Plugin;
use qpsmtpd::plugins::PLUGINS;
use qpsmtpd::testing::Trial;
use regex::Regex;

use crate::harness::deb;
use crate::manuals::{FILES, UNIVERSAL, examples, known_arguments};

/// A value that no argument has.
const VALUE: &str = "no_such_value";

/// Arguments that take this value nevertheless, or refuse it without their name, and why.
const FREE: &[(&str, &[&str])] = &[
    (
        "any text",
        &[
            "arc seal",
            "auth/auth_ldap_bind ldap_base",
            "goodrcptto deny_note",
            "greylisting geoip",
            "headers require",
            "logging/adaptive prefix",
            "logging/file tsformat",
            "logging/syslog ident",
            "queue/discard note",
            "rcpt_map domain",
            "rcpt_verify domain",
            "rspamd mta_name",
            "rspamd mta_tag",
            "rspamd settings_id",
            "rspamd spam_header",
            "spamassassin spamd_user",
            "spamassassin subject_prefix",
        ],
    ),
    (
        "a host",
        &[
            "auth/auth_ldap_bind ldap_host",
            "auth/auth_vpopmaild host",
            "queue/smtp-forward also",
            "virus/clamdscan clamd_host",
        ],
    ),
    (
        "a file or folder, read when it is needed",
        &[
            "dmarc suffixes",
            "greylisting suffixes",
            "help help_dir",
            "limit suffixes",
            "qmail_deliverable routes",
        ],
    ),
    (
        "a file or folder that the error names",
        &[
            "auth/auth_imap ca",
            "auth/auth_ldap_bind ldap_ca",
            "auth/auth_sql file",
            "http_config ca",
            "ident/geoip asn",
            "ident/geoip db_dir",
            "ident/geoip places",
            "queue/smtp-forward ca",
            "rspamd ca",
            "tls cert",
            "tls certs",
            "tls key",
        ],
    ),
    (
        "it has no value",
        &[
            "logging/file nosplit",
            "logging/file reopen",
            "queue/lmtp dsn",
            "queue/smtp-forward dsn",
            "queue/smtp-forward xclient",
        ],
    ),
    (
        "it belongs to another one",
        &[
            "auth/auth_checkpassword checkpw",
            "auth/auth_checkpassword true",
            "auth/auth_ldap_bind ldap_bind_dn",
            "auth/auth_ldap_bind ldap_bind_password_file",
            "auth/auth_ldap_bind ldap_filter",
            "dmarc reports_sender",
            "queue/smtp-forward auth_password_file",
            "queue/smtp-forward auth_user",
        ],
    ),
    (
        "of old configurations, without effect",
        &[
            "dmarc reporting",
            "greylisting db_dir",
            "greylisting nfslock",
            "greylisting per_recipient_db",
            "greylisting redis",
            "greylisting upgrade",
            "karma db_dir",
            "karma nfslock",
            "karma penalty_box",
            "loadcheck uptime",
        ],
    ),
];

/// Plugins whose first word may be anything: a folder, a file, a program, a host, a name.  Of
/// virus/klez_filter no word has an effect, and queue/postfix-queue logs words that it does not know.
const FREE_WORD: [&str; 13] = [
    "logging/debug_plugin",
    "logging/file",
    "user_config",
    "auth/auth_imap",
    "quit_fortune",
    "milter",
    "my_rcpt_check",
    "rcpt_ok_child",
    "virus/klez_filter",
    "queue/maildir",
    "queue/postfix-queue",
    "queue/qmqp-forward",
    "queue/smtp-forward",
];

/// The files that lines need besides those of manuals.
const MORE: [(&str, &str); 2] = [("goodrcptto", "a@example.com"), ("map", "a@example.com OK")];

/// Lines that can be loaded beside those of manuals.
const BASES: [&str; 11] = [
    "auth/auth_checkpassword checkpw /bin/true true /bin/true",
    "auth/auth_imap imap.example tls must",
    "earlytalker",
    "filter /bin/cat",
    "http_config https://127.0.0.1/",
    "queue/smtp-forward 192.0.2.5",
    "queue/smtp-forward smtproutes",
    "rcpt_map domain example.com file {dir}/config/map",
    "rcpt_ok_child reserved",
    "rspamd https://127.0.0.1:11334/",
    "spamassassin",
];

/// The names in the part ARGUMENTS of a manual, and those that an error names.
fn names(plugin: &Plugin) -> BTreeSet<String> {
    let manual = plugin.manual();
    let part = manual.split_once("\nARGUMENTS\n").map_or("", |(_, part)| part);
    let part = part.lines().take_while(|line| line.is_empty() || line.starts_with(' '));
    let row = Regex::new(r"^    ([a-z_-]+)( \S+)?(  |$)").unwrap();
    let names = part.filter_map(|line| Some(row.captures(line)?[1].to_owned()));
    names.chain(known_arguments(plugin)).chain(UNIVERSAL.map(str::to_owned)).collect()
}

/// Is everything on this machine without which a line of this plugin cannot be loaded?
fn is_at_home(line: &str) -> bool {
    line.split(' ').next() != Some("uribl") || deb::need("publicsuffix")
}

/// What start-up says of a line; None: it can be loaded.
fn fault_of(line: &str) -> Option<String> {
    let files: Vec<(&str, &str)> = FILES.iter().chain(&MORE).copied().collect();
    Trial::load(line, &files).err().map(|error| error.to_string())
}

/// The same of a line of this plugin with these words.
fn fault(plugin: &Plugin, words: &str) -> Option<String> {
    fault_of(&format!("{} {words}", plugin.name))
}

/// How an argument without a good value is refused.
enum Refusal {
    /// By its name and value, in this line.
    Of(String),
    /// It is no argument.
    NoArgument,
    /// Not at all, or without its name.
    None,
}

/// What is said of an argument behind and before the words of each line that can be loaded.
fn refusal(plugin: &Plugin, bases: &[String], name: &str) -> Refusal {
    let mut is_none = true;
    for base in bases {
        for line in [format!("{base} {name} {VALUE}"), format!("{name} {VALUE} {base}")] {
            let text = fault(plugin, &line).unwrap_or_default();
            if text.contains(VALUE) && text.contains(name) {
                return Refusal::Of(line);
            }
            is_none &= text.contains(&format!("'{name}'"));
        }
    }
    if is_none { Refusal::NoArgument } else { Refusal::None }
}

/// The words of a line of this plugin that can be loaded.
fn bases(plugin: &Plugin) -> Vec<String> {
    let own = examples(plugin).into_iter().find(|line| fault_of(line).is_none());
    let more = BASES.iter().filter(|line| line.split(' ').next() == Some(plugin.name));
    let more = more.filter(|line| fault_of(line).is_none()).map(|line| (*line).to_owned());
    let lines = own.into_iter().chain(more);
    let words = lines.map(|line| line.split_once(' ').map_or("", |(_, words)| words).to_owned());
    let words: Vec<String> = words.collect();
    if words.is_empty() { vec![String::new()] } else { words }
}

#[test]
fn no_value_is_silently_taken_for_another() {
    let (mut wrong, mut free, mut count) = (vec![], BTreeSet::new(), 0);
    let is_here = |plugin: &&Plugin| {
        is_at_home(plugin.name)
            && fault(plugin, "").is_none_or(|text| !text.contains("built without"))
    };
    for plugin in PLUGINS.iter().filter(is_here) {
        let bases = bases(plugin);
        for name in names(plugin) {
            let argument = format!("{} {name}", plugin.name);
            match refusal(plugin, &bases, &name) {
                Refusal::NoArgument => continue,
                Refusal::None => drop(free.insert(argument)),
                // What can be read as a number is none.
                Refusal::Of(line) => {
                    let line = line.replace(VALUE, "+nan");
                    wrong
                        .extend(fault(plugin, &line).is_none().then(|| format!("{argument} +nan")));
                }
            }
            count += 1;
        }
    }
    let known: BTreeSet<String> =
        FREE.iter().flat_map(|(_, all)| *all).map(|argument| (*argument).to_owned()).collect();
    wrong.extend(free.difference(&known).map(|argument| format!("{argument} {VALUE}")));
    assert!(wrong.is_empty(), "taken, or refused without a name:\n{}", wrong.join("\n"));
    let is_here = |argument: &&String| {
        let name = argument.split(' ').next();
        PLUGINS.iter().filter(is_here).any(|plugin| Some(plugin.name) == name)
    };
    let stale: Vec<_> = known.difference(&free).filter(is_here).collect();
    assert!(stale.is_empty(), "not free: {stale:?}");
    assert!(count > 500, "{count}");
}

#[test]
fn no_word_is_silently_ignored() {
    let faults = PLUGINS
        .iter()
        .filter(|plugin| fault(plugin, VALUE).is_none_or(|text| !text.contains(VALUE)));
    let names: Vec<&str> = faults.map(|plugin| plugin.name).collect();
    assert_eq!(names, FREE_WORD);
}

/// Lines as the documents and samples of Perl qpsmtpd have them.
const PERL_LINES: &str = "\
    hosts_allow
    connection_time
    karma penalty_box 1 reject naughty
    karma reject connect
    karma negative 2 strikes 4 penalty_days 2.5 db_dir /var/lib/karma nfslock 1
    fcrdns reject 0 timeout 5
    fcrdns reject naughty reject_type disconnect
    quit_fortune
    earlytalker
    earlytalker wait 1 action denysoft defer-reject 1 check-at CONNECT check-at DATA
    earlytalker reject 0 reject_type temp loglevel -1
    count_unrecognized_commands 4
    relay
    relay only 1
    whitelist per_recipient 1 merge 0
    dnsbl reject naughty reject_type disconnect
    dnsbl disconnect
    dnsbl reject connect
    dnsbl reject_type soft timeout 10 loglevel +2
    rhsbl
    rhsbl disconnect
    greylisting reject 0 p0f genre,windows
    greylisting remote_ip 1 sender 0 recipient 0 deny_late 0 black_timeout 3000 geoip US,UK,HU
    helo policy strict reject 0
    helo policy rfc reject naughty timeout 3
    parse_addr_withhelo
    auth/authdeny
    dont_require_anglebrackets
    badmailfrom reject naughty
    badmailfrom reject 1 reject_type perm
    badmailfromto
    resolvable_fromhost reject 0
    resolvable_fromhost reject naughty reject_type hard
    sender_permitted_from reject 1
    sender_permitted_from spf_deny 1
    sender_permitted_from reject 1 no_dmarc_policy 1
    badrcptto
    qmail_deliverable server 127.0.0.1:8998 vpopmail_ext 1 reject connect
    qmail_deliverable server smtproutes:8998
    rcpt_ok
    uribl action add-header scan-headers 1 checkip yes timeout 30
    headers reject 0 reject_type temp require From,Date future 2 past 15
    headers reject naughty loglevel 5
    bogus_bounce log
    bogus_bounce action denysoft
    loop 50
    dkim reject 0
    dmarc reject 1 reporting 1
    virus/klez_filter
    spamassassin reject 12
    spamassassin reject 20 munge_subject_threshold 10
    spamassassin reject_threshold 18.5 headers none relayclient skip
    spamassassin leave_old_headers keep reject_type temp_disconnect size_limit 250000
    virus/clamdscan deny_viruses yes max_size 1024
    virus/clamdscan deny_viruses no scan_all 0 defer_on_error 1
    naughty reject data
    naughty reject data_post reject_type disconnect
    fcrdns reject 0.5
    karma reject 2
    dnsbl reject 12
    resolvable_fromhost reject 3 reject_type temp
    greylisting reject naughty remote_ip 2
    greylisting mode TestOnly sender 5
    sender_permitted_from reject naughty
    sender_permitted_from reject yes
    sender_permitted_from reject 7 no_dmarc_policy 5
    helo policy rfc dns_timeout 3
    uribl mask 255 checkip 2
    naughty reject 1
    whitelist per_recipient 5 merge 2
    relay only 2
    earlytalker wait 2 action deny defer-reject
    logging/adaptive 4 6
    logging/syslog logsock native
    logging/syslog logsock inet,unix
    stunnel proxy ON
    ident/p0f /tmp/.p0f_socket version 3
    ident/p0f /tmp/.p0f_socket smite_os windows add_headers false
    queue/maildir /home/spamtrap/mail
    queue/smtp-forward 10.2.2.2 9025
    logging/warn LOGINFO
    logging/warn 9
    logging/adaptive accept 4 reject 6 prefix +
    logging/syslog loglevel LOGINFO priority LOG_NOTICE facility LOG_DAEMON
    logging/file loglevel LOGINFO /var/log/qpsmtpd/%Y-%m-%d
    random_error 5
    noop_counter 3
    help not_implemented 1
    loadcheck max_load 7 cache_time 10 uptime /usr/bin/uptime
    auth/auth_vpopmaild host localhost port 89
    queue/postfix-queue FLAG_FILTER";

#[test]
fn lines_of_perl_configurations_can_be_loaded() {
    for line in PERL_LINES.lines().map(str::trim).filter(|line| is_at_home(line)) {
        let found = Trial::load(line, &FILES);
        assert!(found.is_ok(), "{line}: {}", found.err().unwrap());
    }
}
