//! Files of a configuration.

use super::session::CHAIN;
use crate::config::Config;

/// Files, separated by octets 0: lists that include each other, and a map.
pub(super) fn config(input: &[u8]) {
    const NAMES: [&str; 4] = ["a", "b", "c", "m.cdb"];
    // Other files of this machine are none of the target's business.
    let mut words = input.split(|octet| octet.is_ascii_whitespace());
    if words.any(|word| word.contains(&b'/') || word.starts_with(b"~")) {
        return;
    }
    CHAIN.with(|trial| {
        let dir = trial.dir().join("any");
        std::fs::create_dir_all(&dir).expect("a folder");
        let files = input.splitn(NAMES.len(), |octet| *octet == 0);
        for (name, text) in NAMES.iter().zip(files.chain(std::iter::repeat(&b""[..]))) {
            std::fs::write(dir.join(name), text).expect("a file");
        }
        let config = Config::new(vec![dir]);
        for name in NAMES {
            let lines = config.list(name);
            let first = lines.first().and_then(|line| line.split_ascii_whitespace().next());
            assert!(first.is_none_or(|word| lines.find(word).is_some()));
            assert!(lines.iter().all(|line| !line.is_empty() && !line.contains('\n')));
            config.value(name);
            config.number(name, 7);
        }
        let map = config.map("m");
        for key in map.keys().iter().take(100) {
            map.get(key);
        }
        map.get(input);
    });
}
