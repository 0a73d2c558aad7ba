//! What is counted of handlers and their answers.

use std::time::Duration;

use crate::hook::verdict::Decision;
use crate::hook::{Code, Hook};
use crate::metrics::{Metric, add, observe};

/// Who refuses where no plugin does.
pub(crate) const CORE: &str = "core";

/// A handler has taken so long.
pub(super) fn time(hook: Hook, plugin: &str, time: Duration) {
    observe(Metric::HookSeconds, &[hook.name(), plugin], time);
}

/// A handler has decided something.
pub(super) fn decision(hook: Hook, plugin: &str, decision: &Decision) {
    if hook == Hook::Queue {
        add(Metric::Queue, &[plugin, queued(decision)], 1);
    }
    if let Some(class) = class(decision) {
        add(Metric::Refusals, &[hook.name(), plugin, class], 1);
    }
}

/// How a refusal is called; None: it is none.
fn class(decision: &Decision) -> Option<&'static str> {
    let Ok(verdict) = decision else { return Some("failure") };
    match verdict.code() {
        Code::Deny => Some("5xx"),
        Code::DenySoft => Some("4xx"),
        Code::DenyDisconnect => Some("5xx-disconnect"),
        Code::DenySoftDisconnect => Some("4xx-disconnect"),
        Code::Declined | Code::Ok | Code::Done => None,
    }
}

/// What a plugin that queues has done with a message.
fn queued(decision: &Decision) -> &'static str {
    let Ok(verdict) = decision else { return "failure" };
    match verdict.code() {
        Code::Ok | Code::Done => "queued",
        Code::Declined => "declined",
        Code::DenySoft | Code::DenySoftDisconnect => "deferred",
        Code::Deny | Code::DenyDisconnect => "refused",
    }
}

#[cfg(test)]
mod tests {
    use crate::error::Result;
    use crate::hook::{Args, Call, DECLINED, Hook, Hooks, OK, Verdict};
    use crate::metrics::{Board, Kind, TABLE, keep};
    use crate::testing::Trial;

    /// What is counted of `done`, a line each; of durations, how many there were.
    fn counted(done: impl FnOnce()) -> Vec<String> {
        let board = Board::new(1).unwrap();
        keep(board.row(0));
        done();
        keep(None);
        let lines = board.read().into_iter().map(|series| {
            let row = &TABLE[series.metric as usize];
            let count = match row.kind {
                Kind::Seconds => series.values[..series.values.len() - 1].iter().sum(),
                Kind::Counter | Kind::Gauge => series.values[0],
            };
            let name = row.name.strip_prefix("qpsmtpd_").unwrap();
            format!("{name} {} {count}", series.labels.join(" "))
        });
        lines.collect()
    }

    fn of_all_kinds(hooks: &mut Hooks, _args: &Args) -> Result<()> {
        hooks.rcpt(|_, recipient, _| match recipient.user() {
            "never" => Ok(Verdict::deny("no")),
            "later" => Ok(Verdict::denysoft("not now")),
            "leaves" => Ok(Verdict::deny_disconnect("no")),
            "breaks" => Err("no"),
            _ => Ok(DECLINED),
        });
        hooks.queue(|session| match session.transaction.sender() {
            None => DECLINED,
            Some(_) => OK,
        });
        Ok(())
    }

    #[test]
    fn refusals_and_queues_are_counted_by_who_decided() {
        let found = counted(|| {
            let mut trial = Trial::with(of_all_kinds, "", &[]);
            for user in ["never", "never", "later", "leaves", "breaks", "nobody"] {
                trial.rcpt(&format!("<{user}@example.com>"));
            }
            trial.plain(Hook::Queue);
            trial.mail("<a@example.com>");
            trial.plain(Hook::Queue);
        });
        let want = [
            "refusals rcpt trial 4xx 1",
            "refusals rcpt trial 5xx 2",
            "refusals rcpt trial 5xx-disconnect 1",
            "refusals rcpt trial failure 1",
            "queue trial declined 1",
            "queue trial queued 1",
            "hook_seconds queue trial 2",
            "hook_seconds rcpt trial 6",
        ];
        assert_eq!(found, want);
    }

    fn asks_outside(hooks: &mut Hooks, args: &Args) -> Result<()> {
        let is_well = args.flag("well", true)?;
        hooks.connect(move |session| {
            session.outside("friend", || if is_well { Ok(()) } else { Err("away") })?;
            session.outside_with("friend", |session| {
                session.connection.relay_client = true;
                Ok::<_, String>(OK)
            })
        });
        Ok(())
    }

    #[test]
    fn calls_to_others_are_counted_and_logged() {
        for (args, want, log) in [
            ("", "outside_calls friend ok 2", "trial: friend: ok after "),
            ("well no", "outside_calls friend failed 1", "trial: friend: failed after "),
        ] {
            let found = counted(|| {
                let mut trial = Trial::with(asks_outside, args, &[("loglevel", "LOGDEBUG")]);
                trial.call(Hook::Connect, &Call::Nothing);
                assert!(trial.log().contains(log), "{}", trial.log());
            });
            assert!(found.iter().any(|line| line == want), "{found:?}");
        }
    }

    /// What the core asks others about is counted without a plugin's doing.
    #[test]
    fn the_store_and_the_domain_name_system_are_counted() {
        use crate::dns::Dns as _;
        fn asks(hooks: &mut Hooks, _args: &Args) -> Result<()> {
            hooks.connect(|session| {
                let _ = session.store("t").get::<String>("k")?;
                let name = crate::dns::Question::new("example.com", crate::dns::Kind::A);
                let _ = session.dns().ask(std::slice::from_ref(&name));
                let _ = session.dns().ask(&[name]);
                Ok::<_, crate::store::Unavailable>(DECLINED)
            });
            Ok(())
        }
        let found = counted(|| {
            Trial::with(asks, "", &[]).plain(Hook::Connect);
        });
        for want in ["outside_calls dns ok 1", "dns_answers nothing 1", "outside_calls store ok 1"]
        {
            assert!(found.iter().any(|line| line == want), "{want}: {found:?}");
        }
    }
}
