//! Users of the system, as docs/authentication.md has it: pwauth asks PAM.

use nix::unistd::geteuid;

use super::{DOVECOT, PASSWORD, authenticate, config, dovecot};
use crate::harness::{Config, Model, Server, deb, say};

/// The script of the guide.
fn script() -> &'static str {
    let guide = include_str!("../../docs/authentication.md");
    guide.split("```").nth(1).and_then(|text| text.strip_prefix("sh\n")).expect("is there")
}

#[test]
fn pam_is_asked_by_the_script_of_the_guide() {
    if !geteuid().is_root() {
        return say("skipped: pwauth needs root");
    }
    if !deb::need("pwauth") {
        return;
    }
    let account = deb::account("pam", PASSWORD);
    let (user, password) = (account.name(), PASSWORD);
    let config = config("auth/auth_checkpassword checkpw {work}/checkpassword true /bin/true");
    config.program("checkpassword", script());
    let server = Server::start(&config, Model::Inetd);
    for (user, sent, code) in [
        (user, password.to_owned(), "235"),
        (user, password[1..].to_owned(), "535"),
        (user, format!("{password}\nmore"), "535"),
        (user, format!("\n{password}"), "535"),
        ("qpsmtpd-t-no", password.to_owned(), "535"),
        ("root", password.to_owned(), "535"),
    ] {
        let reply = authenticate(&server, "PLAIN", user, &sent);
        assert_eq!(reply.code, code, "{user} {sent:?}: {}", server.log().tail());
    }
    // The program of the script is not there.
    config.program("checkpassword", &script().replace("/usr/sbin/pwauth", "/nonexistent/pwauth"));
    let reply = authenticate(&server, "LOGIN", user, password);
    assert_eq!(reply.code, "454", "{}", server.log().tail());
    assert!(!server.log().text().contains(&password[1..]), "{}", server.log().tail());
    server.stop().unwrap();
}

#[test]
fn pam_is_asked_by_dovecot() {
    if !geteuid().is_root() {
        return say("skipped: Dovecot needs root");
    }
    if !deb::need("dovecot-imapd") {
        return;
    }
    let account = deb::account("dovecot", PASSWORD);
    let user = account.name();
    let keep = Config::new();
    let file = "driver = passwd-file\n  args = username_format=%u {work}/config/users";
    let text = DOVECOT.replacen(file, "driver = pam\n  args = dovecot", 1);
    assert_ne!(text, DOVECOT);
    let (_dovecot, ..) = dovecot(&keep, &text);
    let config = config(&format!("auth/auth_dovecot {}", keep.path("auth").display()));
    let server = Server::start(&config, Model::Prefork);
    for (user, sent, code) in
        [(user, PASSWORD, "235"), (user, &PASSWORD[1..], "535"), ("qpsmtpd-t-no", PASSWORD, "535")]
    {
        let reply = authenticate(&server, "PLAIN", user, sent);
        assert_eq!(reply.code, code, "{user} {sent:?}: {}", server.log().tail());
    }
    server.stop().unwrap();
}
