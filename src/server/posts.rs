//! Which worker of a pool is at which tally: so the parent finds out who has served its client, when
//! it looks, and is woken for it only when it has nobody left.

use crate::sys::tally::{Tallies, Tally};

/// The places for workers.
#[derive(Debug)]
pub(crate) struct Posts {
    tallies: Tallies,
    posts: Vec<Post>,
    seen: u64,
    asks: bool,
}

/// Who is there, and how many clients it was given since it was last seen idle.
#[derive(Debug, Clone, Copy, Default)]
struct Post {
    pid: i32,
    given: u64,
}

impl Posts {
    /// Places for so many workers.
    ///
    /// # Errors
    /// There is no memory.
    pub(crate) fn new(most: usize) -> nix::Result<Posts> {
        let posts = vec![Post::default(); most];
        Ok(Posts { tallies: Tallies::new(most)?, posts, seen: 0, asks: false })
    }

    /// A place for a new worker, where none is that `exists`.
    pub(crate) fn free(&self, exists: impl Fn(i32) -> bool) -> Option<(usize, Tally)> {
        let place = self.posts.iter().position(|post| post.pid == 0 || !exists(post.pid))?;
        Some((place, self.tallies.of(place)))
    }

    /// The new worker is there.
    pub(crate) fn take(&mut self, place: usize, pid: i32) {
        // Another one may have had this process id.
        self.posts.iter_mut().filter(|post| post.pid == pid).for_each(|post| post.pid = 0);
        self.posts[place] = Post { pid, given: 0 };
    }

    /// The worker was given a client.
    pub(crate) fn give(&mut self, pid: i32) {
        if let Some(post) = self.posts.iter_mut().find(|post| post.pid == pid) {
            post.given += 1;
        }
    }

    /// The workers that have served what they were given, each once.
    pub(crate) fn done(&mut self) -> Vec<i32> {
        let all = self.tallies.served_by_all();
        if std::mem::replace(&mut self.seen, all) == all {
            return vec![];
        }
        let mut done = vec![];
        for (place, post) in self.posts.iter_mut().enumerate() {
            if post.given > 0 && self.tallies.served(place) >= post.given {
                post.given = 0;
                self.tallies.of(place);
                done.push(post.pid);
            }
        }
        done
    }

    /// Whether to be told from now on.  True: that is new, and who was done before did not say so.
    pub(crate) fn ask(&mut self, wanted: bool) -> bool {
        let news = std::mem::replace(&mut self.asks, wanted) != wanted;
        if news {
            self.tallies.ask(wanted);
        }
        news && wanted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_done_is_found_once() {
        let mut posts = Posts::new(2).unwrap();
        let (place, first) = posts.free(|_| true).unwrap();
        posts.take(place, 71);
        let (place, second) = posts.free(|_| true).unwrap();
        posts.take(place, 72);
        assert!(posts.free(|_| true).is_none());
        assert!(posts.done().is_empty());
        for pid in [71, 72] {
            posts.give(pid);
        }
        assert!(!second.add());
        assert_eq!(posts.done(), [72]);
        assert!(posts.done().is_empty());
        posts.give(72);
        first.add();
        assert_eq!(posts.done(), [71]);
        second.add();
        assert_eq!(posts.done(), [72]);
    }

    #[test]
    fn a_place_is_free_again_when_its_worker_is_gone() {
        let mut posts = Posts::new(1).unwrap();
        let (place, old) = posts.free(|_| true).unwrap();
        posts.take(place, 71);
        posts.give(71);
        old.add();
        let (place, tally) = posts.free(|pid| pid != 71).unwrap();
        posts.take(place, 71);
        assert!(posts.done().is_empty(), "what the old one did is not the new one's");
        posts.give(71);
        tally.add();
        assert_eq!(posts.done(), [71]);
    }

    #[test]
    fn workers_speak_up_while_they_are_asked_to() {
        let mut posts = Posts::new(1).unwrap();
        let (place, tally) = posts.free(|_| true).unwrap();
        posts.take(place, 71);
        assert!(!tally.add());
        assert!(posts.ask(true));
        assert!(!posts.ask(true) && tally.add());
        assert!(!posts.ask(false) && !tally.add());
    }
}
