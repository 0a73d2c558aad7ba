//! A report as a page of its own: no outside resource, no script.

use std::fmt::Write;

use super::summary::{Plot, Summary, Table};

/// The size of a plot in its own units, and where its bars stand.
const WIDTH: usize = 720;
const HEIGHT: usize = 220;
const LEFT: usize = 56;
const BOTTOM: usize = 186;
const TOP: usize = 12;

/// The most names below the bars.
const NAMES: usize = 6;

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1c2126;--dim:#5c6670;--line:#d8dde2;--paper:#fff;\
--c0:#2f7d5b;--c1:#c98a1b;--c2:#b3433b}\
@media(prefers-color-scheme:dark){:root{--ink:#e6e9ec;--dim:#98a2ac;--line:#343b42;--paper:#15191d;\
--c0:#4fb286;--c1:#e0ab4a;--c2:#e0736b}}\
body{margin:0 auto;padding:1.5rem 1rem 3rem;max-width:60rem;background:var(--paper);color:var(--ink);\
font:15px/1.5 system-ui,sans-serif}\
h1{font-size:1.4rem;margin:0}h2{font-size:1.05rem;margin:2rem 0 .5rem}\
.dim{color:var(--dim);margin:.2rem 0 1.5rem}\
dl{display:grid;grid-template-columns:repeat(auto-fill,minmax(13rem,1fr));gap:.75rem 1.5rem;margin:0}\
dl div{border-top:1px solid var(--line);padding-top:.4rem}\
dt{color:var(--dim);font-size:.85rem}dd{margin:0;font-size:1.15rem;font-variant-numeric:tabular-nums}\
.wide{overflow-x:auto}table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}\
th,td{text-align:right;padding:.25rem .5rem;border-bottom:1px solid var(--line);white-space:nowrap}\
th{color:var(--dim);font-weight:500;font-size:.85rem}\
th:first-child,td:first-child{text-align:left;white-space:pre-wrap;overflow-wrap:anywhere;padding-left:0}\
svg{width:100%;height:auto}svg text{fill:var(--dim);font:11px system-ui,sans-serif}\
.grid{stroke:var(--line)}.p0{fill:var(--c0)}.p1{fill:var(--c1)}.p2{fill:var(--c2)}\
.key{display:inline-block;width:.7em;height:.7em;margin:0 .35em 0 1em;border-radius:2px}\
.key.p0{background:var(--c0)}.key.p1{background:var(--c1)}.key.p2{background:var(--c2)}";

pub(super) fn render(summary: &Summary) -> String {
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <title>qpsmtpd report</title><style>{STYLE}</style></head><body>\n\
         <h1>Mail at the front door</h1>\n<p class=\"dim\">{} to {}</p>\n<dl>\n",
        escaped(&summary.from),
        escaped(&summary.to),
    );
    for (name, value) in &summary.figures {
        let _ = writeln!(page, "<div><dt>{name}</dt><dd>{}</dd></div>", escaped(value));
    }
    page.push_str("</dl>\n");
    for plot in &summary.plots {
        add_plot(&mut page, plot);
    }
    for table in &summary.tables {
        add_table(&mut page, table);
    }
    page.push_str("</body></html>\n");
    page
}

fn add_table(page: &mut String, table: &Table) {
    let _ = write!(page, "<h2>{}</h2>\n<div class=\"wide\"><table><thead><tr>", table.title);
    for name in table.head {
        let _ = write!(page, "<th scope=\"col\">{name}</th>");
    }
    page.push_str("</tr></thead><tbody>\n");
    for row in &table.rows {
        page.push_str("<tr>");
        for cell in row {
            let _ = write!(page, "<td>{}</td>", escaped(cell));
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</tbody></table></div>\n");
}

fn add_plot(page: &mut String, plot: &Plot) {
    let most = plot.bars.iter().map(|(_, parts)| parts.iter().sum()).max().unwrap_or(0);
    if most == 0 {
        return;
    }
    let top = round_up(most);
    let _ = write!(page, "<h2>{}", plot.title);
    if plot.parts.len() > 1 {
        for (n, part) in plot.parts.iter().enumerate() {
            let _ = write!(page, "<span class=\"key p{n}\"></span>{part}");
        }
    }
    let _ = writeln!(
        page,
        "</h2>\n<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}, at most {most}\">",
        plot.title
    );
    for share in [0, 1, 2] {
        let y = BOTTOM - (BOTTOM - TOP) * share / 2;
        let value = top * share as u64 / 2;
        let _ = writeln!(
            page,
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{WIDTH}\" y1=\"{y}\" y2=\"{y}\"/>\
             <text x=\"{}\" y=\"{}\" text-anchor=\"end\">{value}</text>",
            LEFT - 6,
            y + 4
        );
    }
    let step = (WIDTH - LEFT) as f64 / plot.bars.len() as f64;
    let every = plot.bars.len().div_ceil(NAMES);
    for (n, (name, parts)) in plot.bars.iter().enumerate() {
        let x = LEFT as f64 + step * n as f64;
        add_bar(page, plot, x + step * 0.1, step * 0.8, name, parts, top);
        if n % every == 0 {
            let _ = writeln!(
                page,
                "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
                x + step / 2.0,
                BOTTOM + 18,
                escaped(name)
            );
        }
    }
    page.push_str("</svg>\n");
}

/// A bar, whose parts stand on one another.
fn add_bar(
    page: &mut String,
    plot: &Plot,
    x: f64,
    width: f64,
    name: &str,
    parts: &[u64],
    top: u64,
) {
    let mut y = BOTTOM as f64;
    for (n, (count, part)) in parts.iter().zip(plot.parts).enumerate() {
        if *count == 0 {
            continue;
        }
        let height = (BOTTOM - TOP) as f64 * *count as f64 / top as f64;
        y -= height;
        let _ = writeln!(
            page,
            "<rect class=\"p{n}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\">\
             <title>{}: {count} {part}</title></rect>",
            escaped(name)
        );
    }
}

/// The next number that is 2, 4 or 10 times a power of ten.
fn round_up(most: u64) -> u64 {
    let mut unit: u64 = 1;
    loop {
        for factor in [2, 4, 10] {
            let Some(top) = unit.checked_mul(factor) else { return most };
            if top >= most {
                return top;
            }
        }
        let Some(next) = unit.checked_mul(10) else { return most };
        unit = next;
    }
}

/// A text that strangers have chosen, for a page.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c if c.is_control() => safe.push('\u{fffd}'),
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_strangers_say_is_text() {
        let summary = Summary {
            from: "<script>".into(),
            to: "\"'&".into(),
            figures: vec![("connections", "<b>".into())],
            plots: vec![Plot {
                title: "Messages by time",
                parts: &["accepted"],
                bars: vec![("<i>".into(), vec![3])],
            }],
            tables: vec![Table {
                title: "Senders",
                head: &["sender"],
                rows: vec![vec!["<img src=x>\u{0}".into()]],
            }],
        };
        let page = render(&summary);
        for bad in ["<script", "<img", "<b>", "<i>", "\u{0}"] {
            assert!(!page.contains(bad), "{bad}");
        }
        assert!(page.contains("<title>&lt;i&gt;: 3 accepted</title>"), "{page}");
        assert!(page.contains("&quot;&#39;&amp;"));
    }

    #[test]
    fn scales_end_at_a_round_number() {
        let tops = [1, 2, 3, 5, 11, 99, 101, 399, u64::MAX].map(round_up);
        assert_eq!(tops, [2, 2, 4, 10, 20, 100, 200, 400, u64::MAX]);
    }
}
