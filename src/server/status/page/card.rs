//! The frame of a card of the page, and a table in it.

/// A card; `more` stands small beside its title.
pub(super) fn card(class: &str, title: &str, more: &str, content: &str) -> String {
    let more = if more.is_empty() { String::new() } else { format!("<small>{more}</small>") };
    format!("<section class=\"card {class}\"><h2>{title}{more}</h2>{content}</section>")
}

/// A table, or a sentence where there is nothing.  Each column is its title and the class of its cells.
pub(super) fn table(columns: &[(&str, &str)], rows: &[Vec<String>], none: &str) -> String {
    if rows.is_empty() {
        return format!("<p class=\"none\">{none}</p>");
    }
    let head: String = columns
        .iter()
        .map(|(title, class)| format!("<th class=\"{class}\" scope=\"col\">{title}</th>"))
        .collect();
    let cells = |row: &Vec<String>| {
        let cells = row.iter().zip(columns);
        let cells = cells.map(|(cell, (_, class))| format!("<td class=\"{class}\">{cell}</td>"));
        format!("<tr>{}</tr>", cells.collect::<String>())
    };
    let body: String = rows.iter().map(cells).collect();
    format!(
        "<div class=\"scroll\"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )
}
