//! THE table of metrics.

use super::buckets;

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum Metric {
    Connections,
    Sessions,
    SessionSeconds,
    Refusals,
    Replies,
    Messages,
    MessageOctets,
    Recipients,
    Queue,
    HookSeconds,
    Outside,
    OutsideSeconds,
    DnsAnswers,
    Auth,
    Tls,
    Workers,
    WorkersMost,
    WorkersStarted,
    WorkerFailures,
    Overload,
    Reloads,
    SeriesLost,
    StartTime,
    Info,
}

/// One row of the table of metrics.
#[derive(Debug)]
pub struct Row {
    /// The metric.
    pub metric: Metric,
    /// Its name as Prometheus has it, without what its kind adds at the end.
    pub name: &'static str,
    /// How it is counted.
    pub kind: Kind,
    /// By what it is counted: the names of the labels.
    pub labels: &'static [&'static str],
    /// A sentence about it, without the full stop.
    pub help: &'static str,
}

/// How something is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// How often ever.
    Counter,
    /// How much at the moment.
    Gauge,
    /// How often by how long it took, and how long all together.
    Seconds,
}

/// THE table of metrics.
pub const TABLE: [Row; 24] = [
    row(
        Metric::Connections,
        "qpsmtpd_connections",
        Kind::Counter,
        &[],
        "Clients that were accepted",
    ),
    row(
        Metric::Sessions,
        "qpsmtpd_sessions",
        Kind::Counter,
        &["protocol"],
        "Sessions that have begun, by protocol: smtp or lmtp",
    ),
    row(
        Metric::SessionSeconds,
        "qpsmtpd_session_seconds",
        Kind::Seconds,
        &[],
        "How long sessions lasted",
    ),
    row(
        Metric::Refusals,
        "qpsmtpd_refusals",
        Kind::Counter,
        &["hook", "plugin", "class"],
        "Refusals, by the plugin that decided; class: 4xx or 5xx, with -disconnect if the connection was closed, or failure if the plugin failed",
    ),
    row(
        Metric::Replies,
        "qpsmtpd_replies",
        Kind::Counter,
        &["class"],
        "Replies to clients, by the first digit of the code",
    ),
    row(
        Metric::Messages,
        "qpsmtpd_messages",
        Kind::Counter,
        &["result"],
        "Messages that have ended, by result: accepted, deferred or refused",
    ),
    row(
        Metric::MessageOctets,
        "qpsmtpd_message_octets",
        Kind::Counter,
        &[],
        "Octets of the messages that were accepted",
    ),
    row(
        Metric::Recipients,
        "qpsmtpd_recipients",
        Kind::Counter,
        &[],
        "Recipients of the messages that were accepted",
    ),
    row(
        Metric::Queue,
        "qpsmtpd_queue",
        Kind::Counter,
        &["plugin", "result"],
        "Answers of queue plugins: queued, deferred, refused, failure, or declined, so that the next plugin is asked",
    ),
    row(
        Metric::HookSeconds,
        "qpsmtpd_hook_seconds",
        Kind::Seconds,
        &["hook", "plugin"],
        "How long handlers took",
    ),
    row(
        Metric::Outside,
        "qpsmtpd_outside_calls",
        Kind::Counter,
        &["call", "result"],
        "Questions to other programs and servers, by their answer: ok, timeout, unreachable or failed",
    ),
    row(
        Metric::OutsideSeconds,
        "qpsmtpd_outside_seconds",
        Kind::Seconds,
        &["call"],
        "How long other programs and servers took",
    ),
    row(
        Metric::DnsAnswers,
        "qpsmtpd_dns_answers",
        Kind::Counter,
        &["result"],
        "Answers of the domain name system: found, nothing or failed",
    ),
    row(
        Metric::Auth,
        "qpsmtpd_authentications",
        Kind::Counter,
        &["result"],
        "Attempts to authenticate: ok, refused, or failed if no plugin could decide",
    ),
    row(
        Metric::Tls,
        "qpsmtpd_tls_handshakes",
        Kind::Counter,
        &["result"],
        "TLS handshakes with clients, by the version of TLS, or failed",
    ),
    row(
        Metric::Workers,
        "qpsmtpd_workers",
        Kind::Gauge,
        &["state"],
        "Processes for sessions: busy or waiting",
    ),
    row(
        Metric::WorkersMost,
        "qpsmtpd_workers_limit",
        Kind::Gauge,
        &[],
        "How many clients can be served at a time",
    ),
    row(
        Metric::WorkersStarted,
        "qpsmtpd_workers_started",
        Kind::Counter,
        &[],
        "Processes for sessions that were made",
    ),
    row(
        Metric::WorkerFailures,
        "qpsmtpd_worker_failures",
        Kind::Counter,
        &["reason"],
        "Processes that ended with a fault: overdue, signal, status, or fork if a process could not be made",
    ),
    row(
        Metric::Overload,
        "qpsmtpd_overload",
        Kind::Counter,
        &["event"],
        "Effects of too many clients: full, when new clients had to wait, and left, when a client was asked to leave",
    ),
    row(
        Metric::Reloads,
        "qpsmtpd_reloads",
        Kind::Counter,
        &["result"],
        "How often the configuration was read again: ok, or failed, when the old one stays",
    ),
    row(
        Metric::SeriesLost,
        "qpsmtpd_metrics_lost",
        Kind::Counter,
        &[],
        "Counts for which there was no room",
    ),
    row(
        Metric::StartTime,
        "qpsmtpd_start_time_seconds",
        Kind::Gauge,
        &[],
        "When the parent began, in seconds since 1970",
    ),
    row(Metric::Info, "qpsmtpd_info", Kind::Gauge, &["version"], "Which version runs; always 1"),
];

const fn row(
    metric: Metric,
    name: &'static str,
    kind: Kind,
    labels: &'static [&'static str],
    help: &'static str,
) -> Row {
    Row { metric, name, kind, labels, help }
}

impl Metric {
    /// Its row.
    pub fn row(self) -> &'static Row {
        &TABLE[self as usize]
    }

    /// How many cells each of its series has.
    pub(super) fn width(self) -> usize {
        match self.row().kind {
            Kind::Seconds => buckets::WIDTH,
            Kind::Counter | Kind::Gauge => 1,
        }
    }

    /// The metric of that number.
    pub(super) fn of(number: u64) -> Option<Metric> {
        TABLE.get(usize::try_from(number).ok()?).map(|row| row.metric)
    }
}

impl Row {
    /// The name that queries have: that of a counter ends in `_total`.
    pub fn full_name(&self) -> String {
        match self.kind {
            Kind::Counter => format!("{}_total", self.name),
            Kind::Gauge | Kind::Seconds => self.name.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_metrics() {
        for (index, row) in TABLE.iter().enumerate() {
            assert_eq!(row.metric as usize, index, "{}", row.name);
            assert_eq!(Metric::of(index as u64), Some(row.metric));
            let fits = |name: &str| name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
            assert!(fits(row.name) && row.labels.iter().all(|label| fits(label)), "{}", row.name);
            assert!(!row.help.ends_with('.'), "{}", row.name);
            assert_eq!(
                row.name.ends_with("_seconds"),
                row.kind == Kind::Seconds || row.metric == Metric::StartTime
            );
        }
        assert_eq!(Metric::of(TABLE.len() as u64), None);
    }
}
