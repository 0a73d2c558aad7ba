//! The page in a browser.

use std::fs;
use std::process::{Command, Output};

use super::{session, with_status};
use crate::harness::{Model, PATIENCE, Server, deb, free_port, poll};

/// Chromium with the page at this port.
fn chromium(port: u16, folder: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new("chromium");
    command.args(["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]);
    command.arg(format!("--user-data-dir={folder}")).args(arguments);
    command.env("HOME", folder).arg(format!("http://127.0.0.1:{port}/")).output().unwrap()
}

/// The width and height of a PNG (its IHDR chunk).
fn size(png: &[u8]) -> (u32, u32) {
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
    poll(PATIENCE, || std::net::TcpStream::connect(("127.0.0.1", port)).ok()).unwrap();

    let folder = config.path("browser");
    let folder = folder.to_str().unwrap();
    let log = ["--enable-logging=stderr", "--dump-dom"];
    let output = chromium(port, folder, &log);
    let (page, log) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    // The script has run, as the browser lets it.
    assert!(page.contains("renewed every 5 seconds"), "{page}{log}");
    assert!(!log.contains("Content Security Policy") && !log.contains("Uncaught"), "{log}");
    assert!(page.contains("– qpsmtpd</title>") && !page.contains("<img"), "{page}");
    assert!(page.contains("&lt;script&gt;document.title=1"), "{page}");

    for (width, height, more) in [(1200, 1400, ""), (390, 1800, "--force-dark-mode")] {
        let path = config.path("page.png");
        let screenshot = format!("--screenshot={}", path.display());
        let window = format!("--window-size={width},{height}");
        let arguments: Vec<_> =
            [&*screenshot, &window, more].into_iter().filter(|word| !word.is_empty()).collect();
        chromium(port, folder, &arguments);
        assert_eq!(size(&fs::read(&path).unwrap()), (width, height));
    }
    evil.quit();
    server.stop().unwrap();
}
