//! Tells those who listen what goes over the line.

use std::time::Instant;

use crate::hook::guarded::guarded;
use crate::hook::{DECLINED, Decision, Heard, Session};

impl Session {
    /// Tells those who listen what goes over the line, in order, until one of them decides.
    pub(crate) fn overhear(&mut self, heard: &Heard<'_>) -> Decision {
        if self.plugins().listeners.is_empty() {
            return Ok(DECLINED);
        }
        let (plugins, list) = (self.plugins().clone(), self.list());
        for (plugin, run) in &plugins.listeners {
            if !plugins.is_in(*plugin, list) {
                continue;
            }
            let loaded = plugins.loaded(*plugin);
            let limit = loaded.settings.limit();
            let outer = self.enter(*plugin, heard.hook(), Instant::now(), limit);
            let before = self.said.clone();
            let done = guarded(loaded, heard.hook(), || run(self, heard));
            let decision = self.judged(done, &loaded.settings, before);
            self.leave(outer);
            let verdict = decision?;
            if verdict.ends_chain() {
                return Ok(verdict);
            }
        }
        Ok(DECLINED)
    }
}
