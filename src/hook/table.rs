//! THE table of hooks.

/// One row of the hook table.
#[derive(Debug)]
pub struct Row {
    /// The hook.
    pub hook: Hook,
    /// Its name in qpsmtpd.
    pub name: &'static str,
    /// What a handler is given besides the session.
    pub arguments: &'static str,
    /// When it runs.
    pub when: &'static str,
}

/// Every hook that a plugin can register for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum Hook {
    Logging,
    Config,
    UserConfig,
    PostFork,
    PreConnection,
    Connect,
    EhloParse,
    Ehlo,
    HeloParse,
    Helo,
    AuthParse,
    AuthAttempt,
    Auth,
    AuthPlain,
    AuthLogin,
    AuthCramMd5,
    AuthScramSha256,
    AuthFailed,
    MailParse,
    MailPre,
    Mail,
    RcptParse,
    RcptPre,
    Rcpt,
    Data,
    DataHeadersEnd,
    ReceivedLine,
    DataPostHeaders,
    DataPost,
    QueuePre,
    Queue,
    QueuePost,
    Vrfy,
    Noop,
    Help,
    UnrecognizedCommand,
    ResetTransaction,
    Quit,
    Disconnect,
    PostConnection,
    Deny,
    Ok,
}

/// THE hook table, in the order in which a session meets them.
pub const TABLE: [Row; 42] = [
    row(Hook::Logging, "logging", "the log record", "a log line is written"),
    row(Hook::Config, "config", "the file's name", "a configuration file is asked for"),
    row(
        Hook::UserConfig,
        "user_config",
        "address, the file's name",
        "a recipient's own file is asked for",
    ),
    row(Hook::PostFork, "post-fork", "nothing", "a worker process has begun"),
    row(Hook::PreConnection, "pre-connection", "the client", "in the parent, after accept"),
    row(Hook::Connect, "connect", "nothing", "before the greeting"),
    row(Hook::EhloParse, "ehlo_parse", "the argument", "before the built-in parser of EHLO"),
    row(Hook::Ehlo, "ehlo", "the client's name", "after EHLO"),
    row(Hook::HeloParse, "helo_parse", "the argument", "before the built-in parser of HELO"),
    row(Hook::Helo, "helo", "the client's name", "after HELO"),
    row(Hook::AuthParse, "auth_parse", "the argument", "before the built-in parser of AUTH"),
    row(Hook::AuthAttempt, "auth-attempt", "the user", "AUTH, before anybody is asked"),
    row(Hook::Auth, "auth", "the credentials", "AUTH, when no mechanism's own hook decided"),
    row(Hook::AuthPlain, "auth-plain", "the credentials", "AUTH PLAIN"),
    row(Hook::AuthLogin, "auth-login", "the credentials", "AUTH LOGIN"),
    row(Hook::AuthCramMd5, "auth-cram-md5", "the credentials", "AUTH CRAM-MD5"),
    row(Hook::AuthScramSha256, "auth-scram-sha-256", "the user", "AUTH SCRAM-SHA-256, -PLUS"),
    row(Hook::AuthFailed, "auth-failed", "the user", "AUTH did not succeed"),
    row(Hook::MailParse, "mail_parse", "the argument", "before the built-in parser of MAIL"),
    row(Hook::MailPre, "mail_pre", "the path as text, parameters", "to rewrite a reverse-path"),
    row(Hook::Mail, "mail", "the reverse-path, parameters", "after MAIL"),
    row(Hook::RcptParse, "rcpt_parse", "the argument", "before the built-in parser of RCPT"),
    row(Hook::RcptPre, "rcpt_pre", "the path as text, parameters", "to rewrite a forward-path"),
    row(Hook::Rcpt, "rcpt", "the forward-path, parameters", "after RCPT; somebody must decide"),
    row(Hook::Data, "data", "nothing", "after DATA, before 354"),
    row(Hook::DataHeadersEnd, "data_headers_end", "nothing", "when the header section is complete"),
    row(Hook::ReceivedLine, "received_line", "its parts", "to replace our Received line"),
    row(Hook::DataPostHeaders, "data_post_headers", "nothing", "the message is complete"),
    row(Hook::DataPost, "data_post", "nothing", "the message has its authentication results"),
    row(Hook::QueuePre, "queue_pre", "nothing", "before the message is queued"),
    row(Hook::Queue, "queue", "nothing", "to take responsibility for the message"),
    row(Hook::QueuePost, "queue_post", "nothing", "after the message was queued or not"),
    row(Hook::Vrfy, "vrfy", "the argument's words", "after VRFY"),
    row(Hook::Noop, "noop", "the argument's words", "after NOOP"),
    row(Hook::Help, "help", "the argument's words", "after HELP"),
    row(
        Hook::UnrecognizedCommand,
        "unrecognized_command",
        "the command, the argument's words",
        "after a command that the core does not know",
    ),
    row(Hook::ResetTransaction, "reset_transaction", "nothing", "a transaction ends"),
    row(Hook::Quit, "quit", "nothing", "after QUIT"),
    row(Hook::Disconnect, "disconnect", "nothing", "before the server closes the connection"),
    row(
        Hook::PostConnection,
        "post-connection",
        "nothing",
        "the session is over, however it ended",
    ),
    row(Hook::Deny, "deny", "plugin, hook, verdict", "a handler refused something"),
    row(Hook::Ok, "ok", "plugin, hook, verdict", "a handler did not refuse something"),
];

const fn row(hook: Hook, name: &'static str, arguments: &'static str, when: &'static str) -> Row {
    Row { hook, name, arguments, when }
}

impl Hook {
    /// The hook's name in qpsmtpd.
    pub fn name(self) -> &'static str {
        TABLE[self as usize].name
    }

    /// The hook of that name.  `-` and `_` are the same here, as they are in Perl plugins'
    /// method names.
    pub fn from_name(name: &str) -> Option<Hook> {
        let fold = |text: &str| text.replace('-', "_");
        TABLE.iter().find(|row| fold(row.name) == fold(name)).map(|row| row.hook)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_hooks() {
        for (index, row) in TABLE.iter().enumerate() {
            assert_eq!(row.hook as usize, index, "{}", row.name);
            assert_eq!(Hook::from_name(row.name), Some(row.hook));
        }
        assert_eq!(Hook::Ok as usize + 1, TABLE.len());
        assert_eq!(Hook::from_name("auth_cram_md5"), Some(Hook::AuthCramMd5));
        assert_eq!(Hook::from_name("auth_scram_sha_256"), Some(Hook::AuthScramSha256));
        assert_eq!(Hook::from_name("no_such_hook"), None);
    }

    #[test]
    fn the_guide_has_a_heading_for_every_hook() {
        let guide = include_str!("../../docs/plugins.md");
        // What is between fences is code, where a number sign is no heading.
        let prose = guide.split("\n```").step_by(2).collect::<String>();
        let headings: String = prose.lines().filter(|line| line.starts_with('#')).collect();
        for row in &TABLE {
            let name = format!("`{}`", row.name);
            assert!(headings.contains(&name), "docs/plugins.md does not explain {name}");
        }
    }
}
