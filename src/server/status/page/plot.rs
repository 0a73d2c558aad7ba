//! Curves of the last hour as SVG, which needs no script.

use std::fmt::Write;

const WIDTH: f64 = 560.0;
const HEIGHT: f64 = 150.0;
/// Where the curves are: room is left for what stands at the axes.
const LEFT: f64 = 44.0;
const RIGHT: f64 = 550.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 124.0;
const HOUR: u64 = 3600;

/// A curve: its class in the style sheet, and its points, each a time in seconds and a value.
pub(super) struct Curve {
    pub(super) class: &'static str,
    pub(super) points: Vec<(u64, f64)>,
}

/// A picture of the hour up to `now`; `title` says in words what it shows.
pub(super) fn plot(title: &str, now: u64, curves: &[Curve]) -> String {
    let begin = now.saturating_sub(HOUR);
    let values = curves.iter().flat_map(|curve| curve.points.iter().map(|point| point.1));
    let top = nice(values.fold(0.0, f64::max));
    let x = |time: u64| {
        let part = time.saturating_sub(begin) as f64 / HOUR as f64;
        LEFT + part.min(1.0) * (RIGHT - LEFT)
    };
    let y = |value: f64| BOTTOM - value / top * (BOTTOM - TOP);
    let mut svg = format!(
        r#"<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{title}"><title>{title}</title>"#
    );
    for part in [0.0, 0.5, 1.0] {
        let (at, value) = (y(top * part), top * part);
        let label = if value.fract() == 0.0 { format!("{value}") } else { format!("{value:.1}") };
        let text = at + 4.0;
        let _ = write!(
            svg,
            r#"<path class="grid" d="M{LEFT} {at:.1}H{RIGHT}"/><text x="36" y="{text:.1}" text-anchor="end">{label}</text>"#
        );
    }
    for (minutes, anchor) in
        [(60, "start"), (45, "middle"), (30, "middle"), (15, "middle"), (0, "end")]
    {
        let at = x(now.saturating_sub(minutes * 60));
        let label = if minutes == 0 { "now".into() } else { format!("−{minutes} min") };
        // There is no room for all of them on a narrow screen.
        let class = if minutes % 30 == 15 { "between" } else { "hour" };
        let text = format_args!(r#"y="146" text-anchor="{anchor}">{label}</text>"#);
        let _ = write!(svg, r#"<text class="{class}" x="{at:.1}" {text}"#);
    }
    for Curve { class, points } in curves {
        let seen: Vec<_> = points.iter().filter(|point| point.0 >= begin).collect();
        let (Some((first, _)), Some((last, _))) = (seen.first(), seen.last()) else { continue };
        let pairs: Vec<String> =
            seen.iter().map(|(time, value)| format!("{:.1} {:.1}", x(*time), y(*value))).collect();
        let line = pairs.join("L");
        if *class == "curve" {
            let (first, last) = (x(*first), x(*last));
            let _ = write!(
                svg,
                r#"<path class="area" d="M{first:.1} {BOTTOM}L{line}L{last:.1} {BOTTOM}Z"/>"#
            );
        }
        let _ = write!(svg, r#"<path class="{class}" d="M{line}"/>"#);
    }
    svg + "</svg>"
}

/// A round number that is not less, for the end of an axis.
fn nice(most: f64) -> f64 {
    let mut unit = 1.0;
    loop {
        for step in [1.0, 2.0, 4.0, 5.0, 6.0, 8.0] {
            if step * unit >= most {
                return step * unit;
            }
        }
        unit *= 10.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_end_at_round_numbers() {
        for (most, want) in
            [(0.0, 1.0), (1.0, 1.0), (3.0, 4.0), (9.0, 10.0), (11.0, 20.0), (730.0, 800.0)]
        {
            assert_eq!(nice(most), want);
        }
    }

    #[test]
    fn a_curve_without_points_is_not_drawn() {
        let curve = |points| [Curve { class: "curve", points }];
        let svg = plot("busy", 10_000, &curve(vec![(10_000 - 7200, 1.0)]));
        assert!(!svg.contains("class=\"curve\""), "{svg}");
        let svg = plot("busy", 10_000, &curve(vec![(8200, 1.0), (10_000, 0.0)]));
        assert!(svg.contains(r#"<path class="curve" d="M297.0 12.0L550.0 124.0"/>"#), "{svg}");
    }
}
