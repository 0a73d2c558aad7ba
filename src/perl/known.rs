//! Perl files that are plugins of a release of Perl qpsmtpd.

use std::fs;
use std::path::Path;

use sha2::{Digest, Sha256};

/// Digests with names and releases; `t/known-plugins` prints it.
const TABLE: &str = include_str!("known.txt");

/// The plugin of a release of Perl qpsmtpd that this file is, octet for octet: its name there.  A
/// file that was changed is none.
pub fn known(file: &Path) -> Option<&'static str> {
    let digest = Sha256::digest(fs::read(file).ok()?);
    let digest: String = digest.iter().map(|octet| format!("{octet:02x}")).collect();
    rows().find(|row| row[0] == digest).map(|row| row[1])
}

fn rows() -> impl Iterator<Item = [&'static str; 3]> {
    let lines = TABLE.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| {
        let mut words = line.split(' ');
        Some([words.next()?, words.next()?, words.next()?])
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_digest_has_one_name() {
        let digests: BTreeSet<&str> = rows().map(|row| row[0]).collect();
        assert_eq!(digests.len(), rows().count());
        assert_eq!(rows().count(), TABLE.lines().filter(|line| !line.starts_with('#')).count());
        assert!(digests.iter().all(|digest| digest.len() == 64));
    }

    #[test]
    fn a_changed_file_is_none() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(&file, "sub hook_rcpt { return DECLINED }\n").unwrap();
        assert_eq!(known(file.path()), None);
        assert_eq!(known(Path::new("/nowhere")), None);
    }
}
