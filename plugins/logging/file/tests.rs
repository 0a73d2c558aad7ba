use super::*;
use std::fs;
use std::path::Path;
use tempfile::TempDir;

fn sink(dir: &TempDir, line: &str) -> Sink {
    let line = line.replace("{dir}", &dir.path().display().to_string());
    let (_, sink) = Sink::from_args(&Args::new(line.split_whitespace())).unwrap();
    Sink { pause: Duration::ZERO, ..sink }
}

fn refused(line: &str) -> String {
    let refused = Sink::from_args(&Args::new(line.split_whitespace())).err();
    refused.unwrap_or_else(|| panic!("{line} is accepted")).to_string()
}

fn record<'a>(session: &'a str, text: &'a str) -> Record<'a> {
    Record {
        level: Level::Info,
        hook: Some("rcpt"),
        plugin: Some("rcpt_ok"),
        session,
        transaction: 1,
        peer: None,
        text,
        ..Record::default()
    }
}

fn log(sink: &mut Sink, session: &str, text: &str) {
    sink.ready(session).unwrap();
    sink.write(&record(session, text)).unwrap();
}

/// The texts of the lines in a file.
fn texts(path: &Path) -> Vec<String> {
    let lines = fs::read_to_string(path).unwrap_or_default();
    let text = |line: &str| line.rsplit_once(": ").unwrap().1.to_owned();
    lines.lines().map(text).collect()
}

/// Waits for a command.
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < Duration::from_secs(60), "{what} does not come");
        std::thread::yield_now();
    }
}

#[test]
fn a_line_has_time_host_process_hook_plugin_and_text() {
    let dir = tempfile::tempdir().unwrap();
    let mut sink = sink(&dir, "tsformat [%Y] {dir}/log");
    fs::write(dir.path().join("log"), "old\n").unwrap();
    log(&mut sink, "s", "pass");
    let year = sink.now().year();
    let start = format!("[{year}] {}[{}]:", host_name(), std::process::id());
    let line = format!("{start} [s] (rcpt) rcpt_ok: pass\n");
    assert_eq!(fs::read_to_string(dir.path().join("log")).unwrap(), format!("old\n{line}"));
    log(&mut sink, "", "pass");
    let all = fs::read_to_string(dir.path().join("log")).unwrap();
    assert!(all.ends_with(&format!("{line}{start} (rcpt) rcpt_ok: pass\n")), "{all}");
}

#[test]
fn json_lines_are_objects_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let mut sink = sink(&dir, "format json {dir}/log");
    log(&mut sink, "s", "one");
    log(&mut sink, "", "two \"quoted\"");
    let lines = fs::read_to_string(dir.path().join("log")).unwrap();
    let lines: Vec<serde_json::Value> =
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2);
    assert_eq!((&lines[0]["session"], &lines[0]["message"]), (&"s".into(), &"one".into()));
    assert_eq!(lines[1]["message"], "two \"quoted\"");
    assert!(lines[1].get("session").is_none());
}

#[test]
fn the_default_time_is_that_of_perls_localtime() {
    let (_, sink) = Sink::from_args(&Args::new(["/log"])).unwrap();
    let at = Timestamp::from_second(1_700_000_003).unwrap().to_zoned(TimeZone::UTC);
    assert_eq!(time(&sink.tsformat, &at, true).unwrap(), "Tue Nov 14 22:13:23 2023");
}

#[test]
fn arguments_come_before_the_path() {
    let args = "LogLevel LOGDEBUG nosplit REOPEN tsformat %FT%T /var/log/a b %i %Y";
    let (level, sink) = Sink::from_args(&Args::new(args.split(' '))).unwrap();
    assert_eq!(level, Level::Debug);
    assert!(sink.nosplit && sink.reopen && !sink.is_command);
    assert_eq!((&*sink.tsformat, &*sink.target), ("%FT%T", "/var/log/a b %i %Y"));
    let (level, sink) = Sink::from_args(&Args::new(["|", "cat", ">", "nosplit"])).unwrap();
    assert_eq!(level, Level::Warn);
    assert!(sink.is_command && !sink.nosplit && !sink.reopen);
    assert_eq!(sink.target, "cat > nosplit");
}

