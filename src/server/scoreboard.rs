//! Who exists: every child process, what it does, and how many clients each address has.

use std::collections::HashMap;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::time::Instant;

use nix::unistd::Pid;

/// One child process.
#[derive(Debug)]
pub(crate) struct Child {
    /// Our end of the socket for its jobs, where it gets some; None once it was told to end.
    pub(crate) link: Option<OwnedFd>,
    /// It was told to end.
    pub(crate) dismissed: bool,
    /// The client it serves; None while it waits for one.
    pub(crate) client: Option<IpAddr>,
    /// Since when.
    since: Instant,
    /// How many clients it has served to the end.
    pub(crate) served: u64,
    /// Made before the configuration was read again: ends after its client.
    pub(crate) outdated: bool,
}

/// All children of this parent.
#[derive(Debug, Default)]
pub(crate) struct Children {
    all: HashMap<i32, Child>,
    idle: Vec<i32>,
    clients: HashMap<IpAddr, usize>,
}

impl Children {
    /// A new child, which serves `client` or waits.
    pub(crate) fn add(&mut self, pid: Pid, link: Option<OwnedFd>, client: Option<IpAddr>) {
        let pid = pid.as_raw();
        self.all.insert(
            pid,
            Child {
                link,
                dismissed: false,
                client: None,
                since: Instant::now(),
                served: 0,
                outdated: false,
            },
        );
        match client {
            Some(client) => self.serves(pid, client),
            None => self.idle.push(pid),
        }
    }

    /// The child has got a client.
    pub(crate) fn serves(&mut self, pid: i32, client: IpAddr) {
        self.idle.retain(|idle| *idle != pid);
        if let Some(child) = self.all.get_mut(&pid) {
            child.client = Some(client);
            child.since = Instant::now();
            *self.clients.entry(network(client)).or_default() += 1;
        }
    }

    /// The child's client has left; the child may be at work for it still.
    pub(crate) fn client_left(&mut self, pid: i32) {
        if let Some(client) = self.all.get_mut(&pid).and_then(|child| child.client.take()) {
            self.forget_client(client);
        }
    }

    /// The child is done with its client.
    pub(crate) fn is_done(&mut self, pid: i32, waits: bool) {
        self.client_left(pid);
        let Some(child) = self.all.get_mut(&pid) else { return };
        child.served += 1;
        if waits {
            self.idle.push(pid);
        }
    }

    /// The child has ended.
    pub(crate) fn remove(&mut self, pid: i32) -> Option<Child> {
        let child = self.all.remove(&pid)?;
        self.idle.retain(|idle| *idle != pid);
        if let Some(client) = child.client {
            self.forget_client(client);
        }
        Some(child)
    }

    /// A child that waits: the one that has waited least, so that others can be let go.
    pub(crate) fn waiting(&self) -> Option<i32> {
        self.idle.last().copied()
    }

    /// Takes the child that has waited longest out of those that wait.
    pub(crate) fn take_longest_waiting(&mut self) -> Option<i32> {
        (!self.idle.is_empty()).then(|| self.idle.remove(0))
    }

    /// The child that has had its client longest, since before `limit`, of those that were not told
    /// to end.
    pub(crate) fn longest_busy(&self, limit: Instant) -> Option<i32> {
        let busy = self
            .all
            .iter()
            .filter(|(_, child)| child.client.is_some() && !child.dismissed && child.since < limit);
        busy.min_by_key(|(_, child)| child.since).map(|(pid, _)| *pid)
    }

    pub(crate) fn get_mut(&mut self, pid: i32) -> Option<&mut Child> {
        self.all.get_mut(&pid)
    }

    /// Is there a child of that id?
    pub(crate) fn has(&self, pid: i32) -> bool {
        self.all.contains_key(&pid)
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (i32, &mut Child)> {
        self.all.iter_mut().map(|(pid, child)| (*pid, child))
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// How many wait for a client.
    pub(crate) fn idle(&self) -> usize {
        self.idle.len()
    }

    /// How many serve a client.
    pub(crate) fn busy(&self) -> usize {
        self.clients.values().sum()
    }

    /// How many clients the address has; an IPv6 address counts with its whole /64.
    pub(crate) fn connections_from(&self, ip: IpAddr) -> usize {
        self.clients.get(&network(ip)).copied().unwrap_or(0)
    }

    /// The addresses of all clients.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.all.values().filter_map(|child| child.client)
    }

    /// In a new child: closes the links of its siblings.  The memory of all this is left alone: to
    /// free it would only make copies of the pages that it is on.
    pub(crate) fn forget_all(&mut self) {
        self.all.values_mut().for_each(|child| drop(child.link.take()));
    }

    fn forget_client(&mut self, client: IpAddr) {
        if let Some(count) = self.clients.get_mut(&network(client)) {
            *count -= 1;
            if *count == 0 {
                self.clients.remove(&network(client));
            }
        }
    }
}

/// What counts as one address: a single one for IPv4, the /64 that one site has for IPv6.
pub(crate) fn network(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(ip) => IpAddr::V6((u128::from(ip) >> 64 << 64).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::handoff;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn add(children: &mut Children, pid: i32, client: Option<&str>) {
        let (link, _) = handoff::pair().unwrap();
        children.add(Pid::from_raw(pid), Some(link), client.map(ip));
    }

    #[test]
    fn clients_are_counted_by_address_and_network() {
        let mut children = Children::default();
        add(&mut children, 1, Some("192.0.2.1"));
        add(&mut children, 2, Some("192.0.2.1"));
        add(&mut children, 3, Some("2001:db8::1"));
        add(&mut children, 4, Some("2001:db8::2"));
        assert_eq!(children.connections_from(ip("192.0.2.1")), 2);
        assert_eq!(children.connections_from(ip("192.0.2.2")), 0);
        assert_eq!(children.connections_from(ip("2001:db8::ffff")), 2);
        assert_eq!(children.connections_from(ip("2001:db8:0:1::1")), 0);
        children.is_done(1, true);
        children.remove(3);
        assert_eq!(children.connections_from(ip("192.0.2.1")), 1);
        assert_eq!(children.connections_from(ip("2001:db8::1")), 1);
        assert_eq!((children.len(), children.idle(), children.busy()), (3, 1, 2));
    }

    #[test]
    fn the_last_to_wait_works_first_and_the_first_to_wait_leaves_first() {
        let mut children = Children::default();
        for pid in 1..=3 {
            add(&mut children, pid, None);
        }
        assert_eq!(children.waiting(), Some(3));
        children.serves(3, ip("192.0.2.1"));
        assert_eq!(children.waiting(), Some(2));
        assert_eq!(children.take_longest_waiting(), Some(1));
        children.is_done(3, true);
        assert_eq!(children.waiting(), Some(3));
    }
}
