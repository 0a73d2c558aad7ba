//! queue/postfix-queue with the cleanup of a Postfix of its own.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::{User, geteuid};
use regex::Regex;

use super::{is_below_added_lines, large, send, tricky};
use crate::harness::client::Reply;
use crate::harness::{Config, Log, Model, Process, Server, TIMEOUT, deb, free_port, poll, say};
use crate::messages::stored;
use crate::smuggling::matrix::{EVIL, neighbourhoods};

/// The largest message in octets.
const LARGEST: usize = 2_000_000;

/// Postfix's folder in that of the test; nothing delivers what is in its queue.
pub(crate) struct Postfix {
    dir: PathBuf,
    port: u16,
    master: Process,
}

impl Postfix {
    /// Starts it; None where that is not possible.
    fn start(config: &Config) -> Option<Postfix> {
        Postfix::start_with(config, "", "")
    }

    /// The same with more lines in main.cf and master.cf.
    pub(crate) fn start_with(config: &Config, main: &str, master: &str) -> Option<Postfix> {
        if !deb::need("postfix") {
            return None;
        }
        if !geteuid().is_root() {
            say("skipped: Postfix has to be started by root");
            return None;
        }
        // Postfix's own user has to get to its folders.
        fs::set_permissions(config.work(), fs::Permissions::from_mode(0o755)).unwrap();
        let dir = config.path("postfix");
        for name in ["conf", "spool", "data"] {
            fs::create_dir_all(dir.join(name)).unwrap();
        }
        let user = User::from_name("postfix").unwrap().expect("Debian makes it");
        chown(dir.join("data"), Some(user.uid.as_raw()), None).unwrap();
        fs::write(dir.join("conf/main.cf"), main_cf(&dir.to_string_lossy()) + main).unwrap();
        let port = free_port();
        let master_cf = MASTER_CF.replace("{port}", &port.to_string()) + master;
        fs::write(dir.join("conf/master.cf"), master_cf).unwrap();
        fs::write(dir.join("conf/checks"), CHECKS).unwrap();
        let postfix = |arguments: &[&str]| {
            let mut command = config.command(deb::program("postfix").unwrap());
            command.arg("-c").arg(dir.join("conf")).args(arguments).output().unwrap()
        };
        let checked = postfix(&["check"]);
        assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
        let daemons = ["/usr/lib/postfix/sbin/master", "/usr/libexec/postfix/master"];
        let master = daemons.iter().find(|path| PathBuf::from(path).exists()).unwrap();
        let mut command = config.command(master);
        command.arg("-c").arg(dir.join("conf")).arg("-d").process_group(0);
        let log = Log::default();
        let postfix = Postfix { master: Process::spawn(command, &log), dir, port };
        let public = postfix.dir.join("spool/public");
        let is_up = || public.join("cleanup").exists().then_some(());
        assert!(poll(TIMEOUT, is_up).is_some(), "Postfix does not start:\n{}", log.tail());
        // On a real system the daemon's user is in the group postdrop instead.
        fs::set_permissions(public, fs::Permissions::from_mode(0o755)).unwrap();
        Some(postfix)
    }

