//! The domain name system as plugins ask it.

use std::rc::Rc;
use std::time::Instant;

use super::Session;
use crate::dns::{Answer, Dns, Question, Resolver};

/// Asks for a handler: what is asked at once is answered before the handler has to end.
pub struct Names {
    resolver: Rc<Resolver>,
    deadline: Instant,
}

impl Session {
    /// The domain name system.  What a session was told it need not ask again, so a plugin asks at
    /// once for all that it is going to need.
    pub fn dns(&self) -> Names {
        Names { resolver: self.connection.resolver(), deadline: self.deadline() }
    }

    /// When the running handler has to end: the limit for anything it waits for.
    pub fn deadline(&self) -> Instant {
        self.current.map_or_else(Instant::now, |current| current.until)
    }
}

impl Dns for Names {
    fn ask(&self, questions: &[Question]) -> Vec<Answer> {
        self.resolver.until(self.deadline).ask(questions)
    }
}
