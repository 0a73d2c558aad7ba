//! ```text
//! NAME
//!     template - has every hook once, to copy from
//!
//! SYNOPSIS
//!     template
//!
//! DESCRIPTION
//!     Shows for every hook when it runs, what it gets, and what its answers mean.  To write a
//!     plugin, copy this file, keep the hooks that you need, write the manual here, and add the
//!     plugin to the table in plugins/mod.rs.
//!
//!     Handlers of a hook run in the order of config/plugins until one answers something other than
//!     DECLINED.  For an answer without a text the hook's own text is used.  If a handler returns
//!     an error or panics, that is logged, and the client is told to try again later.
//!
//!     badsender in docs/plugins.md and the plugin badmailfrom show what many plugins have in
//!     common: lists in files, clients that are not tested, and refusals that the arguments reject
//!     and reject_type control.
//!
//! ARGUMENTS
//!     None.
//!
//! CONFIG
//!     None.
//!
//! SEE ALSO
//!     docs/plugins.md
//! ```

use crate::error::Result;
use crate::hook::{Args, DECLINED, Hooks, Parsed};
use crate::log::Level;

/// Registers the plugin; see its manual above.
///
/// It runs once, when the daemon starts, and an error stops it.  What it opens here is shared by
/// all processes.
pub fn register(hooks: &mut Hooks, args: &Args) -> Result<()> {
    args.at_most(0)?;
    logging_and_configuration(hooks);
    connections(hooks);
    authentication(hooks);
    envelopes(hooks);
    messages(hooks);
    other_commands(hooks);
    ends(hooks);
    results(hooks);
    Ok(())
}

fn logging_and_configuration(hooks: &mut Hooks) {
    // logging: a line of the log, no less important than the level, is written.  A handler cannot
    // write lines of its own.  OK keeps the line from the logging plugins that follow.
    hooks.logging(Level::Emerg, |_record| DECLINED);

    // config: somebody in a session asks for a configuration file.  Some gives its lines in the
    // file's stead.
    hooks.on_config(|_session, _name| None);

    // user_config: the same for one recipient; config is asked after it.
    hooks.user_config(|_session, _recipient, _name| None);
}

fn connections(hooks: &mut Hooks) {
    // post-fork: a worker process has begun; there is no session yet.  The place to connect to a
    // database.  The answer does not matter.
    hooks.post_fork(|_config| DECLINED);

    // pre-connection: in the parent, after accept, where nothing may wait.  DENY says 550 and
    // DENYSOFT 451, and the client gets no process.
    hooks.pre_connection(|_client| DECLINED);

    // connect: before the greeting.  DENY says 550 and DENYSOFT 450 instead of it, and the
    // connection is closed.
    hooks.connect(|_session| DECLINED);

    // ehlo_parse, helo_parse: with the argument of the command.  Some is the client's name.
    hooks.ehlo_parse(|_session, _argument| None);
    hooks.helo_parse(|_session, _argument| None);

    // ehlo, helo: with the client's name.  DENY says 550 and DENYSOFT 450; with _DISCONNECT the
    // connection is closed.
    hooks.ehlo(|_session, _host| DECLINED);
    hooks.helo(|_session, _host| DECLINED);
}

fn authentication(hooks: &mut Hooks) {
    // auth_parse: with the argument of AUTH.  Some is the mechanism, and the initial response
    // after a blank.
    hooks.auth_parse(|_session, _argument| None);

    // auth-attempt: with the user, before anybody looks at the password.  DENY says 535 and DENYSOFT
    // 454; with _DISCONNECT it is 535 and 421, and the connection is closed.
    hooks.auth_attempt(|_session, _user| DECLINED);

    // auth-plain, auth-login, auth-cram-md5: with what the client presented.  EHLO offers the
    // mechanisms that somebody has registered for.  OK says 235, and the client may relay; DENY
    // says 535 and ends the question; so does DECLINED by all.
    hooks.auth_plain(|_session, _credentials| DECLINED);
    hooks.auth_login(|_session, _credentials| DECLINED);
    hooks.auth_cram_md5(|_session, _credentials| DECLINED);

    // auth-scram-sha-256: `scram.password` or `scram.keys` says what is known of the user, and is
    // OK; the core finds out whether the client knows it, too.
    hooks.auth_scram_sha_256(|_session, _scram| DECLINED);

    // auth: the same for all mechanisms but SCRAM, after their own hooks have declined.
    hooks.auth(|_session, _credentials| DECLINED);

    // auth-failed: with the user, which is empty where the client has not said one.  The answer does
    // not matter.
    hooks.auth_failed(|_session, _user| DECLINED);
}

