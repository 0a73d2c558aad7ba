//! A report for a terminal.

use std::fmt::Write;

use super::summary::{Summary, Table};
use crate::log::clean;

/// The widest first column of a table, in characters.
const WIDEST: usize = 72;

pub(super) fn render(summary: &Summary) -> String {
    let mut page = format!("qpsmtpd from {} to {}\n\n", summary.from, summary.to);
    let widest = summary.figures.iter().map(|(_, value)| value.len()).max().unwrap_or(0);
    for (name, value) in &summary.figures {
        let _ = writeln!(page, "{value:>widest$}  {name}");
    }
    for table in &summary.tables {
        page.push('\n');
        add(&mut page, table);
    }
    page
}

fn add(page: &mut String, table: &Table) {
    let cells = |row: &[String]| -> Vec<String> {
        let cut = |(n, cell): (usize, &String)| if n == 0 { cut(cell) } else { cell.clone() };
        row.iter().enumerate().map(cut).collect()
    };
    let head: Vec<String> = table.head.iter().map(|&name| name.to_owned()).collect();
    let rows: Vec<Vec<String>> = table.rows.iter().map(|row| cells(row)).collect();
    let width = |n: usize| {
        let cells = rows.iter().chain([&head]).filter_map(|row| row.get(n));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let _ = writeln!(page, "{}\n", table.title);
    for row in [&head].into_iter().chain(&rows) {
        let mut line = String::from("  ");
        for (n, cell) in row.iter().enumerate() {
            let width = widths.get(n).copied().unwrap_or(0);
            let _ = match n {
                0 => write!(line, "{cell:<width$}"),
                _ => write!(line, "  {cell:>width$}"),
            };
        }
        let _ = writeln!(page, "{}", line.trim_end());
    }
}

/// A text that strangers have chosen, as a terminal can show it.
fn cut(text: &str) -> String {
    let text = clean(text);
    if text.chars().count() <= WIDEST {
        return text.into();
    }
    text.chars().take(WIDEST - 3).chain("...".chars()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_texts_of_strangers_are_tame() {
        let rows = vec![
            vec!["a\u{1b}[2J".to_owned(), "5".to_owned()],
            vec!["ü".repeat(90), "12345678".to_owned()],
        ];
        let summary = Summary {
            from: "A".into(),
            to: "B".into(),
            figures: vec![("connections", "7".into())],
            plots: vec![],
            tables: vec![Table { title: "Senders", head: &["sender", "n"], rows }],
        };
        let page = render(&summary);
        assert!(page.starts_with("qpsmtpd from A to B\n\n7  connections\n\nSenders\n\n"), "{page}");
        assert!(page.contains("a\\x1b[2J") && !page.contains('\u{1b}'), "{page}");
        let last = page.lines().last().unwrap();
        assert!(last.ends_with("ü...  12345678"), "{last}");
        assert_eq!(last.chars().count(), 2 + WIDEST + 2 + 8);
    }
}
