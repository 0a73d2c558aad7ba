//! Which part of a name belongs to an organization: the list of public suffixes (publicsuffix.org).

use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::{Rc, Weak};
use std::time::SystemTime;

use publicsuffix::{List, Psl};

use crate::error::{Error, Result};
use crate::mail::host;

/// The list of Debian's package publicsuffix.
pub const FILE: &str = "/usr/share/publicsuffix/public_suffix_list.dat";

/// A list of names below which organizations have names.
#[derive(Debug)]
pub struct Suffixes(List);

/// A list that somebody holds, and when its file was changed.
type Held = (PathBuf, Option<SystemTime>, Weak<Suffixes>);

thread_local! {
    static HELD: RefCell<Vec<Held>> = const { RefCell::new(Vec::new()) };
}

impl Suffixes {
    /// The list in a file, read once for all who hold it until the file is changed.
    ///
    /// # Errors
    /// Those of [`read`](Suffixes::read).
    pub fn shared(file: &Path) -> Result<Rc<Suffixes>> {
        let changed = fs::metadata(file).and_then(|metadata| metadata.modified()).ok();
        HELD.with_borrow_mut(|held| {
            held.retain(|(.., list)| list.strong_count() > 0);
            let own = held.iter().find(|(path, time, _)| path == file && *time == changed);
            if let Some(list) = own.and_then(|(.., list)| list.upgrade()) {
                return Ok(list);
            }
            let list = Rc::new(Suffixes::read(file)?);
            held.push((file.to_owned(), changed, Rc::downgrade(&list)));
            Ok(list)
        })
    }

    /// Reads the list in a file.
    ///
    /// # Errors
    /// It cannot be read, or is no such list.
    pub fn read(file: &Path) -> Result<Suffixes> {
        let shown = file.display();
        let text = fs::read_to_string(file).map_err(|error| {
            let text = format!("the list of public suffixes, {shown}: {error}");
            match error.kind() {
                std::io::ErrorKind::NotFound => {
                    Error::missing(format!("{text} (it is in Debian's package publicsuffix)"))
                }
                _ => Error::new(text),
            }
        })?;
        Suffixes::parse(&text).map_err(|error| error.within(shown))
    }

    /// Reads a list.  Its rules have U-labels, while names are compared by their A-labels.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(text: &str) -> Result<Suffixes> {
        let line = |line: &str| match line.is_ascii() || line.starts_with("//") {
            true => format!("{line}\n"),
            false => format!("{}\n", host::canonical(line.trim())),
        };
        let text: String = text.lines().map(line).collect();
        text.parse().map(Suffixes).map_err(|error| Error::new(format!("{error}")))
    }

    /// The domain of the organization that has `name`: a public suffix and one label more.  None if
    /// the name is a public suffix itself, or no name.
    pub fn organization(&self, name: &str) -> Option<String> {
        let name = host::canonical(name);
        if name.split('.').any(str::is_empty) {
            return None;
        }
        let domain = self.0.domain(name.as_bytes())?;
        String::from_utf8(domain.as_bytes().to_vec()).ok()
    }

    /// Does the list know what `name` ends in?  Where it does not, the last label counts as a public
    /// suffix.
    pub fn knows(&self, name: &str) -> bool {
        let name = host::canonical(name);
        self.0.suffix(name.as_bytes()).is_some_and(|suffix| suffix.is_known())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "// ===BEGIN ICANN DOMAINS===\ncom\nuk\nco.uk\n*.ck\n!www.ck\n\u{4e2d}\u{56fd}\n\
        // ===END ICANN DOMAINS===\n// ===BEGIN PRIVATE DOMAINS===\nblog.example.com\n";

    #[test]
    fn organizations_are_found() {
        let list = Suffixes::parse(LIST).unwrap();
        for (name, organization) in [
            ("com", ""),
            ("example.com", "example.com"),
            ("A.B.Example.COM.", "example.com"),
            ("a.b.blog.example.com", "b.blog.example.com"),
            ("co.uk", ""),
            ("www.example.co.uk", "example.co.uk"),
            ("a.b.c.ck", "b.c.ck"),
            ("a.www.ck", "www.ck"),
            ("www.b\u{fc}cher.\u{4e2d}\u{56fd}", "xn--bcher-kva.xn--fiqs8s"),
            ("www.xn--bcher-kva.xn--fiqs8s", "xn--bcher-kva.xn--fiqs8s"),
            ("a.b.unknown", "b.unknown"),
            ("", ""),
            ("a..com", ""),
        ] {
            assert_eq!(list.organization(name).unwrap_or_default(), organization, "{name}");
        }
        assert!(list.knows("x.co.uk") && !list.knows("x.unknown"));
        assert!(Suffixes::parse("none").is_err());
        let missing = Suffixes::read(Path::new("/nonexistent/list")).unwrap_err();
        assert!(missing.is_missing() && missing.to_string().contains("Debian's package"));
    }

    #[test]
    fn a_list_is_read_once_until_it_is_changed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("list");
        fs::write(&path, LIST).unwrap();
        let one = Suffixes::shared(&path).unwrap();
        assert!(Rc::ptr_eq(&one, &Suffixes::shared(&path).unwrap()));
        fs::write(&path, format!("{LIST}new.example\n")).unwrap();
        let file = fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        let other = Suffixes::shared(&path).unwrap();
        assert_eq!(one.organization("a.b.new.example").unwrap(), "new.example");
        assert_eq!(other.organization("a.b.new.example").unwrap(), "b.new.example");
    }

    /// The cases that come with Debian's list, where it is installed.
    #[test]
    fn the_lists_own_cases() {
        let cases = "/usr/share/doc/publicsuffix/examples/test_psl.txt";
        let (Ok(cases), Ok(list)) = (fs::read_to_string(cases), Suffixes::read(Path::new(FILE)))
        else {
            return;
        };
        let mut count = 0;
        for line in cases.lines().filter_map(|line| line.strip_prefix("checkPublicSuffix(")) {
            let words: Vec<&str> = line.trim_end_matches(");").split(", ").collect();
            let text = |word: &str| word.trim_matches('\'').to_owned();
            let expected = Some(text(words[1])).filter(|word| word != "null");
            let expected = expected.map(|name| host::canonical(&name).into_owned());
            assert_eq!(list.organization(&text(words[0])), expected, "{line}");
            count += 1;
        }
        assert!(count > 70, "{count}");
    }
}
