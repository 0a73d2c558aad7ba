//! The clock jumps: nothing waits for the hour to come, and no name is given twice.

use std::fs;

use super::deliver;
use crate::harness::{Config, Model, Server, deb};

const LIBRARY: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";

#[test]
fn the_clock_jumps() {
    if cfg!(not(target_arch = "x86_64")) || !deb::need("libfaketime") {
        return;
    }
    for model in [Model::Inetd, Model::Prefork] {
        let mut config = Config::new();
        let clock = config.path("clock");
        fs::write(&clock, "+0\n").unwrap();
        for (name, value) in [
            ("LD_PRELOAD", LIBRARY),
            ("FAKETIME_TIMESTAMP_FILE", &clock.display().to_string()),
            ("FAKETIME_NO_CACHE", "1"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
            ("DONT_FAKE_MONOTONIC", "1"),
        ] {
            config = config.env(name, value);
        }
        config = config.set("keep_environment", "LD_PRELOAD\nFAKETIME*\nDONT_FAKE*");
        let server = Server::start(&config, model);
        let mut client = server.connect();
        client.hello();
        for (number, clock_says) in ["+0", "+2d", "-2d", "+0", "-40y", "+10y"].iter().enumerate() {
            fs::write(&clock, format!("{clock_says}\n")).unwrap();
            assert_eq!(deliver(&mut client, &format!("message {number}"), 1000), "250");
        }
        client.quit();
        let mails = config.mails();
        assert_eq!(mails.len(), 6);
        let years = |mail: &Vec<u8>| {
            let text = String::from_utf8_lossy(mail).into_owned();
            text.lines().find(|line| line.contains("with ESMTP;")).map(str::to_owned)
        };
        let dates: std::collections::BTreeSet<_> = mails.iter().map(years).collect();
        assert!(dates.len() >= 4, "the clock did not jump: {dates:?}");
        server.stop().unwrap();
    }
}
