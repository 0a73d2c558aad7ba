//! What is counted, for Prometheus: its text format, version 0.0.4.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::prometheus_text::{CONTENT_TYPE, encode};
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use crate::metrics::{BOUNDS, Kind, Series, TABLE};

/// The type of what [`text`] returns.
pub(super) const TYPE: &str = CONTENT_TYPE;

/// All series as Prometheus reads them.
pub(super) fn text(series: Vec<Series>) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(All(series)));
    let mut text = String::new();
    // Writing to a text does not fail.
    let _ = encode(&mut text, &registry);
    text
}

#[derive(Debug)]
struct All(Vec<Series>);

impl Collector for All {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        for row in &TABLE {
            let mut own = self.0.iter().filter(|series| series.metric == row.metric).peekable();
            if own.peek().is_none() {
                continue;
            }
            let kind = match row.kind {
                Kind::Counter => MetricType::Counter,
                Kind::Gauge => MetricType::Gauge,
                Kind::Seconds => MetricType::Histogram,
            };
            let mut metric = encoder.encode_descriptor(row.name, row.help, None, kind)?;
            for series in own {
                let names = row.labels.iter().copied();
                let labels: Vec<(&str, &str)> =
                    names.zip(series.labels.iter().map(String::as_str)).collect();
                match labels.is_empty() {
                    true => one(&mut metric, row.kind, series)?,
                    false => one(&mut metric.encode_family(&labels)?, row.kind, series)?,
                }
            }
        }
        Ok(())
    }
}

fn one(metric: &mut MetricEncoder<'_>, kind: Kind, series: &Series) -> Result<(), fmt::Error> {
    match kind {
        Kind::Counter => metric.encode_counter::<NoLabelSet, u64, u64>(&series.values[0], None),
        Kind::Gauge => metric.encode_gauge(&(series.values[0] as i64)),
        Kind::Seconds => {
            let (counts, sum) = series.values.split_at(BOUNDS.len() + 1);
            // What took longer than the last bound is in the count only.
            let bounds = BOUNDS.iter().copied();
            let buckets: Vec<(f64, u64)> = bounds.zip(counts.iter().copied()).collect();
            let sum = sum.first().map_or(0.0, |sum| *sum as f64 / 1e9);
            metric.encode_histogram::<NoLabelSet>(sum, counts.iter().sum(), &buckets, None)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Board, Metric, add, keep, observe};
    use std::time::Duration;

    #[test]
    fn the_text_has_every_series() {
        let board = Board::new(1).unwrap();
        keep(board.row(0));
        add(Metric::Connections, &[], 3);
        add(Metric::Refusals, &["rcpt", "a\"b\\c", "5xx"], 2);
        observe(Metric::OutsideSeconds, &["dns"], Duration::from_millis(2));
        observe(Metric::OutsideSeconds, &["dns"], Duration::from_secs(100));
        keep(None);
        let text = text(board.read());
        for line in [
            "# HELP qpsmtpd_connections_total Clients that were accepted",
            "# TYPE qpsmtpd_connections_total counter",
            "qpsmtpd_connections_total 3",
            r#"qpsmtpd_refusals_total{hook="rcpt",plugin="a\"b\\c",class="5xx"} 2"#,
            "# TYPE qpsmtpd_outside_seconds histogram",
            r#"qpsmtpd_outside_seconds_bucket{call="dns",le="0.001"} 0"#,
            r#"qpsmtpd_outside_seconds_bucket{call="dns",le="30"} 1"#,
            r#"qpsmtpd_outside_seconds_bucket{call="dns",le="+Inf"} 2"#,
            r#"qpsmtpd_outside_seconds_sum{call="dns"} 100.002"#,
            r#"qpsmtpd_outside_seconds_count{call="dns"} 2"#,
        ] {
            assert!(text.lines().any(|known| known == line), "{line}\n{text}");
        }
    }
}
