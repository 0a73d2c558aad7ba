//! What rspamd is told of where a message comes from.

use serde_json::{Value, json};

use crate::hook::Session;
use crate::origin::{dkim, dmarc, spf};
use crate::state::Results;

/// The most recipients that are told: rspamd takes headers of a limited size.
const MOST: usize = 1000;

/// What the arguments tell it.
pub(super) struct Facts {
    pub(super) settings_id: Option<String>,
    pub(super) mta_name: Option<String>,
    pub(super) mta_tag: Option<String>,
}

impl Facts {
    /// The fields of the request of a server that is called `me`.
    pub(super) fn fields(&self, session: &Session, me: &str) -> Vec<(&'static str, String)> {
        let (connection, transaction) = (&session.connection, &session.transaction);
        let mut fields = vec![("IP", connection.remote_ip.to_string())];
        let mut add = |name, value: Option<&str>| {
            fields
                .extend(value.filter(|value| !value.is_empty()).map(|value| (name, clean(value))));
        };
        add("Helo", Some(&connection.hello_host));
        // Only a name that leads back is one that rspamd may go by.
        let has_name = connection.remote_host() != "Unknown";
        add("Hostname", has_name.then(|| session.confirmed_host()).flatten().as_deref());
        let sender = transaction.sender().map_or_else(|| "<>".to_owned(), ToString::to_string);
        add("From", Some(&sender));
        for recipient in transaction.recipients().iter().take(MOST) {
            add("Rcpt", Some(&recipient.to_string()));
        }
        add("User", session.auth_user());
        add("Queue-Id", Some(&session.transaction_id()));
        add("MTA-Name", Some(self.mta_name.as_deref().unwrap_or(me)));
        add("MTA-Tag", self.mta_tag.as_deref());
        add("Settings-ID", self.settings_id.as_deref());
        if let Some(encryption) = &connection.encryption {
            add("TLS-Cipher", Some(&encryption.cipher));
            add("TLS-Version", Some(&encryption.protocol));
        }
        let results = results(&transaction.results);
        fields.extend(results.map(|(name, json)| (name, clean(&json.to_string()))));
        fields
    }
}

/// Our own results, as rspamd's module http_headers reads them; those that are not certain are left to
/// rspamd.
fn results(results: &Results) -> impl Iterator<Item = (&'static str, Value)> {
    let spf = results.spf_for_dmarc().and_then(|(_, outcome)| spf_word(outcome));
    let dkim = results.dkim.as_deref().map(|findings| {
        let signatures = findings.iter().filter_map(|finding| {
            let result = dkim_word(finding.outcome)?;
            Some(json!({"result": result, "domain": finding.domain}))
        });
        match signatures.collect::<Vec<_>>() {
            none if none.is_empty() => json!({"result": "na"}),
            signatures => json!({"results": signatures}),
        }
    });
    let dmarc = match &results.dmarc[..] {
        [finding] => dmarc_word(finding),
        _ => None,
    };
    let all = [
        ("SPF", spf.map(|result| json!({"result": result}))),
        ("DKIM", dkim),
        ("DMARC", dmarc.map(|result| json!({"result": result}))),
    ];
    all.into_iter().filter_map(|(name, json)| Some((name, json?)))
}

fn spf_word(outcome: spf::Outcome) -> Option<&'static str> {
    match outcome {
        spf::Outcome::None => Some("na"),
        spf::Outcome::Neutral => Some("neutral"),
        spf::Outcome::Pass => Some("pass"),
        spf::Outcome::Fail => Some("fail"),
        spf::Outcome::SoftFail => Some("softfail"),
        spf::Outcome::PermError => Some("permfail"),
        spf::Outcome::TempError => None,
    }
}

fn dkim_word(outcome: dkim::Outcome) -> Option<&'static str> {
    match outcome {
        dkim::Outcome::None => None,
        dkim::Outcome::Pass => Some("pass"),
        dkim::Outcome::Fail => Some("fail"),
        dkim::Outcome::TempError => Some("tempfail"),
        dkim::Outcome::Policy | dkim::Outcome::Neutral | dkim::Outcome::PermError => {
            Some("permfail")
        }
    }
}

fn dmarc_word(finding: &dmarc::Finding) -> Option<&'static str> {
    match finding.outcome {
        dmarc::Outcome::None => Some("na"),
        dmarc::Outcome::Pass => Some("pass"),
        dmarc::Outcome::TempError => None,
        dmarc::Outcome::Fail => Some(match finding.policy.name() {
            "reject" => "reject",
            "quarantine" => "quarantine",
            _ => "softfail",
        }),
    }
}

/// A value for one field: nothing that a stranger says ends it.
fn clean(value: &str) -> String {
    value.trim().replace(char::is_control, "?")
}
