//! What the service manager is told (sd_notify(3)).

use std::env;
use std::ffi::OsString;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Where the service manager listens, if there is one.  Sessions do not know.
#[derive(Debug)]
pub(crate) struct Manager(Option<OsString>);

impl Manager {
    /// The one that the environment names.
    pub(crate) fn from_env() -> Manager {
        Manager(env::var_os("NOTIFY_SOCKET").filter(|path| !path.is_empty()))
    }

    /// Nobody.
    pub(crate) fn none() -> Manager {
        Manager(None)
    }

    /// Tells it `READY=1` or another change.  Where that fails nobody can be told.
    pub(crate) fn tell(&self, change: &str) {
        let _ = self.send(change);
    }

    fn send(&self, change: &str) -> io::Result<()> {
        let Some(path) = &self.0 else { return Ok(()) };
        let address = match path.as_bytes().strip_prefix(b"@") {
            Some(name) => SocketAddr::from_abstract_name(name)?,
            None => SocketAddr::from_pathname(path)?,
        };
        UnixDatagram::unbound()?.send_to_addr(change.as_bytes(), &address).map(drop)
    }
}
