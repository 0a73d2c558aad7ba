//! The page in a browser.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use super::{session, with_status};
use crate::harness::{Config, Model, Server, TIMEOUT, deb, free_port, poll};

/// The page as those see it who like it dark.
const DARK: &str = "--blink-settings=preferredColorScheme=0";

/// Chromium with the page at this port.
fn chromium(port: u16, config: &Config, arguments: &[&str]) -> Output {
    let folder = config.path("browser");
    let mut command = Command::new("chromium");
    command.args(["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]);
    command.arg(format!("--user-data-dir={}", folder.display())).args(arguments);
    command.env("HOME", folder).arg(format!("http://127.0.0.1:{port}/")).output().unwrap()
}

/// The page in a window of that width and height, as a PNG.
pub(super) fn screenshot(
    port: u16,
    config: &Config,
    path: &Path,
    (width, height): (u32, u32),
    more: &[&str],
) {
    let screenshot = format!("--screenshot={}", path.display());
    let window = format!("--window-size={width},{height}");
    let arguments = [&[&*screenshot, &window], more].concat();
    chromium(port, config, &arguments);
}

/// The width and height of a PNG (its IHDR chunk).
pub(super) fn size(png: &[u8]) -> (u32, u32) {
    let number = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().unwrap());
    (number(16), number(20))
}

#[test]
fn the_page_works_in_chromium() {
    if !deb::need("chromium") {
        return;
    }
    let port = free_port();
    let config = with_status(&format!("127.0.0.1:{port}"));
    let server = Server::start(&config, Model::Prefork);
    session(server.connect());
    let mut evil = server.connect();
    evil.hello();
    evil.ask("MAIL FROM:<\"<script>document.title=1</script>\"@example.net>", "250");
    evil.ask("RCPT TO:<\"<img/src=x/onerror=document.title=1>\"@elsewhere.test>", "550");
    poll(TIMEOUT, || std::net::TcpStream::connect(("127.0.0.1", port)).ok()).unwrap();

    let log = ["--enable-logging=stderr", "--dump-dom"];
    let output = chromium(port, &config, &log);
    let (page, log) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    // The script has run, as the browser lets it.
    assert!(page.contains("renewed every 5 seconds"), "{page}{log}");
    assert!(!log.contains("Content Security Policy") && !log.contains("Uncaught"), "{log}");
    assert!(page.contains("– qpsmtpd</title>") && !page.contains("<img"), "{page}");
    assert!(page.contains("&lt;script&gt;document.title=1"), "{page}");

    for (wanted, more) in [((1200, 1400), &[][..]), ((390, 1800), &[DARK])] {
        let path = config.path("page.png");
        screenshot(port, &config, &path, wanted, more);
        assert_eq!(size(&fs::read(&path).unwrap()), wanted);
    }
    evil.quit();
    server.stop().unwrap();
}
