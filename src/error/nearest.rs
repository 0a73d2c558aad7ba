//! The known word that was meant.

/// The word of `known` that `word` is nearly.  None: it is like no other.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let most = if word.len() < 5 { 1 } else { 2 };
    let others =
        known.into_iter().filter(|known| *known != word && differ_little(word, known, most));
    let near = others.map(|known| (distance(word, known), known));
    near.filter(|(distance, _)| *distance <= most).min().map(|(_, known)| known)
}

/// Can their letters be that near, by their numbers?  Words may be of any length, and [`distance`] takes
/// as long as both numbers multiplied.
fn differ_little(one: &str, other: &str, most: usize) -> bool {
    one.chars().count().abs_diff(other.chars().count()) <= most
}

/// `; did you mean 'known'?`, or nothing.
pub(crate) fn meant<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(word, known).map(|known| format!("; did you mean '{known}'?")).unwrap_or_default()
}

/// How many letters have to be added, left out, changed or swapped with the next, in whatever
/// case, to make one word of the other.
fn distance(one: &str, other: &str) -> usize {
    let fold = |text: &str| text.to_lowercase().replace('-', "_").chars().collect::<Vec<_>>();
    let (one, other) = (fold(one), fold(other));
    let mut rows = vec![(0..=other.len()).collect::<Vec<usize>>()];
    for (i, a) in one.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in other.iter().enumerate() {
            let changed = rows[i][j] + usize::from(a != b);
            let mut least = changed.min(rows[i][j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && one[i - 1] == *b && other[j - 1] == *a {
                least = least.min(rows[i - 1][j - 1] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[one.len()][other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_counted() {
        for (one, other, count) in [
            ("rcpthosts", "rcpthosts", 0),
            ("rcpthost", "rcpthosts", 1),
            ("rcphtosts", "rcpthosts", 1),
            ("Timeout-smtpd", "timeoutsmtpd", 1),
            ("databites", "databytes", 1),
            ("", "me", 2),
            ("badhelo", "rcpthosts", 8),
        ] {
            assert_eq!(distance(one, other), count, "{one} {other}");
            assert_eq!(distance(other, one), count, "{other} {one}");
        }
    }

    #[test]
    fn short_words_have_to_be_nearer() {
        let known = ["me", "reject", "reject_type", "timeout"];
        for (word, meant) in [
            ("rejct", Some("reject")),
            ("TIMEOUT_", Some("timeout")),
            ("m", Some("me")),
            ("mwe", Some("me")),
            ("mew0", None),
            ("reject", None),
            ("anything", None),
        ] {
            assert_eq!(nearest(word, known), meant, "{word}");
        }
        let long = "x".repeat(10_000_000);
        assert_eq!(nearest(&long, [long.as_str(), "reject"]), None);
        assert_eq!(super::meant("rejct", known), "; did you mean 'reject'?");
        assert_eq!(super::meant("anything", known), "");
    }
}
