//! ```text
//! NAME
//!     naughty - refuses clients that other plugins have marked
//!
//! SYNOPSIS
//!     naughty [reject connect|mail|rcpt|data|data_post] [reject_type TYPE]
//!
//! DESCRIPTION
//!     A plugin with the argument "reject naughty" does not refuse a client itself, but marks it.
//!     This plugin refuses all marked clients, in one place and at a moment of your choice, with
//!     the texts of the plugins that marked them.
//!
//!     A later moment gives the client time to authenticate, which removes the mark, and shows you
//!     more of the message.  An earlier moment costs less.
//!
//!     A client that may relay or is on a white list is not refused.
//!
//!     With "reject rcpt", place it before rcpt_ok.  A client that was not refused at the chosen
//!     moment is refused at data_post.
//!
//! ARGUMENTS
//!     reject       the hook at which to refuse: connect, mail, rcpt, data or data_post; rcpt by
//!                  default, data_post with "reject 1", as with the Perl plugin
//!     reject_type  perm, temp, disconnect or temp_disconnect; disconnect by default.  A reject_type
//!                  of the plugin that marked the client overrides it.
//!
//! NOTES
//!     naughty               on the connection: the text for the client
//!     naughty_reject_type   on the connection: what the plugin that marked it asks for
//! ```

use crate::error::Result;
use crate::hook::{
    Args, Code, DECLINED, Hook, Hooks, NAUGHTY, Session, Verdict, naughty_code, truth,
};
use crate::log::Level;

/// The moments at which a client can be refused.
const STAGES: [Hook; 5] = [Hook::Connect, Hook::Mail, Hook::Rcpt, Hook::Data, Hook::DataPost];

/// Registers the plugin; see its manual above.
pub fn register(hooks: &mut Hooks, args: &Args) -> Result<()> {
    hooks.reads_reject();
    args.at_most(0)?;
    let stage = match args.named("reject").and_then(truth) {
        Some(true) => Hook::DataPost,
        _ => args.one_of("reject", &STAGES.map(|hook| (hook.name(), hook)), Hook::Rcpt)?,
    };
    hooks.on(stage, |session, _call| refuse(session));
    if stage != Hook::DataPost {
        hooks.data_post(refuse);
    }
    Ok(())
}

fn refuse(session: &mut Session) -> Verdict {
    let Some(text) = session.connection.notes.get(NAUGHTY).filter(|text| !text.is_empty()) else {
        return session.pass("");
    };
    if session.is_immune() {
        return DECLINED;
    }
    session.log(Level::Info, "disconnecting");
    let default = session.get_reject_type(Code::DenyDisconnect);
    Verdict::new(naughty_code(session).unwrap_or(default), text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hook::{NAUGHTY_REJECT_TYPE, WHITELISTHOST};
    use crate::testing::Trial;

    fn marked(line: &str) -> Trial {
        let mut trial = Trial::new(line, &[]);
        trial.session.connection.notes.set(NAUGHTY, "go\naway".into());
        trial
    }

    #[test]
    fn a_marked_client_is_refused_at_the_stage_and_at_data_post() {
        for stage in STAGES {
            let mut trial = marked(&format!("naughty reject {}", stage.name().to_uppercase()));
            for hook in STAGES {
                let code = if hook == stage || hook == Hook::DataPost {
                    Code::DenyDisconnect
                } else {
                    Code::Declined
                };
                let verdict = trial.plain(hook);
                assert_eq!(verdict.code(), code, "{} at {}", stage.name(), hook.name());
                assert!(!verdict.code().is_deny() || verdict.text() == "go\naway");
            }
            assert!(trial.log().contains("naughty: disconnecting"));
        }
        assert_eq!(marked("naughty").rcpt("<b@example.com>").code(), Code::DenyDisconnect);
        let mut trial = marked("naughty reject 1");
        assert_eq!(trial.rcpt("<b@example.com>").code(), Code::Declined);
        assert_eq!(trial.plain(Hook::DataPost).code(), Code::DenyDisconnect);
    }

    #[test]
    fn others_pass() {
        let mut trial = Trial::new("naughty", &[]);
        assert_eq!(trial.rcpt("<b@example.com>").code(), Code::Declined);
        assert!(trial.log().contains("naughty: pass"));
        let mut trial = marked("naughty reject connect");
        trial.session.connection.notes.set(WHITELISTHOST, "1".into());
        for hook in STAGES {
            assert_eq!(trial.plain(hook).code(), Code::Declined);
        }
    }

    #[test]
    fn the_plugin_that_marked_it_says_how() {
        for (line, asked, code) in [
            ("naughty reject_type temp", None, Code::DenySoft),
            ("naughty reject_type perm", None, Code::Deny),
            ("naughty reject_type temp", Some("temp_disconnect"), Code::DenySoftDisconnect),
            ("naughty", Some("perm"), Code::Deny),
            ("naughty", Some("nonsense"), Code::DenyDisconnect),
        ] {
            let mut trial = marked(line);
            if let Some(word) = asked {
                trial.session.connection.notes.set(NAUGHTY_REJECT_TYPE, word.into());
            }
            assert_eq!(trial.rcpt("<b@example.com>").code(), code, "{line}, {asked:?}");
        }
    }

    #[test]
    fn it_works_with_a_plugin_that_marks() {
        let list = [("badmailfrom", "bad@example.net no, thank you")];
        let plugins = "badmailfrom reject naughty reject_type temp\nnaughty\n";
        let mut trial = Trial::new(plugins, &list);
        assert_eq!(trial.mail("<bad@example.net>").code(), Code::Declined);
        let verdict = trial.rcpt("<b@example.com>");
        assert_eq!((verdict.code(), verdict.text()), (Code::DenySoft, "no, thank you"));
    }

    #[test]
    fn an_unknown_stage_is_an_error() {
        let error = Trial::load("naughty reject queue_post", &[]).err().unwrap().to_string();
        assert!(error.contains("expected: connect, mail, rcpt, data, data_post"), "{error}");
        assert!(Trial::load("naughty at rcpt", &[]).is_err());
    }
}
