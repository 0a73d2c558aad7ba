//! rspamd of Debian, with its own configuration and a rule that wants what the message asks for.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::time::Duration;

use crate::harness::config::unprivileged;
use crate::harness::{Config, Log, Model, Process, Server, deb, free_port, poll};

const GTUBE: &str = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X";

/// Its configuration is compiled at the start, which takes a while on a busy machine.
const STARTS: Duration = Duration::from_secs(300);

/// What is in the local folder: nobody is asked on the network, and nothing is compiled ahead.
const FILES: [(&str, &str); 8] = [
    ("logging.inc", "type = \"file\"; filename = \"{work}/rspamd.log\"; level = \"info\";"),
    (
        "worker-normal.inc",
        "bind_socket = \"127.0.0.1:{port}\"; \
        bind_socket = \"{work}/rspamd.sock mode=0666\"; count = 1;",
    ),
    ("worker-proxy.inc", "enabled = false;"),
    ("worker-controller.inc", "enabled = false;"),
    ("worker-fuzzy.inc", "enabled = false;"),
    ("http_headers.conf", "enabled = true;"),
    ("actions.conf", "quarantine = 900; discard = 1000;"),
    (
        "options.inc",
        "disable_hyperscan = true; \
        dns { nameserver = [\"127.0.0.1:1\"]; timeout = 0.01s; retransmits = 1; }",
    ),
];