#[test]
fn wrong_arguments_are_refused() {
    for (line, why) in [
        ("", "argument missing"),
        ("nosplit", "argument missing"),
        ("|", "argument missing"),
        ("/log loglevel", ""),
        ("loglevel", "argument loglevel has no value"),
        ("loglevel LOUD /log", "'LOUD' is not a log level"),
        ("tsformat", "argument tsformat has no value"),
        ("tsformat %! /log", "'%!'"),
        ("format json", "argument missing"),
        ("format xml /log", "unknown log format 'xml'"),
        ("/log.%!", "'/log.%!'"),
    ] {
        if why.is_empty() {
            assert!(Sink::from_args(&Args::new(line.split(' '))).is_ok(), "{line}");
        } else {
            assert!(refused(line).contains(why), "{line}: {}", refused(line));
        }
    }
}

#[test]
fn the_session_is_part_of_the_path() {
    assert_eq!(with_session("/a/%i-%Y.%%i", "7/x%"), "/a/7_x%%-%Y.%%i");
    let dir = tempfile::tempdir().unwrap();
    let mut sink = sink(&dir, "{dir}/%i.log");
    log(&mut sink, "", "one");
    log(&mut sink, "a/1", "two");
    log(&mut sink, "b", "three");
    log(&mut sink, "a/1", "four");
    assert_eq!(texts(&dir.path().join("parent.log")), ["one"]);
    assert_eq!(texts(&dir.path().join("a_1.log")), ["two", "four"]);
    assert_eq!(texts(&dir.path().join("b.log")), ["three"]);
}

#[test]
fn a_file_that_was_moved_or_removed_is_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let mut sink = sink(&dir, "{dir}/log");
    log(&mut sink, "a", "one");
    fs::rename(&path, dir.path().join("log.1")).unwrap();
    log(&mut sink, "a", "two");
    assert_eq!(texts(&dir.path().join("log.1")), ["one"]);
    assert_eq!(texts(&path), ["two"]);
    fs::remove_file(&path).unwrap();
    log(&mut sink, "a", "three");
    assert_eq!(texts(&path), ["three"]);
}

#[test]
fn the_file_is_not_looked_at_for_every_line() {
    let dir = tempfile::tempdir().unwrap();
    let mut sink = Sink { pause: Duration::from_secs(3600), ..sink(&dir, "{dir}/log") };
    log(&mut sink, "a", "one");
    fs::rename(dir.path().join("log"), dir.path().join("log.1")).unwrap();
    log(&mut sink, "b", "two");
    assert_eq!(texts(&dir.path().join("log.1")), ["one", "two"]);
}

#[test]
fn nosplit_keeps_a_session_together() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let mut sink = sink(&dir, "nosplit {dir}/log");
    log(&mut sink, "a", "one");
    fs::rename(&path, dir.path().join("log.1")).unwrap();
    log(&mut sink, "a", "two");
    assert_eq!(texts(&dir.path().join("log.1")), ["one", "two"]);
    log(&mut sink, "b", "three");
    assert_eq!(texts(&path), ["three"]);
}

#[test]
fn where_the_new_file_cannot_be_opened_the_old_one_stays() {
    let dir = tempfile::tempdir().unwrap();
    let mut sink = sink(&dir, "{dir}/%i/log");
    fs::create_dir(dir.path().join("a")).unwrap();
    log(&mut sink, "a", "one");
    assert!(sink.ready("b").is_err());
    sink.write(&record("b", "two")).unwrap();
    assert_eq!(texts(&dir.path().join("a/log")), ["one", "two"]);
    fs::create_dir(dir.path().join("b")).unwrap();
    log(&mut sink, "b", "three");
    assert_eq!(texts(&dir.path().join("b/log")), ["three"]);
}

#[test]
fn a_file_that_cannot_be_opened_is_an_error_and_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut sink = sink(&dir, "{dir}/missing/log");
    assert_eq!(sink.ready("a").unwrap_err().kind(), ErrorKind::NotFound);
    assert!(sink.write(&record("a", "lost")).is_err());
    fs::create_dir(dir.path().join("missing")).unwrap();
    log(&mut sink, "a", "kept");
    assert_eq!(texts(&dir.path().join("missing/log")), ["kept"]);
    let mut full = Sink { target: "/dev/full".into(), ..sink };
    full.ready("a").unwrap();
    assert_eq!(full.write(&record("a", "lost")).unwrap_err().kind(), ErrorKind::StorageFull);
}

