//! Databases of Perl programs, files of AnyDBM_File: Berkeley DB, GDBM, NDBM, SDBM.
//!
//! Perl reads them: who has such a file has the Perl that has written it, with the libraries for its
//! format.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::store::{Keep, Put, Table};

const PROGRAM: &str = include_str!("dbm.pl");

/// An entry of a Perl program as it is to be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// Its key.
    pub key: String,
    /// Its value.
    pub value: String,
    /// For how long.
    pub time: Duration,
}

impl Table {
    /// Takes over what a Perl program has in `file`, which is what Perl calls it: `greylist.dbm`, also
    /// where that is `greylist.dbm.pag` and `greylist.dbm.dir`.  `take` says what becomes of a key and its
    /// value; None: nothing, as it is not understood, or over.  What is here already stays: it is
    /// newer.  Returns a line for people.
    ///
    /// # Errors
    /// It is no such file, it is damaged, there is no Perl that can read it, or the store does not answer.
    pub fn take_over(
        &self,
        file: &Path,
        take: impl Fn(&str, &str) -> Option<Taken>,
    ) -> Result<String> {
        let (mut taken, mut here, mut left) = (0, 0, 0);
        for (key, value) in entries(file)? {
            let Some(new) = take(&key, &value) else {
                left += 1;
                continue;
            };
            let is_new = self.update(&new.key, |old: Option<String>| match old {
                Some(_) => (Keep, false),
                None => (Put(new.value.clone(), new.time), true),
            });
            match is_new.map_err(Error::new)? {
                true => taken += 1,
                false => here += 1,
            }
        }
        Ok(format!(
            "{taken} entries imported, {here} existed already, {left} were expired or not understood"
        ))
    }
}

/// All keys and values.  What is no UTF-8 is replaced.
fn entries(file: &Path) -> Result<Vec<(String, String)>> {
    let shown = file.display();
    let output = Command::new("perl").arg("-e").arg(PROGRAM).arg("--").arg(file).output();
    let output = output
        .map_err(|error| Error::new(format!("cannot run perl, which reads {shown}: {error}")))?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        return Err(Error::new(format!("{shown}: {}", why.trim())));
    }
    let lines = String::from_utf8_lossy(&output.stdout);
    let entries = lines.lines().map(|line| {
        let (key, value) = line.split_once(' ')?;
        Some((text(key)?, text(value)?))
    });
    entries
        .collect::<Option<_>>()
        .ok_or_else(|| Error::new(format!("{shown}: perl does not say what is in it")))
}

fn text(hex: &str) -> Option<String> {
    let digits = |at: usize| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok();
    let octets: Option<Vec<u8>> = (0..hex.len()).step_by(2).map(digits).collect();
    Some(String::from_utf8_lossy(&octets?).into_owned())
}
