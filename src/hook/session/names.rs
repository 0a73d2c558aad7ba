//! The domain name system as plugins ask it.

use std::rc::Rc;
use std::time::{Duration, Instant};

use super::Session;
use crate::dns::lists::{self, Listing, Zone};
use crate::dns::{Answer, Dns, Iprev, Question, Resolver};
use crate::log::Level;

/// The most time that a handler is left to say what came of waiting.
const SAYS: Duration = Duration::from_secs(1);

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

    /// The client's name if it leads back to the client's address ([`Iprev::Pass`]): other than
    /// [`Connection::remote_host`](crate::state::Connection::remote_host) it is one that the owner of
    /// the name's domain knows of.
    pub fn confirmed_host(&self) -> Option<String> {
        match Iprev::of(&self.dns(), self.connection.remote_ip) {
            Iprev::Pass(name) => Some(name),
            Iprev::Fail(_) | Iprev::TempError(_) | Iprev::PermError => None,
        }
    }

    /// Which of the lists have `what`, a reversed address or a name, with the text that the list has for
    /// it.  All are asked at once, and `more` with them; the log is told of each that does not say, when
    /// it is its turn.
    pub fn listed<'s, 'z>(
        &'s self,
        zones: &'z [Zone],
        what: &str,
        more: &[Question],
    ) -> impl Iterator<Item = (&'z Zone, Option<String>)> + use<'s, 'z> {
        let listings = lists::ask(&self.dns(), zones, what, more);
        zones.iter().zip(listings).filter_map(|(zone, listing)| match listing {
            Listing::Absent => None,
            Listing::Failed(why) => {
                self.log(Level::Error, format_args!("{zone}: {why}"));
                None
            }
            Listing::Listed(text) => Some((zone, text)),
        })
    }

    /// When waiting for others has to end: a little before the running handler is overdue, so that
    /// there is time left to say what came of it.
    pub fn deadline(&self) -> Instant {
        let left = self.time_left();
        Instant::now() + left - (left / 10).min(SAYS)
    }

    /// The same, and after `limit` at the latest.
    pub fn deadline_within(&self, limit: Duration) -> Instant {
        self.deadline().min(Instant::now() + limit)
    }
}

impl Dns for Names {
    fn ask(&self, questions: &[Question]) -> Vec<Answer> {
        self.resolver.until(self.deadline).ask(questions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hook::{DECLINED, Hook};
    use crate::testing::Trial;

    #[test]
    fn waiting_for_others_ends_before_the_handler_is_overdue() {
        let register = |hooks: &mut crate::hook::Hooks, _: &crate::hook::Args| {
            hooks.connect(|session| {
                let deadline = session.deadline();
                let overdue = Instant::now() + session.time_left();
                assert!(deadline < overdue, "{:?}", overdue - deadline);
                DECLINED
            });
            Ok(())
        };
        let mut trial = Trial::with(register, "", &[]);
        assert_eq!(trial.plain(Hook::Connect), DECLINED);
        assert!(trial.session.deadline() <= Instant::now());
    }
}
