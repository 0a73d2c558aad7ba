//! What makes a new process cheap: what it inherits, and what it leaves alone.
//!
//! With `qpsmtpd-forkserver` each client costs a process, so what a new process does is done for each
//! client.  It begins with the parent's memory, of which the kernel copies each page that either of
//! them writes to.  So there are three rules; behind each stands what follows it.
//!
//! **Read before the fork.**  What every session would read or find out by itself, the parent does,
//! and again when it has changed: [`Parent::preload`].  That is the configuration
//! (`Config::refresh`), the settings, the system's time zone and what the processor can do
//! (`smtp::preload`), and what plugins make of files (`Hooks::derived`, `Hooks::before_fork`).
//!
//! **Touch no page.**  To count a reference is to write: all empty lists are one, which is on one page
//! (`config::Lines`).  Room into which the kernel reads is not filled with zeroes before
//! (`descriptors::read_to`).  What a process asks the kernel, it asks once, and only when it needs it
//! (the process id in `smtp::session`).  What is said to the parent is written to memory that is shared
//! and never copied (`scoreboard`).
//!
//! **Free nothing.**  To free memory is to write to it and to the list of what is free.  A new process
//! closes the parent's descriptors and leaves the memory that was about them where it is:
//! [`Parent::leave_behind`], `Signals::leave`, `Hooks::at_fork`.  So it does with its only session
//! (`smtp::serve_last`).  It ends without what a program and its
//! libraries do at their end (`fork::exit`).

use std::time::{Duration, Instant};

use crate::log::Level;
use crate::metrics;
use crate::server::manager::Manager;
use crate::server::parent::Parent;
use crate::smtp;

/// How often at most the parent looks whether something has changed.
const PACE: Duration = Duration::from_secs(1);

impl Parent {
    /// In the parent, before a client gets a process: reads what has changed, so that the process need
    /// not.
    pub(super) fn preload(&mut self) {
        let now = Instant::now();
        if now.duration_since(self.preloaded) < PACE {
            return;
        }
        self.preloaded = now;
        self.shared.config.refresh();
        smtp::preload(&self.shared.config);
        if self.shared.plugins.before_fork(&self.shared.config) {
            self.replace_children();
        }
        for problem in self.shared.config.take_problems() {
            self.log(Level::Error, problem);
        }
    }

    /// In a new process: lets go of everything that is the parent's.
    pub(super) fn leave_behind(&mut self) {
        metrics::keep(None);
        self.board.close_links();
        self.listeners.clear();
        self.poll = None;
        self.reports = None;
        self.pid_file = None;
        self.status.leave();
        self.manager = Manager::none();
        if let Some(signals) = self.signals.take() {
            signals.leave();
        }
        self.shared.plugins.leave_parent();
        self.shared.config.leave_parent();
    }
}
