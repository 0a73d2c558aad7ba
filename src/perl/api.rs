//! What a Perl plugin's file asks of qpsmtpd, as far as its text shows that.

use std::path::Path;
use std::sync::LazyLock;

use regex::Regex;

use crate::perl::source::code_of;

/// What of Perl qpsmtpd's inner life a plugin's file calls that is not here, each once.  What it defines
/// itself is not meant.
pub fn lacking(file: &Path) -> Vec<String> {
    static LACKING: LazyLock<Regex> = LazyLock::new(|| {
        let methods = "hook_responder|run_continuation|start_conversation|start_connection|read_input|\
            dispatch|conn_info_\\w+|auth_load_mechanisms|_load_package_plugin|\
            (?:auth_parse|connect|data|data_post|ehlo|helo|help|mail|mail_parse|mail_pre|noop|queue|\
            queue_post|queue_pre|quit|rcpt|rcpt_parse|rcpt_pre|unrecognized_command|vrfy)_respond";
        let modules = "Qpsmtpd::(?:Auth::(?:SASL|get_\\w+)|PollServer|ConfigServer|TcpServer::Prefork|\
            SMTP::Prefork)|Apache::Qpsmtpd";
        Regex::new(&format!(r"->\s*({methods})\b|\b({modules})\b")).expect("a constant, and tested")
    });
    let Ok(text) = std::fs::read(file) else { return vec![] };
    let code = code_of(&String::from_utf8_lossy(&text));
    let mut found: Vec<String> = vec![];
    for call in LACKING.captures_iter(&code) {
        let Some(name) = call.get(1).or(call.get(2)).map(|name| name.as_str()) else { continue };
        let is_own = code.contains(&format!("sub {name}"));
        if !is_own && !found.iter().any(|known| known == name) {
            found.push(name.to_owned());
        }
    }
    found
}

/// The names of configuration files that stand in a plugin's file.
pub fn config_files(file: &Path) -> Vec<String> {
    static READS: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r#"\bconfig\s*\(\s*['"]([\w./-]+)['"]"#).expect("a constant, and tested")
    });
    let Ok(text) = std::fs::read(file) else { return vec![] };
    let text = String::from_utf8_lossy(&text);
    READS.captures_iter(&text).map(|found| found[1].to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_of_what_is_not_here_are_found() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for (source, names) in [
            (
                "$self->qp->run_continuation($r); $self->qp->run_continuation($r);",
                "run_continuation",
            ),
            ("return $qp->rcpt_respond(DENY, 'no');", "rcpt_respond"),
            ("Qpsmtpd::Auth::SASL($qp, 'plain');", "Qpsmtpd::Auth::SASL"),
            ("# $qp->dispatch\nmy $x = '->dispatch';", ""),
            ("sub dispatch { }\n$self->dispatch(1);", ""),
            ("$self->qp->respond(250, 'ok'); $self->qp->run_hooks('x');", ""),
        ] {
            std::fs::write(&file, source).unwrap();
            assert_eq!(lacking(file.path()).join(" "), names, "{source}");
        }
        assert!(lacking(Path::new("/nowhere")).is_empty());
    }

    #[test]
    fn files_of_the_configuration_are_found() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let source =
            "my @a = $self->qp->config('our_users');\nmy $b = config(\"limit\"); config($x);";
        std::fs::write(&file, source).unwrap();
        assert_eq!(config_files(file.path()), ["our_users", "limit"]);
    }
}
