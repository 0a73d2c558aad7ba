//! The events of a daemon's log: docs/events.md.

use std::fs;

use qpsmtpd::log::event::{FIELDS, KINDS, Type};
use serde_json::Value;

use crate::harness::{Client, Config, Model, Server};

const PLUGINS: &str = "auth/auth_flat_file\nrcpt_ok\nqueue/maildir {work}/Maildir";

/// A configuration that logs to the file `log`, with these arguments.
fn with_log(arguments: &str) -> Config {
    Config::new()
        .set("flat_auth_pw", "good@example.com:good_pass")
        .set("plugins", PLUGINS)
        .set("logging", &format!("logging/file loglevel LOGINFO {arguments} {{work}}/log"))
}

fn log(config: &Config) -> String {
    fs::read_to_string(config.path("log")).unwrap()
}

/// A failed AUTH, a refused recipient, a message that is taken and one that is not.
fn session(mut client: Client) {
    client.hello();
    client.ask("AUTH PLAIN AGdvb2RAZXhhbXBsZS5jb20AYS13cm9uZy1zZWNyZXQ=", "535");
    client.ask("MAIL FROM:<a@example.net>", "250");
    client.ask("RCPT TO:<b@elsewhere.test>", "550");
    client.ask("RCPT TO:<b@example.com>", "250");
    client.ask("RCPT TO:<c@example.com>", "250");
    client.ask("DATA", "354");
    client.send_raw(b"Message-ID: <1@example.net>\r\nSubject: x\r\n\r\ntext\r\n.\r\n");
    client.expect("250");
    client.ask("MAIL FROM:<>", "250");
    client.ask("RCPT TO:<b@example.com>", "250");
    client.ask("DATA", "354");
    client.send_raw(b"Subject: a\rb\r\n\r\n.\r\n");
    client.expect("550");
    client.quit();
}

/// The event of each record that has one.
fn events(log: &str) -> Vec<Value> {
    let records = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    records.filter_map(|record| record.get("event").cloned()).collect()
}

fn is_of(value: &Value, kind: Type) -> bool {
    match kind {
        Type::String => value.as_str().is_some_and(|text| !text.is_empty()),
        Type::Number => value.is_number(),
        Type::Boolean => value.is_boolean(),
        Type::Strings => value.as_array().is_some_and(|all| all.iter().all(Value::is_string)),
        Type::Numbers => value.as_object().is_some_and(|all| all.values().all(Value::is_number)),
    }
}

#[test]
fn events_have_the_fields_of_the_schema() {
    for model in Model::ALL {
        let config = with_log("format json");
        let server = Server::start(&config, model);
        session(server.connect());
        server.stop().unwrap();
        let events = events(&log(&config));
        for event in &events {
            let kind = KINDS.iter().find(|(_, name)| event["kind"] == *name).unwrap().0;
            for (name, value) in event.as_object().unwrap() {
                let row = FIELDS.iter().find(|row| row.name == name).unwrap();
                assert!(row.events.contains(&kind) && is_of(value, row.kind), "{name}: {event}");
            }
            assert_eq!((&event["version"], &event["ip"]), (&1.into(), &"127.0.0.1".into()));
        }
        let kinds: Vec<_> = events.iter().map(|event| event["kind"].as_str().unwrap()).collect();
        let want = ["connection", "refusal", "refusal", "message", "message", "session"];
        assert_eq!(kinds, want, "{events:#?}");
        let [_, auth, refusal, taken, refused, over] = &events[..] else { unreachable!() };

        assert_eq!((&auth["hook"], &auth["code"]), (&"auth-plain".into(), &535.into()));
        assert_eq!(auth["plugin"], "auth/auth_flat_file");
        assert!(!log(&config).contains("a-wrong-secret") && !log(&config).contains("AGdvb2R"));

        assert_eq!(refusal["recipient"], "<b@elsewhere.test>");
        assert_eq!((&refusal["plugin"], &refusal["verdict"]), (&"rcpt_ok".into(), &"DENY".into()));
        assert_eq!((&refusal["hook"], &refusal["code"]), (&"rcpt".into(), &550.into()));

        assert_eq!((&taken["result"], &taken["code"]), (&"accepted".into(), &250.into()));
        assert_eq!(
            (&taken["sender"], &taken["message_id"]),
            (&"<a@example.net>".into(), &"<1@example.net>".into())
        );
        assert_eq!(taken["recipients"].as_array().unwrap().len(), 2);
        assert_eq!((&taken["hook"], &taken["plugin"]), (&"queue".into(), &"queue/maildir".into()));
        assert!(fs::exists(taken["queue_id"].as_str().unwrap()).unwrap(), "{taken}");
        assert!(
            taken["hook_seconds"]["queue"].as_f64().unwrap() <= taken["seconds"].as_f64().unwrap()
        );

        assert_eq!((&refused["result"], &refused["plugin"]), (&"refused".into(), &"core".into()));
        assert_eq!((&refused["sender"], &refused["code"]), (&"<>".into(), &550.into()));

        let counts = ["commands", "messages", "accepted_recipients", "refusals"];
        assert_eq!(counts.map(|name| over[name].as_u64().unwrap()), [11, 1, 2, 2], "{over}");
    }
}

#[test]
fn text_logs_have_events_where_the_configuration_says_so() {
    for (setting, format, want) in [
        ("json", "", 0),
        ("all", "", 6),
        ("no", "", 0),
        ("no", "format json", 0),
        ("all", "format json", 6),
    ] {
        let config = with_log(format).set("events", setting);
        let server = Server::start(&config, Model::Prefork);
        session(server.connect());
        server.stop().unwrap();
        let log = log(&config);
        match format {
            "" => assert_eq!(log.matches(" version=1 ip=127.0.0.1 ").count(), want, "{log}"),
            _ => assert_eq!(events(&log).len(), want, "{log}"),
        }
        if (setting, format) == ("all", "") {
            let starts = [
                "] Connection from Unknown [127.0.0.1] kind=connection ",
                "] 550 DENY kind=refusal ",
                "] 250 accepted kind=message ",
                "] close session kind=session ",
            ];
            for start in starts {
                assert_eq!(log.matches(start).count(), 1, "{start}: {log}");
            }
        }
    }
}
