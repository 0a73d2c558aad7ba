//! Questions to other programs and servers, for the counts and the log.

use super::Session;
use crate::log::Level;
use crate::metrics::{Outside, Trouble, answered};

impl Session {
    /// Asks another program or server, which is called `call`, one word: counts how it answered and how
    /// long it took, and writes that to the log.  What an error says is left to the plugin.
    ///
    /// # Errors
    /// Those of `ask`.
    pub fn outside<T, E: Trouble>(
        &self,
        call: &'static str,
        ask: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        let begun = Outside::begin(call);
        let result = ask();
        self.end_outside(begun, &result);
        result
    }

    /// The same where the session is changed meanwhile.
    ///
    /// # Errors
    /// Those of `ask`.
    pub fn outside_with<T, E: Trouble>(
        &mut self,
        call: &'static str,
        ask: impl FnOnce(&mut Session) -> Result<T, E>,
    ) -> Result<T, E> {
        let begun = Outside::begin(call);
        let result = ask(self);
        self.end_outside(begun, &result);
        result
    }

    /// The same where the call is not one piece: the end of what [`Outside::begin`] began.
    pub fn end_outside<T, E: Trouble>(&self, begun: Outside, result: &Result<T, E>) {
        let (call, word) = (begun.call(), answered(result));
        let time = begun.end(word).as_secs_f64() * 1000.0;
        let level = if result.is_ok() { Level::Debug } else { Level::Info };
        self.log(level, format_args!("{call}: {word} after {time:.1} ms"));
    }
}
