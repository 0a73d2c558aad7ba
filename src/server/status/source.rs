//! What there is to show: read from the memory that all processes share, without asking any of them.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};

use super::history::{History, Sample};
use crate::metrics::{BOUNDS, Kind, Metric, Series, TABLE, remembered};
use crate::server::scoreboard::View;

/// Where all of it is.
#[derive(Debug, Clone)]
pub(super) struct Source {
    pub(super) view: View,
    pub(super) history: History,
    /// When the parent began, in seconds since 1970.
    pub(super) began: u64,
    /// The name of the server.
    pub(super) me: String,
    /// Who is asked at which hook: what `--list-hooks=json` says.
    pub(super) hooks: Value,
}

/// What is known at a moment.
pub(super) struct Snapshot {
    /// In seconds since 1970.
    pub(super) now: u64,
    pub(super) series: Vec<Series>,
    pub(super) clients: Vec<Client>,
    pub(super) busy: u64,
    pub(super) waiting: u64,
    pub(super) samples: Vec<Sample>,
    /// The last events, the newest first.
    pub(super) events: Vec<Value>,
}

/// A client that is connected.
pub(super) struct Client {
    pub(super) ip: String,
    pub(super) pid: u32,
    pub(super) seconds: u64,
    pub(super) does: String,
    pub(super) asks: String,
}

/// The times of one thing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Times {
    pub(super) count: u64,
    /// In seconds, all together.
    pub(super) sum: f64,
    /// So long, at most, took 95 of 100; None: longer than the last bucket.
    pub(super) most: Option<f64>,
}

impl Source {
    /// What is known now.
    pub(super) fn look(&self) -> Snapshot {
        let now = now();
        let workers = self.view.workers();
        let busy = workers.iter().filter(|worker| !worker.client.is_empty()).count() as u64;
        let waiting = workers.len() as u64 - busy;
        let mut clients: Vec<Client> = workers
            .into_iter()
            .filter(|worker| !worker.client.is_empty())
            .map(|worker| Client {
                seconds: now.saturating_sub(worker.since.as_secs()),
                ip: worker.client,
                pid: worker.pid,
                does: worker.does,
                asks: worker.asks,
            })
            .collect();
        clients.sort_by_key(|client| std::cmp::Reverse(client.seconds));
        let counts = self.view.counts;
        let mut series = counts.read();
        let gauge = |metric: Metric, labels: &[&str], value: u64| {
            let labels = labels.iter().map(|label| (*label).to_owned()).collect();
            Series { metric, labels, values: vec![value] }
        };
        series.extend([
            gauge(Metric::Workers, &["busy"], busy),
            gauge(Metric::Workers, &["waiting"], waiting),
            gauge(Metric::WorkersMost, &[], self.view.most() as u64),
            gauge(Metric::SeriesLost, &[], counts.lost()),
            gauge(Metric::StartTime, &[], self.began),
            gauge(Metric::Info, &[env!("CARGO_PKG_VERSION")], 1),
        ]);
        series.sort();
        let events = counts.recent().into_iter().rev();
        let events = events.filter_map(|text| remembered(&text)).collect();
        Snapshot { now, series, clients, busy, waiting, samples: self.history.read(), events }
    }

    /// Adds a sample to the history.
    pub(super) fn sample(&self) {
        let seen = self.look();
        self.history.add(&Sample {
            time: seen.now,
            connections: seen.sum(Metric::Connections, |_| true),
            accepted: seen.sum(Metric::Messages, |labels| labels[0] == "accepted"),
            refusals: seen.sum(Metric::Refusals, |_| true),
            busy: seen.busy,
        });
    }

    /// All of it as JSON.
    pub(super) fn json(&self) -> Value {
        let seen = self.look();
        let client = |client: &Client| {
            let Client { ip, pid, seconds, does, asks } = client;
            json!({"ip": ip, "pid": pid, "seconds": seconds, "does": does, "asks": asks})
        };
        let sample = |sample: &Sample| {
            let Sample { time, connections, accepted, refusals, busy } = sample;
            json!({"time": time, "connections": connections, "accepted": accepted,
                "refusals": refusals, "busy": busy})
        };
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "me": self.me,
            "began": self.began,
            "now": seen.now,
            "workers": {"busy": seen.busy, "waiting": seen.waiting, "limit": self.view.most()},
            "clients": seen.clients.iter().map(client).collect::<Vec<_>>(),
            "metrics": metrics(&seen.series),
            "history": seen.samples.iter().map(sample).collect::<Vec<_>>(),
            "events": seen.events,
            "hooks": self.hooks,
        })
    }
}

impl Snapshot {
    /// The counts of a metric, of those series whose labels are wanted, added up.
    pub(super) fn sum(&self, metric: Metric, wanted: impl Fn(&[String]) -> bool) -> u64 {
        let all = self.of(metric).filter(|series| wanted(&series.labels));
        all.map(|series| series.values[0]).sum()
    }

    /// The series of a metric.
    pub(super) fn of(&self, metric: Metric) -> impl Iterator<Item = &Series> {
        self.series.iter().filter(move |series| series.metric == metric)
    }
}

impl Times {
    /// What the buckets of a series say.
    pub(super) fn of(series: &Series) -> Times {
        let (buckets, sum) = series.values.split_at(BOUNDS.len() + 1);
        let count: u64 = buckets.iter().sum();
        let wanted = count - count / 20;
        let mut seen = 0;
        let place = buckets.iter().position(|bucket| {
            seen += bucket;
            seen >= wanted
        });
        let most = place.and_then(|place| BOUNDS.get(place)).copied();
        Times { count, sum: sum.first().map_or(0.0, |sum| *sum as f64 / 1e9), most }
    }

    /// How long one took, on average, in seconds.
    pub(super) fn mean(&self) -> f64 {
        if self.count == 0 { 0.0 } else { self.sum / self.count as f64 }
    }
}

/// By metric, its series with labels and values.
fn metrics(series: &[Series]) -> Value {
    let mut all = Map::new();
    for row in &TABLE {
        let own = series.iter().filter(|series| series.metric == row.metric);
        let own = own.map(|series| {
            let labels = row.labels.iter().map(|name| (*name).to_owned());
            let labels: Map<_, _> =
                labels.zip(series.labels.iter().cloned().map(Value::from)).collect();
            match row.kind {
                Kind::Seconds => {
                    let times = Times::of(series);
                    json!({"labels": labels, "count": times.count, "sum": times.sum,
                        "mean": times.mean(), "most": times.most})
                }
                Kind::Counter | Kind::Gauge => json!({"labels": labels, "value": series.values[0]}),
            }
        });
        all.insert(row.full_name(), own.collect());
    }
    Value::Object(all)
}

/// The time since 1970 in seconds.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_times_there_is_a_mean_and_what_most_took() {
        let mut values = vec![0; BOUNDS.len() + 2];
        (values[2], values[4], values[BOUNDS.len()]) = (90, 6, 4);
        *values.last_mut().unwrap() = 5_000_000_000;
        let series = Series { metric: Metric::OutsideSeconds, labels: vec!["dns".into()], values };
        let times = Times::of(&series);
        assert_eq!((times.count, times.sum, times.mean()), (100, 5.0, 0.05));
        assert_eq!(times.most, Some(0.025));
        let none = Series { values: vec![0; BOUNDS.len() + 2], ..series };
        assert_eq!(Times::of(&none).mean(), 0.0);
    }
}