#[test]
fn a_command_gets_the_lines() {
    let dir = tempfile::tempdir().unwrap();
    let mut sink = sink(&dir, "| cat > {dir}/out-%i");
    log(&mut sink, "a", "one");
    log(&mut sink, "a", "two");
    sink.close();
    let path = dir.path().join("out-a");
    until("the output of the command", || texts(&path) == ["one", "two"]);
}

#[test]
fn a_command_that_ended_is_started_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut sink = sink(&dir, "| echo run: started >> {dir}/runs");
    let runs = dir.path().join("runs");
    until("the second run", || {
        sink.ready("a").unwrap();
        // The new one may have ended, too, before it got the line.
        let done = sink.write(&record("a", "line"));
        assert!(done.is_ok() || done.unwrap_err().kind() == ErrorKind::BrokenPipe);
        texts(&runs).len() >= 2
    });
    if let Some(Output::Command(child)) = &mut sink.output {
        child.wait().unwrap();
    }
}

#[test]
fn reopen_starts_a_command_for_every_session() {
    let dir = tempfile::tempdir().unwrap();
    let mut sink = sink(&dir, "reopen | cat > /dev/null; echo run: ended >> {dir}/runs");
    for session in ["a", "a", "", "b", "b", "c"] {
        log(&mut sink, session, "line");
    }
    sink.close();
    let runs = dir.path().join("runs");
    // One for each of a, b and c.
    until("the third run", || texts(&runs).len() == 3);
}

#[test]
fn a_command_that_takes_nothing_does_not_stop_the_server() {
    let dir = tempfile::tempdir().unwrap();
    let mut sink = sink(&dir, "| read wait < {dir}/fifo");
    nix::unistd::mkfifo(&dir.path().join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let text = "x".repeat(1 << 20);
    sink.ready("a").unwrap();
    for _ in 0..3 {
        let lost = sink.write(&record("a", &text)).unwrap_err();
        assert_eq!(lost.kind(), ErrorKind::WouldBlock);
    }
    assert!(sink.stall.timeout().is_zero());
    fs::write(dir.path().join("fifo"), "\n").unwrap();
}

#[test]
fn a_fifo_that_nobody_reads_tells_what_is_missing() {
    use std::fs::File;
    use std::io::Read;
    use std::os::unix::fs::OpenOptionsExt;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("fifo");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let mut sink = sink(&dir, "{dir}/fifo");
    assert!(sink.ready("a").is_err(), "nobody has it open");
    let mut options = File::options();
    let mut reader = options.read(true).custom_flags(libc::O_NONBLOCK).open(&path).unwrap();
    sink.ready("a").unwrap();
    let text = "x".repeat(3000);
    while sink.write(&record("a", &text)).is_ok() {}
    for _ in 0..1000 {
        assert!(sink.write(&record("a", &text)).is_err());
    }
    let mut all = String::new();
    while reader.read_to_string(&mut all).is_ok() {}
    sink.write(&record("a", "read again")).unwrap();
    let _ = reader.read_to_string(&mut all);
    assert!(all.contains("read again\n"), "{all}");
    assert!(all.ends_with("nobody read this log for a while, 1001 lines are missing\n"), "{all}");
}

#[test]
fn it_takes_the_lines_of_its_level() {
    use crate::testing::Trial;
    let mut trial = Trial::new("logging/file loglevel LOGNOTICE ~/log\nrcpt_ok", &[]);
    trial.session.log(Level::Notice, "kept");
    trial.session.log(Level::Info, "left out");
    trial.rcpt("<b@elsewhere.test>");
    let lines = fs::read_to_string(trial.dir().join("log")).unwrap();
    assert!(lines.ends_with("]: [trial] kept\n") && lines.lines().count() == 1, "{lines}");
    assert!(Trial::load("logging/file", &[]).is_err());
}
