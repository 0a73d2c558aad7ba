use super::*;
use crate::server::handoff;
use crate::sys::title;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn peer(text: &str) -> Peer {
    Peer::Tcp { remote: (ip(text), 40000), local: (ip("192.0.2.25"), 25) }
}

fn add(board: &mut Scoreboard, pid: i32, client: Option<&str>) -> (usize, Row) {
    let (link, _) = handoff::pair().unwrap();
    let (place, row) = board.free().unwrap();
    board.add(place, pid, Some(link), client.map(peer));
    (place, row)
}

#[test]
fn clients_are_counted_by_address_and_network() {
    let mut board = Scoreboard::new(5).unwrap();
    let (_, first) = add(&mut board, 1, Some("192.0.2.1"));
    add(&mut board, 2, Some("192.0.2.1"));
    add(&mut board, 3, Some("2001:db8::1"));
    add(&mut board, 4, Some("2001:db8::2"));
    assert_eq!(board.connections_from(ip("192.0.2.1")), 2);
    assert_eq!(board.connections_from(ip("192.0.2.2")), 0);
    assert_eq!(board.connections_from(ip("2001:db8::ffff")), 2);
    assert_eq!(board.connections_from(ip("2001:db8:0:1::1")), 0);
    first.is_done();
    assert_eq!(board.look(), [0]);
    assert_eq!(board.remove(3).unwrap().client, Some(peer("2001:db8::1")));
    assert!(board.remove(3).is_none());
    assert_eq!(board.connections_from(ip("192.0.2.1")), 1);
    assert_eq!(board.connections_from(ip("2001:db8::1")), 1);
    assert_eq!((board.len(), board.idle(), board.busy()), (3, 1, 2));
    let (place, _) = board.free().unwrap();
    board.add(place, 5, None, Some(Peer::Unix));
    assert_eq!((board.busy(), board.connections_from(ip("127.0.0.1"))), (3, 0));
    board.client_left(place);
    board.client_left(place);
    assert_eq!((board.busy(), board.clients().count()), (2, 2));
}

#[test]
fn the_last_to_wait_works_first_and_the_first_to_wait_leaves_first() {
    let mut board = Scoreboard::new(3).unwrap();
    let rows = [1, 2, 3].map(|pid| add(&mut board, pid, None).1);
    assert_eq!(board.waiting(), Some(2));
    board.serves(2, peer("192.0.2.1"));
    assert_eq!(board.waiting(), Some(1));
    assert_eq!(board.take_longest_waiting(), Some(0));
    rows[2].is_done();
    assert_eq!(board.look(), [2]);
    assert_eq!(board.waiting(), Some(2));
}

#[test]
fn what_is_new_is_found_once() {
    let mut board = Scoreboard::new(2).unwrap();
    let (first, own) = add(&mut board, 71, Some("192.0.2.1"));
    let (second, other) = add(&mut board, 72, Some("192.0.2.2"));
    assert!(board.free().is_none());
    assert!(board.look().is_empty());
    other.client_left();
    assert!(board.look().is_empty());
    assert_eq!(board.clients().collect::<Vec<_>>(), [peer("192.0.2.1")]);
    assert!(!other.is_done());
    own.client_left();
    assert_eq!(board.look(), [second]);
    assert_eq!((board.busy(), board.idle()), (0, 1));
    assert!(board.look().is_empty());
    own.is_done();
    assert_eq!(board.look(), [first]);
    // What a worker said of one client is not about the next one.
    board.serves(first, peer("192.0.2.3"));
    own.client_left();
    own.is_done();
    assert_eq!((board.look(), board.busy()), (vec![first], 0));
    board.serves(first, peer("192.0.2.4"));
    other.client_left();
    assert_eq!((board.look(), board.busy()), (vec![], 1));
}

#[test]
fn a_slot_is_free_again_when_its_worker_is_gone() {
    let mut board = Scoreboard::new(1).unwrap();
    let (place, old) = add(&mut board, 71, Some("192.0.2.1"));
    old.client_left();
    old.is_done();
    old.client_left();
    assert_eq!(board.remove(71).unwrap().served, 0);
    let (again, own) = add(&mut board, 71, Some("192.0.2.2"));
    assert_eq!(again, place);
    assert!(board.look().is_empty() && board.busy() == 1, "the old one's news");
    own.is_done();
    assert_eq!(board.look(), [place]);
}

#[test]
fn who_is_to_end_does_not_wait() {
    let mut board = Scoreboard::new(1).unwrap();
    let (place, own) = add(&mut board, 71, Some("192.0.2.1"));
    board.get_mut(place).unwrap().outdated = true;
    own.is_done();
    assert_eq!((board.look(), board.idle(), board.busy()), (vec![place], 0, 0));
}

#[test]
fn workers_wake_the_parent_while_they_are_asked_to() {
    let mut board = Scoreboard::new(1).unwrap();
    let (_, own) = add(&mut board, 71, None);
    assert!(!own.is_done());
    assert!(board.ask(true));
    assert!(!board.ask(true) && own.is_done());
    assert!(!board.ask(false) && !own.is_done());
}

#[test]
fn what_a_worker_does_is_seen() {
    let mut board = Scoreboard::new(2).unwrap();
    add(&mut board, 71, None);
    let (place, own) = add(&mut board, 72, None);
    let view = board.view();
    assert_eq!((view.most(), view.workers()), (2, vec![]));
    own.begins();
    title::share(own.shown());
    title::serves("2001:db8:1111:2222:3333:4444:5555:6666");
    title::does("RCPT");
    title::asks("virus/clamdscan");
    let [seen] = &view.workers()[..] else { panic!("one worker") };
    assert_eq!(
        (seen.pid, &*seen.does, &*seen.asks),
        (std::process::id(), "RCPT", "virus/clamdscan")
    );
    assert_eq!(seen.client, "2001:db8:1111:2222:3333:4444:5555:6666");
    assert!(!seen.since.is_zero());
    title::asks("");
    title::waits();
    let [seen] = &view.workers()[..] else { panic!("one worker") };
    assert_eq!((&*seen.does, &*seen.asks, &*seen.client), ("waiting", "", ""));
    board.remove(72);
    assert_eq!((view.workers(), place), (vec![], 1));
}

#[test]
fn more_workers_than_there_can_be_are_refused() {
    for most in [usize::MAX, usize::MAX / 8] {
        assert_eq!(Scoreboard::new(most).err(), Some(nix::Error::ENOMEM));
    }
}
