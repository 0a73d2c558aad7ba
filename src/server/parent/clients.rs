//! How the parent takes clients: while there is room, and what it does when there is none.

use std::io;
use std::time::{Duration, Instant};

use crate::log::Level;
use crate::metrics::{self, Metric};
use crate::server::listener::Listener;
use crate::server::parent::{Dispatch, Parent};
use crate::server::pre_connection;

/// How many clients are taken before other events have their turn.
const CLIENTS: usize = 16;

/// How often the log says that every slot is busy.
const SAY_AGAIN: Duration = Duration::from_secs(60);

/// How long not to accept when descriptors or memory have run out.
const BREATHER: Duration = Duration::from_secs(1);

impl Parent {
    /// Takes clients while there is room; the kernel keeps the others waiting.
    pub(super) fn open_while(&mut self, room: bool, now: Instant) {
        if self.short_until.is_some_and(|until| now >= until) {
            self.short_until = None;
        }
        self.is_open = room && self.short_until.is_none();
        if !room && self.said_full.is_none_or(|said| now.duration_since(said) > SAY_AGAIN) {
            self.said_full = Some(now);
            let busy = self.board.len() - self.board.idle();
            metrics::add(Metric::Overload, &["full"], 1);
            self.log(Level::Warn, format_args!("all {busy} slots are busy, clients have to wait"));
        }
    }

    /// Somebody waits and there is no room: the clients that have been here longest are to leave,
    /// with 421, as soon as they have no recipients: at once if they do nothing, else after their
    /// message.
    pub(super) fn make_room(&mut self, now: Instant) {
        let waits = || self.listeners.iter().any(Listener::has_client);
        let Some(limit) = self.overload.limit(waits, now) else { return };
        for _ in 0..self.board.len().div_ceil(8) {
            let Some(place) = self.board.longest_busy(limit) else { return };
            if let Some(peer) = self.board.get_mut(place).and_then(|slot| slot.client) {
                metrics::add(Metric::Overload, &["left"], 1);
                self.log(Level::Notice, format_args!("others wait: {peer} is asked to leave"));
                if let Some(ip) = peer.ip() {
                    self.overload.asked(ip, now);
                }
            }
            self.dismiss(place);
        }
    }

    /// Takes clients that may wait at a listener, as far as there is room.
    pub(super) fn accept(&mut self, dispatch: &mut dyn Dispatch, number: usize) {
        for _ in 0..CLIENTS {
            if !self.ready.contains(&number) || !self.is_open || !self.has_room(&*dispatch) {
                return;
            }
            let Some(listener) = self.listeners.get(number) else { return };
            let (client, peer) = match listener.accept() {
                Ok(accepted) => accepted,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.ready.remove(&number);
                    return;
                }
                Err(error) if is_of_one_client(&error) => continue,
                Err(error) => return self.failed_to_accept(&error),
            };
            metrics::add(Metric::Connections, &[], 1);
            self.preload();
            // Those who have taken their time do not get the last places again.
            let now = Instant::now();
            let is_cooling_down =
                peer.ip().is_some_and(|ip| self.overload.is_cooling_down(ip, now))
                    && self.board.busy() * 4 >= dispatch.most() * 3;
            let (board, most) = (&self.board, self.max_from_ip);
            match pre_connection::check(&peer, board, most, is_cooling_down, &self.shared) {
                Some(reply) => pre_connection::send_away(&client, &reply),
                None => dispatch.take(self, client, peer),
            }
        }
    }

    /// Descriptors or memory have run out: the listener is left alone for a moment.
    fn failed_to_accept(&mut self, error: &io::Error) {
        self.log(Level::Error, format_args!("cannot accept: {error}; next try in 1 s"));
        self.short_until = Some(Instant::now() + BREATHER);
        self.is_open = false;
    }
}

/// Has only this client gone wrong?
fn is_of_one_client(error: &io::Error) -> bool {
    const CODES: [i32; 4] = [libc::ECONNABORTED, libc::EINTR, libc::EPROTO, libc::ENOTCONN];
    error.raw_os_error().is_some_and(|code| CODES.contains(&code))
}