/// Decides by the field X-Ask, and says in fields what it was told.
const RULES: &str = r#"
rspamd_config:register_symbol{name = 'ASKED', type = 'prefilter', callback = function(task)
  local told = {}
  for _, name in ipairs{'User', 'MTA-Name', 'TLS-Version', 'SPF', 'Settings-ID'} do
    local value = task:get_request_header(name)
    if value then told[#told + 1] = name .. '=' .. tostring(value) end
  end
  local from = task:get_from('smtp')
  told[#told + 1] = 'from=' .. ((from and from[1] and from[1].addr) or '')
  local count = 0
  for _, rcpt in ipairs(task:get_recipients('smtp') or {}) do
    count = count + 1
    if count < 3 then told[#told + 1] = 'rcpt=' .. rcpt.addr end
  end
  told[#told + 1] = 'rcpts=' .. count
  told[#told + 1] = 'ip=' .. tostring(task:get_from_ip()) .. ' helo=' .. (task:get_helo() or '')
  require('lua_mime').modify_headers(task, {
    add = {['X-Told'] = {order = 1, value = table.concat(told, '\n\t')},
      ['X-End'] = {order = -1, value = 'end'}},
    remove = {['X-Ask'] = 0},
  })
  local ask = task:get_header('X-Ask')
  if ask == 'rewrite subject' then task:set_metric_subject('[spam] changed') end
  if ask and ask ~= 'nothing' then task:set_pre_result(ask, 'because ' .. ask, 'asked') end
end}
"#;

fn rspamd(keep: &Config) -> (Process, u16) {
    let port = free_port();
    let work = keep.work().to_string_lossy().into_owned();
    let folder = keep.path("local/local.d");
    fs::create_dir_all(&folder).unwrap();
    for (name, text) in FILES {
        let text = text.replace("{work}", &work).replace("{port}", &port.to_string());
        fs::write(folder.join(name), text + "\n").unwrap();
    }
    fs::write(keep.path("local/rspamd.local.lua"), RULES).unwrap();
    fs::create_dir(keep.path("db")).unwrap();
    fs::set_permissions(keep.work(), fs::Permissions::from_mode(0o777)).unwrap();
    fs::set_permissions(keep.path("db"), fs::Permissions::from_mode(0o777)).unwrap();
    let mut command = keep.command(deb::program("rspamd").expect("was asked for"));
    command.args(["--no-fork", "--insecure", "--config=/etc/rspamd/rspamd.conf"]);
    if unprivileged().is_some() {
        command.args(["--user=nobody", "--group=nogroup"]);
    }
    for (name, folder) in
        [("LOCAL_CONFDIR", "local"), ("DBDIR", "db"), ("RUNDIR", ""), ("LOGDIR", "")]
    {
        command.arg(format!("--var={name}={}", keep.path(folder).display()));
    }
    command.stdout(Stdio::null());
    let log = Log::default();
    let mut process = Process::spawn(command, &log);
    let is_ready = || {
        assert!(process.ended().is_none(), "rspamd has ended:\n{}", log.tail());
        let answer =
            std::net::TcpStream::connect(("127.0.0.1", port)).ok().and_then(|mut stream| {
                use std::io::{Read, Write};
                stream.write_all(b"GET /ping HTTP/1.0\r\n\r\n").ok()?;
                let mut answer = String::new();
                stream.read_to_string(&mut answer).ok()?;
                Some(answer)
            })?;
        answer.contains("pong").then_some(())
    };
    assert!(poll(STARTS, is_ready).is_some(), "rspamd is not ready:\n{}", log.tail());
    (process, port)
}

fn send(server: &Server, ask: &str, text: &str) -> String {
    let mut client = server.connect();
    client.hello();
    client.envelope();
    let fields = "From: a@example.net\r\nTo: b@example.com\r\nMessage-Id: <1@a.test>\r\n\
        Date: Sun, 29 Nov 2026 02:43:14 +0000\r\nSubject: an offer\r\nX-Spam: No\r\n";
    let message = format!("{fields}X-Ask: {ask}\r\n\r\n{text}\r\n.\r\n");
    client.send_raw(message.as_bytes());
    let reply = client.reply();
    client.quit();
    reply.lines.join(" ")
}

#[test]
fn rspamd_is_asked_and_obeyed() {
    if !deb::need("rspamd") {
        return;
    }
    let keep = Config::new();
    let (rspamd, port) = rspamd(&keep);
    let socket = keep.path("rspamd.sock");
    for (place, model) in [
        (format!("127.0.0.1 {port}"), Model::Forkserver),
        (socket.display().to_string(), Model::Prefork),
    ] {
        let plugins = format!(
            "rspamd {place} settings_id none deadline 60\nrcpt_ok\n\
             queue/maildir {{work}}/Maildir quarantine {{work}}/Apart"
        );
        let config = Config::new().set("plugins", &plugins);
        let server = Server::start(&config, model);
        for (ask, reply) in [
            ("nothing", "250 "),
            ("greylist", "451 4.7.1 because greylist"),
            ("soft reject", "451 4.7.1 because soft reject"),
            ("reject", "554 5.7.1 because reject"),
            ("discard", "250 "),
            ("add header", "250 "),
            ("rewrite subject", "250 "),
            ("quarantine", "250 "),
        ] {
            let found = send(&server, ask, "text");
            let told = || format!("{ask}: {found} {}", server.log().tail());
            assert!(found.starts_with(reply), "{}", told());
            let folder = if ask == "quarantine" { "Apart" } else { "Maildir" };
            let mail = taken(&config, folder);
            let is_kept = reply == "250 " && ask != "discard";
            assert_eq!(mail.is_some(), is_kept, "{}", told());
            let Some(mail) = mail else { continue };
            for part in [
                "\nX-Told: ",
                "MTA-Name=mail.test",
                "from=a@example.net",
                "ip=127.0.0.1 helo=client.test",
                "rcpt=b@example.com\n\trcpts=1",
                "\nX-End: end\n\n",
                "\nX-Old-Spam: No\n",
            ] {
                assert!(mail.contains(part), "{part}: {mail}");
            }
            assert!(!mail.contains("X-Ask"), "{mail}");
            let marks = [
                ("add header", "\nX-Spam: Yes\n"),
                ("rewrite subject", "\nSubject: [spam] changed\n"),
                ("quarantine", "\nX-Quarantine: rspamd: quarantine ("),
            ];
            for (action, mark) in marks {
                assert_eq!(mail.contains(mark), ask == action, "{ask} {mark}: {mail}");
            }
        }
        let found = send(&server, "nothing", GTUBE);
        assert!(found.starts_with("554 5.7.1 Gtube pattern"), "{found} {}", server.log().tail());
        if model == Model::Prefork {
            many(&server);
            drop(rspamd);
            let found = send(&server, "nothing", "text");
            assert!(found.starts_with("451 "), "{found} {}", server.log().tail());
            server.log().wait_for("no rspamd has answered");
            server.stop().unwrap();
            return;
        }
        server.stop().unwrap();
    }
}

/// As many recipients as there may be.
fn many(server: &Server) {
    let mut client = server.connect();
    client.hello();
    client.ask("MAIL FROM:<a@example.net>", "250");
    for number in 0..1000 {
        client.ask(&format!("RCPT TO:<recipient-with-a-long-name-{number}@example.com>"), "250");
    }
    client.ask("DATA", "354");
    client.ask("Subject: x\r\n\r\n.", "250");
    client.quit();
}

/// The one message in a folder, which is taken away.
fn taken(config: &Config, folder: &str) -> Option<String> {
    let mut mails = fs::read_dir(config.path(folder).join("new")).ok()?;
    let path = mails.next()?.unwrap().path();
    let text = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
    fs::remove_file(path).unwrap();
    assert!(mails.next().is_none());
    Some(text)
}
