//! Connections that are kept or lost, and filters that fail.

use std::time::Duration;

use super::*;

/// One connection for the clients of a process if that is wanted and the filter is of version 6, and one
/// for each else.
#[test]
fn connections_are_kept_where_the_filter_can_do_that() {
    for (args, asks, most) in
        [("keep yes", EVERYTHING, 1), ("", EVERYTHING, 2), ("keep yes protocol 4", [4, 0x3f, 0], 2)]
    {
        let mut trial = trial(args);
        let peer = Peer { asks, script: proceed, most }.start(&trial);
        for _ in 0..2 {
            assert_eq!(deliver(&mut trial), DECLINED);
            leave(&mut trial);
        }
        drop(trial);
        let told = peer.join().unwrap().concat();
        let count = |letter: char| told.iter().filter(|packet| packet.starts_with(letter)).count();
        assert_eq!((count('O'), count('C'), count('E'), count('A')), (most, 2, 2, 0), "{told:?}");
        assert_eq!((count('K'), count('Q')), if most == 1 { (2, 0) } else { (0, 2) }, "{told:?}");
    }
}

/// A kept connection that the filter has closed is one that nobody has noticed.
#[test]
fn a_filter_that_was_started_anew_is_found() {
    let mut trial = trial("keep yes");
    let listener = UnixListener::bind(trial.dir().join("m")).unwrap();
    let peer = thread::spawn(move || {
        for _ in 0..3 {
            let mut stream = listener.accept().unwrap().0;
            while let Some(packet) = read_packet(&mut stream) {
                let reply = match packet[0] {
                    b'O' => answer(b'O', &EVERYTHING.map(u32::to_be_bytes).concat()),
                    b'K' | b'Q' => break,
                    b'D' => continue,
                    _ => answer(b'c', b""),
                };
                stream.write_all(&reply).unwrap();
            }
        }
    });
    for _ in 0..3 {
        assert_eq!(deliver(&mut trial), DECLINED, "{}", trial.log());
        leave(&mut trial);
    }
    peer.join().unwrap();
}

/// Whatever goes wrong wherever: the client is put off, or with `on_error ignore` served without the
/// filter, and nothing of the message is changed.
#[test]
fn a_filter_that_fails_is_an_error_wherever_it_does() {
    let wrong: [&[u8]; 9] = [
        b"",
        b"\0\0\0\0",
        b"\xff\xff\xff\xffc",
        b"\0\0\0\x01z",
        b"\0\0\0\x02cx",
        b"\0\0\0\x01",
        b"\0\0\0\x04y250",
        b"\0\0\0\x01f",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
    ];
    for place in *b"OCHMRTLNBE" {
        for wrong in wrong {
            for args in ["", "on_error ignore"] {
                let mut trial = trial(args);
                let listener = UnixListener::bind(trial.dir().join("m")).unwrap();
                let peer = thread::spawn(move || {
                    for _ in 0..2 {
                        let Ok((mut stream, _)) = listener.accept() else { return };
                        while let Some(packet) = read_packet(&mut stream) {
                            let reply = match packet[0] {
                                letter if letter == place => {
                                    let _ = stream.write_all(wrong);
                                    break;
                                }
                                b'O' => answer(b'O', &EVERYTHING.map(u32::to_be_bytes).concat()),
                                b'D' | b'A' => continue,
                                b'Q' => break,
                                _ => answer(b'c', b""),
                            };
                            if stream.write_all(&reply).is_err() {
                                break;
                            }
                        }
                    }
                });
                let steps: [fn(&mut Trial) -> Verdict; 4] =
                    [hello, |t| t.mail("<a@b>"), |t| t.rcpt("<b@b>"), message_quietly];
                let verdicts: Vec<Verdict> = steps.iter().map(|step| step(&mut trial)).collect();
                let failed = verdicts.iter().any(Verdict::is_failure);
                assert_eq!(failed, args.is_empty(), "{} {wrong:?} {verdicts:?}", char::from(place));
                assert!(verdicts.iter().all(|v| v.is_failure() || *v == DECLINED), "{verdicts:?}");
                let log = trial.log();
                assert!(log.contains("FATAL PLUGIN ERROR: test: /"), "{log}");
                assert_eq!(trial.session.transaction.header.len(), 4);
                leave(&mut trial);
                // Whoever was not needed.
                let path = trial.dir().join("m");
                let _ = std::os::unix::net::UnixStream::connect(&path);
                let _ = std::os::unix::net::UnixStream::connect(&path);
                peer.join().unwrap();
            }
        }
    }
}

fn message_quietly(trial: &mut Trial) -> Verdict {
    let data = trial.plain(Hook::Data);
    trial.message("Subject:  x\n y\nX-A: 1\nx-a: 2\n\ntext\n");
    trial.session.transaction.header.add_trace("from us");
    let verdict = trial.plain(Hook::DataPost);
    if data == DECLINED { verdict } else { data }
}

#[test]
fn what_is_said_before_a_failure_is_not_done() {
    fn script(letter: u8, _: &[u8]) -> Option<Vec<u8>> {
        match letter {
            b'E' => {
                Some([answer(b'h', b"X-End\0 last\0"), answer(b'-', b"<b@example.com>\0")].concat())
            }
            _ => proceed(letter, b""),
        }
    }
    let mut trial = trial("content_timeout 1 on_error ignore");
    let _peer = Peer { asks: EVERYTHING, script, most: 1 }.start(&trial);
    let before = "Received: from us\nSubject:  x\n y\nX-A: 1\nx-a: 2\n";
    assert_eq!(deliver(&mut trial), DECLINED);
    assert!(
        trial.log().contains("END OF MESSAGE: the back end does not answer"),
        "{}",
        trial.log()
    );
    assert_eq!(
        (header(&trial).as_str(), trial.session.transaction.recipients().len()),
        (before, 1)
    );
}

/// A filter that says again and again that it needs more time has it, up to the handler's own limit.
#[test]
fn progress_does_not_go_on_for_ever() {
    let mut trial = trial("content_timeout 5 timeout 2");
    let listener = UnixListener::bind(trial.dir().join("m")).unwrap();
    let peer = thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        while let Some(packet) = read_packet(&mut stream) {
            match packet[0] {
                b'O' => stream
                    .write_all(&answer(b'O', &[6, 0, 0].map(u32::to_be_bytes).concat()))
                    .unwrap(),
                b'D' => continue,
                b'E' => {
                    while stream.write_all(&answer(b'p', b"")).is_ok() {
                        thread::sleep(Duration::from_millis(20));
                    }
                }
                _ => stream.write_all(&answer(b'c', b"")).unwrap(),
            }
        }
    });
    assert!(deliver(&mut trial).is_failure());
    leave(&mut trial);
    peer.join().unwrap();
}
