//! The parent's part in the status: the socket, and which process serves it.

use std::fs::{self, Permissions};
use std::io;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::fault::{cannot, is_socket, wanted};
use super::history::History;
use super::serve::{Listener, serve};
use super::source::{Source, now};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::hook::Plugins;
use crate::server::list_hooks;
use crate::server::scoreboard::View;
use crate::settings::{ME, StatusPlace};

/// How long there is no new process after one has died.
const PAUSE: Duration = Duration::from_secs(5);

/// Who may use a socket in the file system: the user of the daemon and its group.
const MODE: u32 = 0o660;

/// The status of a parent.
#[derive(Debug)]
pub(crate) struct Status {
    history: History,
    began: u64,
    /// Where it is served, if anywhere.
    bound: Option<(StatusPlace, Listener)>,
    server: Option<Pid>,
    /// It was told to end.
    is_dismissed: bool,
    /// Not before that there is another process.
    next: Option<Instant>,
}

impl Status {
    /// Listens where the configuration says.
    ///
    /// # Errors
    /// There is no memory, or it cannot listen there.
    pub(in crate::server) fn new(config: &Config) -> Result<Status> {
        let no_memory = |error| Error::new(format!("no memory for the status: {error}"));
        let history = History::new().map_err(no_memory)?;
        let mut status = Status {
            history,
            began: now(),
            bound: None,
            server: None,
            is_dismissed: false,
            next: None,
        };
        status.listen(config)?;
        Ok(status)
    }

    /// The configuration has been read again: another process shows what is there now.
    ///
    /// # Errors
    /// It cannot listen where it is to; nothing is changed then.
    pub(in crate::server) fn reload(&mut self, config: &Config) -> Result<()> {
        let done = self.listen(config);
        self.dismiss();
        self.next = None;
        done
    }

    /// Is there anybody who could look at it?
    pub(in crate::server) fn is_served(&self) -> bool {
        self.bound.is_some()
    }

    /// Is a process wanted that is not there?
    pub(in crate::server) fn is_missing(&self, now: Instant) -> bool {
        self.bound.is_some() && self.server.is_none() && self.next.is_none_or(|next| now >= next)
    }

    /// This process serves from now on; None: none could be made.
    pub(in crate::server) fn served_by(&mut self, server: Option<Pid>, now: Instant) {
        self.server = server;
        self.next = server.is_none().then_some(now + PAUSE);
    }

    /// A process has ended.  Some: it was the one that served; true: it was told to.
    pub(in crate::server) fn has_ended(&mut self, pid: i32, now: Instant) -> Option<bool> {
        self.server.filter(|server| server.as_raw() == pid)?;
        self.server = None;
        let is_dismissed = std::mem::take(&mut self.is_dismissed);
        self.next = (!is_dismissed).then_some(now + PAUSE);
        Some(is_dismissed)
    }

    /// What a process needs to serve.  None: nothing is to be served, or there are no descriptors left.
    pub(in crate::server) fn lend_service(
        &self,
        view: View,
        config: &Config,
        plugins: &Plugins,
    ) -> Option<Service> {
        let listener = self.bound.as_ref()?.1.again()?;
        let mut hooks = list_hooks::as_value(config, &plugins.listing());
        let handlers = hooks["hooks"].as_array_mut().into_iter().flatten();
        let handlers =
            handlers.flat_map(|hook| hook["handlers"].as_array_mut().into_iter().flatten());
        // They may have words that are nobody's business.
        handlers.filter_map(|handler| handler.as_object_mut()).for_each(|handler| {
            handler.remove("arguments");
        });
        let (history, began) = (self.history, self.began);
        let source = Source { view, history, began, me: config.setting(ME), hooks };
        Some(Service { listener, source })
    }

    /// The end: the place is free for a daemon that comes after this one.
    pub(in crate::server) fn release(&mut self) {
        self.dismiss();
        if let Some((StatusPlace::Unix(path), _)) = self.bound.take() {
            let _ = fs::remove_file(path);
        }
    }

    /// In any other process: the socket is the parent's.
    pub(in crate::server) fn leave(&mut self) {
        self.bound = None;
    }

    fn dismiss(&mut self) {
        if let Some(server) = self.server {
            self.is_dismissed = kill(server, Signal::SIGKILL).is_ok();
        }
    }

    fn listen(&mut self, config: &Config) -> Result<()> {
        let wanted = wanted(config);
        if self.bound.as_ref().map(|(place, _)| place) == wanted.as_ref() {
            return Ok(());
        }
        let Some(place) = wanted else {
            self.release();
            return Ok(());
        };
        let listener = bind(&place).map_err(|error| cannot(config, &place, &error))?;
        self.release();
        self.bound = Some((place, listener));
        Ok(())
    }
}

/// What a process serves, and where.
pub(in crate::server) struct Service {
    listener: Listener,
    source: Source,
}

impl Service {
    /// Serves for ever.
    pub(in crate::server) fn run(self) -> ! {
        serve(&self.listener, self.source)
    }
}

fn bind(place: &StatusPlace) -> io::Result<Listener> {
    match place {
        StatusPlace::Tcp(address) => {
            let listener = TcpListener::bind(address)?;
            listener.set_nonblocking(true)?;
            Ok(Listener::Tcp(listener))
        }
        StatusPlace::Unix(path) => {
            if is_left_over(path) {
                fs::remove_file(path)?;
            }
            let listener = UnixListener::bind(path)?;
            fs::set_permissions(path, Permissions::from_mode(MODE))?;
            listener.set_nonblocking(true)?;
            Ok(Listener::Unix(listener))
        }
    }
}

/// Is there a socket of a process that is gone?
fn is_left_over(path: &Path) -> bool {
    is_socket(path) && UnixStream::connect(path).is_err()
}
