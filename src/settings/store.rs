//! Where plugins remember.

use super::RedisPlace;

/// The folder of the file where none is named.
const FOLDER: &str = "~/store";

/// How large the file may become where nothing is said, in octets.
const SIZE: u64 = 1 << 30;

/// Which store there is.
#[derive(Clone)]
pub enum StorePlace {
    /// A file that the processes of this host share.
    Lmdb {
        /// The folder that has it.
        folder: String,
        /// How many octets it may have: a multiple of 1 MiB.
        size: u64,
    },
    /// A server that hosts share.
    Redis(Box<RedisPlace>),
}

impl StorePlace {
    /// The folder of the store, where it has one that the configuration names.
    pub fn folder(&self) -> Option<&str> {
        match self {
            StorePlace::Lmdb { folder, .. } if folder == FOLDER => None,
            StorePlace::Lmdb { folder, .. } => Some(folder),
            StorePlace::Redis(_) => None,
        }
    }

    /// Reads `lmdb [FOLDER] [SIZE]` or `redis URL`.
    pub(super) fn parse<'a>(mut words: impl Iterator<Item = &'a str>) -> Option<StorePlace> {
        match words.next()? {
            "lmdb" => lmdb(&words.collect::<Vec<_>>()),
            "redis" => {
                let url = words.next().filter(|_| words.next().is_none())?;
                RedisPlace::parse(url).map(|place| StorePlace::Redis(Box::new(place)))
            }
            _ => None,
        }
    }
}

fn lmdb(words: &[&str]) -> Option<StorePlace> {
    let (folder, size) = match words {
        [] => (FOLDER, SIZE),
        [word] => size(word).map_or((*word, SIZE), |size| (FOLDER, size)),
        [folder, word] => (*folder, size(word)?),
        _ => return None,
    };
    Some(StorePlace::Lmdb { folder: folder.to_owned(), size })
}

/// Octets: `512M`, `4G`.
fn size(word: &str) -> Option<u64> {
    let unit = [('M', 1 << 20), ('G', 1 << 30)];
    let (number, unit) = unit.iter().find_map(|(letter, unit)| {
        Some((word.strip_suffix([*letter, letter.to_ascii_lowercase()])?, unit))
    })?;
    number.parse::<u64>().ok()?.checked_mul(*unit).filter(|size| *size > 0 && *size <= 1 << 40)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folder_and_size_may_be_left_out() {
        for (text, folder, size) in [
            ("lmdb", "~/store", 1 << 30),
            ("lmdb /srv/store", "/srv/store", 1 << 30),
            ("lmdb 512m", "~/store", 512 << 20),
            ("lmdb /srv/store 4G", "/srv/store", 4 << 30),
        ] {
            let found = match StorePlace::parse(text.split(' ')) {
                Some(StorePlace::Lmdb { folder, size }) => Some((folder, size)),
                _ => None,
            };
            assert_eq!(found, Some((folder.into(), size)), "{text}");
        }
        for text in
            ["", "lmdb a b", "lmdb a 1G c", "lmdb a 0G", "lmdb a 9999999G", "files", "redis"]
        {
            assert!(StorePlace::parse(text.split_whitespace()).is_none(), "{text}");
        }
    }
}
