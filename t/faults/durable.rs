//! What has to be on the disk before 250: the message and the name under which it is found.

use std::fs;
use std::io::Write;
use std::process::Stdio;

use regex::Regex;

use crate::harness::{Config, Model, deb};

const DIALOGUE: &str = "EHLO client.test\r\nMAIL FROM:<a@example.net>\r\n\
    RCPT TO:<b@example.com>\r\nDATA\r\nSubject: x\r\n\r\ntext\r\n.\r\nQUIT\r\n";

/// strace shows in which order things happen.
#[test]
fn file_and_folder_are_synced_before_250() {
    if !deb::need("strace") {
        return;
    }
    let synced = Regex::new(r"f(data)?sync\(\d+<([^>]*)>(?:\(deleted\))?\)\s+= 0").unwrap();
    let names = Regex::new(r"(link|rename)\w*\(.*Maildir/new/.*= 0").unwrap();
    for sizes in ["0", "100000"] {
        let config = Config::new().set("size_threshold", sizes);
        let mut command = config.command("strace");
        command.args(["-f", "-y", "-qq", "-s", "4000", "-o"]).arg(config.path("trace"));
        command.args(["-e", "trace=write,writev,sendto,fsync,fdatasync,sync_file_range,rename,renameat,renameat2,link,linkat"]);
        command.arg(Model::Inetd.program());
        command.env("TCPREMOTEIP", "127.0.0.1");
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = child.spawn().unwrap();
        child.stdin.take().unwrap().write_all(DIALOGUE.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let replies = String::from_utf8_lossy(&output.stdout);
        assert!(replies.contains("\r\n250 2.0.0 "), "{replies}");
        let trace = fs::read_to_string(config.path("trace")).unwrap();
        let place = |wanted: &dyn Fn(&str) -> bool| trace.lines().position(wanted);
        let is_new = |path: &str| path.ends_with("Maildir/new");
        let folder = place(&|line| synced.captures(line).is_some_and(|found| is_new(&found[2])));
        let file = place(&|line| {
            synced.captures(line).is_some_and(|found| {
                found[2].contains("Maildir") && !is_new(&found[2]) && !found[2].ends_with("/tmp")
            })
        });
        let named = place(&|line| names.is_match(line));
        let said = place(&|line| line.contains("250 2.0.0 "));
        let order = [file, named, folder, said];
        assert!(order.iter().all(Option::is_some) && order.is_sorted(), "{order:?}\n{trace}");
    }
}
