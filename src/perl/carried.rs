//! What Perl plugins keep of a client, in `$self`, before it has a process.
//!
//! `pre-connection` runs in the parent, in a Perl process of the parent's own.  What its handlers change in
//! their objects goes through memory that all processes share, and reaches the Perl process that the
//! session has: plain data, as far as there is room.

use std::cell::{Cell, RefCell};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering, fence};

use crate::perl::wire::{self, Item};
use crate::sys::shared;

/// For how many clients there is room: those that have just come.
const CLIENTS: usize = 128;

/// How many numbers one client has: a version, which is odd while the others are written, the address,
/// the port with the length of the data, and the data, eight octets in each.
const NUMBERS: usize = 512;
const DATA: usize = 4;
const ROOM: usize = (NUMBERS - DATA) * size_of::<u64>();

/// The memory; none where no plugin needs it.
#[derive(Default)]
pub(super) struct Carried {
    memory: Cell<Option<&'static [AtomicU64]>>,
    /// In the parent: the client that came last, its place, and what was kept of it.
    last: RefCell<Option<(SocketAddr, usize, Vec<Item>)>>,
}

impl Carried {
    /// Makes room, before there are processes.
    pub(super) fn prepare(&self) {
        if self.memory.get().is_none() {
            // Without memory nothing is carried, as if nothing had been kept.
            self.memory.set(shared::cells(CLIENTS * NUMBERS).ok());
        }
    }

    /// In the parent: handlers keep this of a client.
    pub(super) fn keep(&self, client: SocketAddr, kept: &[Item]) {
        let Some(memory) = self.memory.get() else { return };
        let mut last = self.last.borrow_mut();
        let (place, mut all) = match last.take() {
            Some((known, place, all)) if known == client => (place, all),
            Some((_, place, _)) => ((place + 1) % CLIENTS, vec![]),
            None => (0, vec![]),
        };
        all.extend_from_slice(kept);
        let mut octets = vec![];
        wire::write_frame(all.clone(), &mut octets);
        if octets.len() <= ROOM {
            write(slot(memory, place), client, &octets);
        }
        *last = Some((client, place, all));
    }

    /// In a worker: what was kept of this client; nothing where it was not found.
    pub(super) fn of(&self, client: SocketAddr) -> Vec<Item> {
        let Some(memory) = self.memory.get() else { return vec![] };
        let found = (0..CLIENTS).find_map(|place| read(slot(memory, place), client));
        found.and_then(|octets| wire::parse(octets.get(4..)?).ok()).unwrap_or_default()
    }
}

fn slot(memory: &'static [AtomicU64], place: usize) -> &'static [AtomicU64] {
    &memory[place * NUMBERS..][..NUMBERS]
}

fn write(slot: &[AtomicU64], client: SocketAddr, octets: &[u8]) {
    let version = slot[0].load(Ordering::Relaxed);
    slot[0].store(version | 1, Ordering::Relaxed);
    fence(Ordering::Release);
    let [high, low, port] = name(client);
    let about = port << 32 | octets.len() as u64;
    for (number, value) in slot[1..DATA].iter().zip([high, low, about]) {
        number.store(value, Ordering::Relaxed);
    }
    for (number, octets) in slot[DATA..].iter().zip(octets.chunks(size_of::<u64>())) {
        let mut whole = [0; size_of::<u64>()];
        whole[..octets.len()].copy_from_slice(octets);
        number.store(u64::from_ne_bytes(whole), Ordering::Relaxed);
    }
    slot[0].store((version | 1).wrapping_add(1), Ordering::Release);
}

/// None where it is about another client, or was written just now.
fn read(slot: &[AtomicU64], client: SocketAddr) -> Option<Vec<u8>> {
    let number = |at: usize| slot[at].load(Ordering::Relaxed);
    let version = slot[0].load(Ordering::Acquire);
    let length = (number(3) & u64::from(u32::MAX)) as usize;
    let is_it = [number(1), number(2), number(3) >> 32] == name(client);
    if version == 0 || version & 1 == 1 || !is_it || length > ROOM {
        return None;
    }
    let data = slot[DATA..].iter().take(length.div_ceil(size_of::<u64>()));
    let octets = data.flat_map(|number| number.load(Ordering::Relaxed).to_ne_bytes());
    let octets: Vec<u8> = octets.take(length).collect();
    fence(Ordering::Acquire);
    (slot[0].load(Ordering::Relaxed) == version).then_some(octets)
}

fn name(client: SocketAddr) -> [u64; 3] {
    let ip = match client.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    let ip = u128::from(ip);
    [(ip >> 64) as u64, ip as u64, client.port().into()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_of_a_client_is_found_by_its_address_and_port() {
        let carried = Carried::default();
        let client = |port| SocketAddr::from(([192, 0, 2, 1], port));
        carried.keep(client(1), &[Item::text("nowhere")]);
        assert!(carried.of(client(1)).is_empty());
        carried.prepare();
        carried.keep(client(1), &[Item::text("one")]);
        carried.keep(client(1), &[Item::text("more")]);
        carried.keep(client(2), &[Item::text(vec![7; ROOM])]);
        carried.keep(client(3), &[Item::text("three")]);
        assert_eq!(carried.of(client(1)), [Item::text("one"), Item::text("more")]);
        assert!(carried.of(client(2)).is_empty(), "there is no room for so much");
        assert_eq!(carried.of(client(3)), [Item::text("three")]);
        assert!(carried.of(SocketAddr::from(([192, 0, 2, 2], 1))).is_empty());
        for port in 10..10 + CLIENTS as u16 {
            carried.keep(client(port), &[Item::number(port)]);
        }
        assert!(carried.of(client(1)).is_empty(), "its place is another client's");
        assert_eq!(carried.of(client(11)), [Item::number(11)]);
    }
}
