//! What the fuzz targets in `t/fuzz` do with any octets; a test runs the same over their corpus.  Each
//! function panics where something is wrong.

mod answers;
mod authentication_results;
mod config;
mod exchange;
mod filter;
mod input;
mod message;
mod milter;
mod origin;
mod session;
mod syntax;

/// What one target does with its input.
pub type Run = fn(&[u8]);

/// THE table of targets: the name of each, which is that of its file and of its corpus, and what it
/// does.
pub const TARGETS: [(&str, Run); 27] = [
    ("address", syntax::address),
    ("auth", session::auth),
    ("bdat", session::bdat),
    ("command", syntax::command),
    ("config", config::config),
    ("dane", exchange::dane),
    ("dkim", origin::dkim),
    ("dmarc", origin::dmarc),
    ("dns", origin::dns),
    ("dots", message::dots),
    ("filter", filter::filter),
    ("header", syntax::header),
    ("line", session::line),
    ("message", message::message),
    ("milter", milter::answers),
    ("mta_sts", exchange::mta_sts),
    ("p0f", crate::plugins::ident::p0f::read_answer),
    ("perl", answers::perl),
    ("proxy", syntax::proxy),
    ("qmail_deliverable", crate::plugins::qmail_deliverable::read_answer),
    ("results", origin::results),
    ("rspamd", answers::rspamd),
    ("scram", syntax::scram),
    ("session", session::session),
    ("smtproutes", exchange::smtproutes),
    ("spf", origin::spf),
    ("text", origin::parts),
];

/// Does what the target of that name does.
pub fn run(name: &str, input: &[u8]) {
    let target = TARGETS.iter().find(|target| target.0 == name).expect("it is in the table");
    target.1(input);
}
