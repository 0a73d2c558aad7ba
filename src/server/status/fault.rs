//! Why a start could not serve the status.

use std::fs;
use std::io;
use std::net::TcpListener;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use nix::unistd::{AccessFlags, access};

use crate::config::Config;
use crate::error::Error;
use crate::settings::{STATUS_LISTEN, StatusPlace};

/// Why a start could not listen there, as far as it can be seen without taking a place that a daemon
/// may have.
pub(in crate::server) fn fault(config: &Config) -> Option<Error> {
    let place = wanted(config)?;
    let why = match &place {
        StatusPlace::Tcp(address) => TcpListener::bind((address.ip(), 0)).err()?,
        StatusPlace::Unix(path) if path.exists() && !is_socket(path) => {
            io::ErrorKind::AlreadyExists.into()
        }
        StatusPlace::Unix(path) => {
            access(path.parent()?, AccessFlags::W_OK | AccessFlags::X_OK).err()?.into()
        }
    };
    Some(cannot(config, &place, &why))
}

/// Where the status is to be served, if anywhere.
pub(super) fn wanted(config: &Config) -> Option<StatusPlace> {
    config.setting(STATUS_LISTEN).map(|place| match place {
        StatusPlace::Unix(path) => StatusPlace::Unix(config.expand(&path.to_string_lossy())),
        place @ StatusPlace::Tcp(_) => place,
    })
}

/// Why nobody can listen there, with file and line.
pub(super) fn cannot(config: &Config, place: &StatusPlace, why: &io::Error) -> Error {
    let text = format!("cannot listen for the status at {}: {why}", shown(place));
    match config.list(STATUS_LISTEN.row().name).entries().next() {
        Some(line) => Error::at(&line.file, line.number, text),
        None => Error::new(text),
    }
}

/// Is there a socket, be anybody there or not?
pub(super) fn is_socket(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| found.file_type().is_socket())
}

fn shown(place: &StatusPlace) -> String {
    match place {
        StatusPlace::Tcp(address) => address.to_string(),
        StatusPlace::Unix(path) => path.display().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Trial;

    #[test]
    fn a_place_that_a_start_could_not_take_is_found() {
        let mut trial = Trial::new("", &[("spare", "x\n")]);
        let at = trial.dir().join("config/status_listen").display().to_string();
        for (place, fault) in [
            ("~/status", None),
            ("127.0.0.1:9225", None),
            ("~/no-folder/status", Some("no-folder/status: No such file or directory")),
            ("~/config/spare", Some("config/spare: entity already exists")),
            ("192.0.2.1:9225 public", Some("192.0.2.1:9225: Cannot assign requested address")),
        ] {
            trial.set_config("status_listen", place);
            let config = Config::new(vec![trial.dir().join("config")]);
            config.set_home(trial.dir().to_owned());
            let found = fault_of(&config);
            assert_eq!(found.is_some(), fault.is_some(), "{place}: {found:?}");
            let found = found.unwrap_or_default();
            assert!(found.contains(fault.unwrap_or_default()), "{found}");
            assert!(
                fault.is_none() || found.starts_with(&format!("{at}:1: cannot listen")),
                "{found}"
            );
        }
    }

    fn fault_of(config: &Config) -> Option<String> {
        fault(config).map(|error| error.to_string())
    }
}