    /// What postcat says of a message in the queue.
    pub(crate) fn postcat(&self, what: &str, queue_id: &str) -> Vec<u8> {
        let mut command = Command::new(deb::program("postcat").unwrap());
        command.arg("-c").arg(self.dir.join("conf")).args([what, "-q", queue_id]);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    /// Sender and recipients of a message in the queue.
    pub(crate) fn envelope(&self, queue_id: &str) -> Vec<String> {
        let envelope = String::from_utf8(self.postcat("-e", queue_id)).unwrap();
        let of = |name| envelope.lines().filter_map(move |line: &str| line.strip_prefix(name));
        of("sender: ").chain(of("recipient: ")).map(str::to_owned).collect()
    }

    /// The address of its smtpd.
    pub(crate) fn smtpd(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }

    /// How many messages are in the queue.
    pub(crate) fn count(&self) -> usize {
        let folders = ["incoming", "hold"].map(|name| self.dir.join("spool").join(name));
        folders.iter().map(|folder| fs::read_dir(folder).unwrap().count()).sum()
    }
}

impl Drop for Postfix {
    /// Ends it with the processes that it has started.
    fn drop(&mut self) {
        killpg(self.master.pid(), Signal::SIGKILL).ok();
    }
}

fn main_cf(dir: &str) -> String {
    format!(
        "compatibility_level = 3.6\n\
        queue_directory = {dir}/spool\n\
        data_directory = {dir}/data\n\
        command_directory = /usr/sbin\n\
        mail_owner = postfix\n\
        setgid_group = postdrop\n\
        myhostname = mx.test\n\
        mydestination = example.com\n\
        inet_interfaces = 127.0.0.1\n\
        inet_protocols = ipv4\n\
        alias_maps =\n\
        alias_database =\n\
        in_flow_delay = 0s\n\
        message_size_limit = {LARGEST}\n\
        mailbox_size_limit = 0\n\
        hopcount_limit = 10\n\
        maillog_file = {dir}/log\n\
        maillog_file_prefixes = {dir}\n\
        header_checks = regexp:{dir}/conf/checks\n\
        virtual_alias_maps = fail:down\n"
    )
}

const MASTER_CF: &str = "\
    127.0.0.1:{port} inet n - n - - smtpd -o virtual_alias_maps= -o local_recipient_maps= \
        -o receive_override_options=no_address_mappings\n\
    cleanup unix n - n - 0 cleanup\n\
    rewrite unix - - n - - trivial-rewrite\n\
    bounce unix - - n - 0 bounce\n\
    postlog unix-dgram n - n - 1 postlogd\n";

const CHECKS: &str = "\
    /^Subject: bad/ REJECT we do not want this\n\
    /^Subject: worse/ REJECT 5.7.9 nor that\n\
    /^Subject: hold/ HOLD\n";

/// The queue id in the reply to a message that was queued.
fn queue_id(reply: &Reply) -> String {
    let form = Regex::new(r"^250 2\.0\.0 Queued! <1@a\.test> \(Queue-Id: (\w+)\)$").unwrap();
    let found = form.captures(&reply.lines[0]);
    found.unwrap_or_else(|| panic!("{reply:?}"))[1].to_owned()
}

fn config(arguments: &str) -> Config {
    let plugin = format!("queue/postfix-queue {{work}}/postfix/spool/public/cleanup {arguments}");
    Config::new().set("plugins", &format!("rcpt_ok\n{plugin}")).set("databytes", "0")
}

#[test]
fn messages_are_in_the_queue_octet_by_octet() {
    for model in Model::ALL {
        let config = config("FLAG_FILTER");
        let Some(postfix) = Postfix::start(&config) else { return };
        let server = Server::start(&config, model);
        let mut client = server.connect();
        client.hello();
        let to = ["<b@example.com>", "<\"c d\"@example.com>"];
        for (message, from, sender) in [
            (tricky("one"), "<a@example.net>", "a@example.net"),
            (tricky("hold"), "<>", ""),
            (large(500_000), "<\"x y\"@example.net>", "x y@example.net"),
        ] {
            let before = postfix.count();
            let id = queue_id(&send(&mut client, from, &to, &message));
            assert_eq!(postfix.count(), before + 1);
            is_below_added_lines(&postfix.postcat("-bh", &id), &message);
            assert_eq!(postfix.envelope(&id), [sender, "b@example.com", "c d@example.com"]);
        }
        assert_eq!(fs::read_dir(postfix.dir.join("spool/hold")).unwrap().count(), 1);
        client.quit();
        drop(postfix);
        server.stop().unwrap();
    }
}

/// CR, LF and NUL around dots: one message, and nothing of it is another's envelope.
#[test]
fn what_others_may_take_for_an_end_is_in_one_message() {
    let config = config("").set("bare_newline", "accept");
    // Since 3.9 it makes blanks of CRs, unless it is told not to.
    let main = "cleanup_replace_stray_cr_lf = no\n";
    let Some(postfix) = Postfix::start_with(&config, main, "") else { return };
    let server = Server::start(&config, Model::Prefork);
    let mut client = server.connect();
    client.hello();
    let head = String::from_utf8_lossy(&tricky("odd")).replace('\n', "\r\n");
    let (head, _) = head.split_once("\r\n\r\n").unwrap();
    let text: Vec<u8> = neighbourhoods().iter().flat_map(|dot| [b"x", &dot[..]].concat()).collect();
    let message = [head.as_bytes(), b"\r\n\r\n", &text, EVIL, b"end\r\n"].concat();
    client.ask("MAIL FROM:<a@example.net>", "250");
    client.ask("RCPT TO:<b@example.com>", "250");
    client.send_raw(&[format!("BDAT {} LAST\r\n", message.len()).as_bytes(), &message].concat());
    let id = queue_id(&client.expect("250"));
    assert_eq!(postfix.count(), 1);
    is_below_added_lines(&postfix.postcat("-bh", &id), &stored(&message));
    assert_eq!(postfix.envelope(&id), ["a@example.net", "b@example.com"]);
    client.quit();
    drop(postfix);
    server.stop().unwrap();
}

#[test]
fn refusals_are_passed_on() {
    let config = config("FLAG_FILTER");
    let Some(postfix) = Postfix::start(&config) else { return };
    let server = Server::start(&config, Model::Prefork);
    let mut client = server.connect();
    client.hello();
    let hops = "Received: from x by y; Thu, 01 Jan 2026 00:00:00 +0000\n".repeat(20);
    let hops = [hops.as_bytes(), &tricky("hops")].concat();
    for (message, want) in [
        (tricky("bad"), "552 5.7.1 we do not want this"),
        (tricky("worse"), "552 5.7.9 nor that"),
        (hops, "552 5.4.0 too many hops"),
        (large(LARGEST + 1000), "552 5.3.4 message file too big"),
    ] {
        let reply = send(&mut client, "<a@example.net>", &["<b@example.com>"], &message);
        assert_eq!(reply.lines, [want]);
        assert_eq!(postfix.count(), 0);
    }
    queue_id(&send(&mut client, "<a@example.net>", &["<b@example.com>"], &tricky("good")));
    assert_eq!(postfix.count(), 1);
    client.quit();
    drop(postfix);
    server.stop().unwrap();
}

/// Without flags there are no checks; with FLAG_MAP_OK a table is needed that does not work.
#[test]
fn flags_decide_and_what_does_not_work_is_for_later() {
    for (flags, want) in [("", None), ("FLAG_MAP_OK", Some("452 4."))] {
        let config = config(flags);
        let Some(postfix) = Postfix::start(&config) else { return };
        let server = Server::start(&config, Model::Forkserver);
        let mut client = server.connect();
        client.hello();
        let reply = send(&mut client, "<a@example.net>", &["<b@example.com>"], &tricky("bad"));
        match want {
            None => assert!(!queue_id(&reply).is_empty()),
            Some(start) => assert!(reply.lines[0].starts_with(start), "{reply:?}"),
        }
        assert_eq!(postfix.count(), usize::from(want.is_none()));
        client.quit();
        drop(postfix);
        server.stop().unwrap();
    }
}

#[test]
fn the_next_socket_is_tried_and_none_is_for_later() {
    let config =
        config("").set("cleanup_sockets", "{work}/none\n{work}/postfix/spool/public/cleanup");
    let Some(postfix) = Postfix::start(&config) else { return };
    let server = Server::start(&config, Model::Inetd);
    let mut client = server.connect();
    client.hello();
    queue_id(&send(&mut client, "<a@example.net>", &["<b@example.com>"], &tricky("one")));
    server.log().wait_for("/none\": ");
    assert_eq!(postfix.count(), 1);
    client.quit();
    config.write("cleanup_sockets", "{work}/none");
    let mut client = server.connect();
    client.hello();
    let reply = send(&mut client, "<a@example.net>", &["<b@example.com>"], &tricky("two"));
    assert_eq!(reply.lines, ["451 4.3.0 Queuing declined or disabled; try again later"]);
    client.quit();
    drop(postfix);
    server.stop().unwrap();
}

#[test]
fn the_environment_names_another_socket() {
    let config = config("").set("cleanup_sockets", "{work}/none");
    let socket = config.path("postfix/spool/public/cleanup");
    let config = config.env("POSTFIXQUEUE", socket.to_str().unwrap());
    let Some(postfix) = Postfix::start(&config) else { return };
    let server = Server::start(&config, Model::Prefork);
    let mut client = server.connect();
    client.hello();
    queue_id(&send(&mut client, "<a@example.net>", &["<b@example.com>"], &tricky("one")));
    assert_eq!(postfix.count(), 1);
    client.quit();
    drop(postfix);
    server.stop().unwrap();
}

/// What Postfix has in its queue file about notifications, and what it has there if the same client
/// speaks to its own smtpd.
#[test]
fn what_is_asked_about_notifications_is_in_the_queue() {
    let config = config("");
    let Some(postfix) = Postfix::start(&config) else { return };
    let server = Server::start(&config, Model::Prefork);
    let own = postfix.smtpd();
    let form = Regex::new(r"(?:Queue-Id: |queued as )(\w+)").unwrap();
    let mut shown = vec![];
    for mut client in [server.connect(), server.connect_to(own)] {
        assert!(client.hello().lines.iter().any(|line| &line[4..] == "DSN"));
        client.ask("MAIL FROM:<a@example.net> RET=HDRS ENVID=QQ+2B314+3D159", "250");
        for to in [
            "<b@example.com> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;Bob+2BB@x.test",
            "<c@example.com> NOTIFY=NEVER",
            "<d@example.com> ORCPT=utf-8;\\x{E4}@x.test NOTIFY=delay",
            "<e@example.com>",
        ] {
            client.ask(&format!("RCPT TO:{to}"), "250");
        }
        client.ask("DATA", "354");
        client.say("Message-Id: <1@a.test>\r\nSubject: x\r\n\r\n.");
        let reply = client.reply();
        let id = &form.captures(&reply.lines[0]).unwrap_or_else(|| panic!("{reply:?}"))[1];
        let envelope = String::from_utf8(postfix.postcat("-e", id)).unwrap();
        let names = ["envelope_id", "ret_flags", "notify_flags", "dsn_orig_rcpt"];
        let is_named = |line: &str| names.iter().any(|name| line.contains(name));
        let is_of_interest = |line: &&str| is_named(line) || line.starts_with("recipient: ");
        let lines = envelope.lines().filter(is_of_interest).map(str::to_owned);
        shown.push(lines.collect::<Vec<_>>().join("\n"));
        client.quit();
    }
    assert_eq!(shown[0], shown[1]);
    for line in ["envelope_id=QQ+314=159", "ret_flags=2", "notify_flags=6", "notify_flags=1"] {
        assert!(shown[0].contains(&format!("named_attribute: {line}\n")), "{}", shown[0]);
    }
    drop(postfix);
    server.stop().unwrap();
}

/// What Postfix needs to deliver, and to keep accounts of what it has delivered.
const DELIVERY: &str = "\
    qmgr unix n - n 300 1 qmgr\n\
    lmtp unix - - n - - lmtp\n\
    error unix - - n - - error\n\
    retry unix - - n - - error\n\
    defer unix - - n - 0 bounce\n\
    trace unix - - n - 0 bounce\n";

/// Postfix delivers by LMTP to a socket of the daemon's, and believes what that says of each recipient.
#[test]
fn postfix_delivers_by_lmtp() {
    for model in Model::PARENTS {
        let config = Config::new();
        config.write("plugins", "rcpt_ok\nqueue/maildir {work}/Maildir %l");
        fs::write(config.path("Maildir/c"), "not a folder").unwrap();
        let path = config.path("lmtp").display().to_string();
        let main = format!("local_transport = lmtp:unix:{path}\n");
        let Some(postfix) = Postfix::start_with(&config, &main, DELIVERY) else { return };
        let [option, address] = model.listen("127.0.0.1:0");
        let server = Server::start_with(&config, model, &[option, address, option, &path]);
        let mut client = server.connect_to(postfix.smtpd());
        client.hello();
        client.ask("MAIL FROM:<a@example.net>", "250");
        for user in ["b", "c", "d"] {
            client.ask(&format!("RCPT TO:<{user}@example.com>"), "250");
        }
        client.ask("DATA", "354");
        client.say("Message-Id: <1@a.test>\r\nSubject: x\r\n\r\n.");
        client.expect("250");
        client.quit();
        let log = || fs::read_to_string(postfix.dir.join("log")).unwrap_or_default();
        let status = |user: &str| {
            let (_, rest) = log().split_once(&format!("to=<{user}@example.com>")).map(|two| {
                (two.0.to_owned(), two.1.lines().next().unwrap_or_default().to_owned())
            })?;
            Some(rest.split_once("status=")?.1.to_owned())
        };
        for (user, want) in [
            ("b", "sent (250 2.0.0 Queued! <1@a.test>)"),
            ("c", "deferred ("),
            ("d", "sent (250 2.0.0 Queued! <1@a.test>)"),
        ] {
            let found = poll(TIMEOUT, || status(user)).unwrap_or_else(|| panic!("{}", log()));
            assert!(found.starts_with(want), "{model} {user}: {found}");
            let is_ours = found.contains("451 4.3.0 queue error (open)");
            assert_eq!(is_ours, user == "c", "{model} {user}: {found}");
        }
        for user in ["b", "d"] {
            let folder = config.path(&format!("Maildir/{user}/new"));
            let files: Vec<_> = fs::read_dir(folder).unwrap().collect();
            assert_eq!(files.len(), 1, "{model} {user}");
            let mail = fs::read_to_string(files[0].as_ref().unwrap().path()).unwrap();
            assert!(mail.contains(") with LMTP; "), "{mail}");
        }
        drop(postfix);
        server.stop().unwrap();
    }
}

/// Recipients in our domain that Postfix delivers elsewhere.
const ROUTES: [&str; 3] =
    ["u%evil.test@example.com", "evil.test!u@example.com", "\"u@evil.test\"@example.com"];

/// Everything is delivered nowhere; the log says whether that would have been here or elsewhere.
const NOWHERE: &str = "\
    virtual_alias_maps =\n\
    smtpd_relay_restrictions = permit_mynetworks, reject\n\
    mynetworks = 127.0.0.0/8\n\
    default_transport = lmtp:unix:elsewhere\n\
    local_transport = lmtp:unix:here\n";

/// Into Postfix's queue goes what its smtpd never sees, and its smtpd lets those relay whom it trusts:
/// what strangers send there is for us and cannot leave.  With `recipient_routes accept` it does.
#[test]
fn no_recipient_is_a_way_to_elsewhere() {
    for queue in ["queue/postfix-queue", "queue/smtp-forward"] {
        let config = Config::new();
        let Some(postfix) = Postfix::start_with(&config, NOWHERE, DELIVERY) else { return };
        let arguments = match queue {
            "queue/smtp-forward" => format!("127.0.0.1 {}", postfix.port),
            _ => "{work}/postfix/spool/public/cleanup FLAG_MASK_EXTERNAL".into(),
        };
        config.write("plugins", &format!("rcpt_ok\n{queue} {arguments}"));
        let log = || fs::read_to_string(postfix.dir.join("log")).unwrap_or_default();
        let count = |place: &str| {
            let place = format!("[{place}]");
            let is_it = |line: &&str| line.contains(" status=deferred ") && line.contains(&place);
            log().lines().filter(is_it).count()
        };
        let deferred = |place: &str, most: usize| {
            let found = poll(TIMEOUT, || (count(place) >= most).then_some(()));
            assert!(found.is_some(), "{queue}: {most} {place}\n{}", log());
        };
        let server = Server::start(&config, Model::Prefork);
        let mut client = server.connect();
        client.hello();
        client.ask("MAIL FROM:<>", "250");
        for route in ROUTES {
            client.ask(&format!("RCPT TO:<{route}>"), "550");
            client.ask(&format!("RCPT TO:<@example.com:{route}>"), "550");
        }
        client.ask("RCPT TO:<b@example.com>", "250");
        client.ask("DATA", "354");
        client.say("Message-Id: <1@a.test>\r\nSubject: x\r\n\r\n.");
        client.expect("250");
        client.quit();
        drop(server);
        deferred("here", 1);
        config.write("recipient_routes", "accept");
        let server = Server::start(&config, Model::Prefork);
        let mut client = server.connect();
        client.hello();
        for (sent, route) in ROUTES.iter().enumerate() {
            assert_eq!(count("elsewhere"), sent);
            let path = format!("<{route}>");
            let message = b"Message-Id: <1@a.test>\nSubject: x\n\nhi\n";
            let reply = send(&mut client, "<>", &[&path], message);
            assert_eq!(reply.code, "250", "{queue} {route}: {reply:?}");
            deferred("elsewhere", sent + 1);
        }
        client.quit();
        drop(postfix);
        server.stop().unwrap();
    }
}