fn envelopes(hooks: &mut Hooks) {
    // mail_parse: with the argument of MAIL, `FROM:<a@b> SIZE=1`.  Path gives the path and the
    // parameters, Refused says 501.
    hooks.mail_parse(|_session, _argument| Parsed::Declined);

    // mail_pre: with the path as it was written.  Some is the path to take instead.
    hooks.mail_pre(|_session, _path| None);

    // mail: with the reverse-path and the parameters; it is not in the transaction yet.  DENY says
    // 550 and DENYSOFT 450; with _DISCONNECT it is 550 and 421, and the connection is closed.
    hooks.mail(|_session, _sender, _params| DECLINED);

    // rcpt_parse, rcpt_pre: as for MAIL.
    hooks.rcpt_parse(|_session, _argument| Parsed::Declined);
    hooks.rcpt_pre(|_session, _path| None);

    // rcpt: with the forward-path and the parameters.  OK says 250; DENY and DENYSOFT are as for
    // MAIL; DECLINED by all says 450, so somebody must decide.
    hooks.rcpt(|_session, _recipient, _params| DECLINED);
}

fn messages(hooks: &mut Hooks) {
    // data: before the client may send its message.  DENY says 554 and DENYSOFT 451, and the
    // transaction ends; with _DISCONNECT it is 554 and 421, and the connection is closed.
    hooks.data(|_session| DECLINED);

    // data_headers_end: the header section is in the transaction, the rest still comes.  Only
    // DENY_DISCONNECT, 554, and DENYSOFT_DISCONNECT, 421, have a meaning.
    hooks.data_headers_end(|_session| DECLINED);

    // received_line: with the parts of our Received line.  Some is the value of another one.
    hooks.received_line(|_session, _parts| None);

    // data_post_headers: the message is complete.  The place for what adds to the
    // Authentication-Results.  DENY says 552 and DENYSOFT 452; with _DISCONNECT the connection is
    // closed.
    hooks.data_post_headers(|_session| DECLINED);

    // data_post: the Authentication-Results are in the header.  The place for scanners; answers
    // are as for data_post_headers.
    hooks.data_post(|_session| DECLINED);

    // queue_pre: the message was accepted.  The last moment to change it; answers are as for
    // data_post_headers.
    hooks.queue_pre(|_session| DECLINED);

    // queue: to take the message.  OK says 250, and means that it is stored for good; DENY says
    // 552 and DENYSOFT 452; DECLINED by all says 451.
    hooks.queue(|_session| DECLINED);

    // queue_post: the client has its answer to the message, whatever it was.  Answers are only
    // logged.
    hooks.queue_post(|_session| DECLINED);
}

fn other_commands(hooks: &mut Hooks) {
    // vrfy: with the words of the argument.  OK says 250, DENY 554.
    hooks.vrfy(|_session, _words| DECLINED);

    // noop: with the words of the argument.  DENY says 500; with _DISCONNECT the connection is
    // closed.
    hooks.noop(|_session, _words| DECLINED);

    // help: with the words of the argument.  A text is the answer, 214, or 500 with DENY.
    hooks.help(|_session, _words| DECLINED);

    // unrecognized_command: with the command in lower case and the words of its argument.  DENY
    // says 500, and DENY_DISCONNECT 521 and closes the connection.  To add a command, answer with
    // session.respond and return DONE.
    hooks.unrecognized_command(|_session, _command, _words| DECLINED);
}

fn ends(hooks: &mut Hooks) {
    // reset_transaction: a transaction ends, for whatever reason; it can still be looked at.  The
    // answer does not matter, here and for what follows.
    hooks.reset_transaction(|_session| DECLINED);

    // quit: after QUIT.  A text replaces that of 221; DONE means that session.respond was used.
    hooks.quit(|_session| DECLINED);

    // disconnect: the server is about to close the connection.
    hooks.disconnect(|_session| DECLINED);

    // post-connection: the session is over, however it ended.
    hooks.post_connection(|_session| DECLINED);
}

fn results(hooks: &mut Hooks) {
    // deny: a handler refused something; with its plugin, hook and verdict.  OK keeps it from the
    // plugins that follow.
    hooks.deny(|_session, _result| DECLINED);

    // ok: a handler answered anything else, DECLINED for one.  As deny.
    hooks.ok(|_session, _result| DECLINED);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::hook::{Code, Hook, TABLE};
    use crate::testing::Trial;

    #[test]
    fn every_hook_is_there_once() {
        let mut hooks = Hooks::new(Config::new(vec![]), |_| None);
        register(&mut hooks, &Args::default()).unwrap();
        let registered: Vec<Hook> =
            hooks.registered().handlers.iter().map(|(hook, _)| *hook).collect();
        for row in &TABLE {
            let count = registered.iter().filter(|hook| **hook == row.hook).count();
            assert_eq!(count, 1, "how often plugins/template.rs has {}", row.name);
        }
    }

    #[test]
    fn it_loads_and_has_no_opinion() {
        let mut trial = Trial::with(register, "", &[]);
        for row in &TABLE {
            assert!(trial.session.plugins().has(row.hook), "{}", row.name);
        }
        assert_eq!(trial.plain(Hook::Connect).code(), Code::Declined);
        assert_eq!(trial.mail("<a@example.net>").code(), Code::Declined);
        assert_eq!(trial.rcpt("<b@example.com>").code(), Code::Declined);
        trial.message("Subject: x\n\nx\n");
        assert_eq!(trial.plain(Hook::Queue).code(), Code::Declined);
        assert_eq!(trial.pre_connection("192.0.2.1", &[], 0).code(), Code::Declined);
        assert_eq!(trial.session.config("rcpthosts").len(), 0);
    }
}
