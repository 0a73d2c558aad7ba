//! Plays a transcript against a server.

use regex::Regex;

use super::script::{Script, Session, Step};
use super::want::without_status;
use crate::harness::{Client, Config, Model, Server};

/// Plays all sessions against one server; the error begins with the number of the line that went
/// wrong, and tells what was wanted, what came, and how it came to that.
pub(crate) fn play(script: &Script, model: Model) -> Result<(), String> {
    let files = script.config.iter();
    let config = files.fold(Config::new(), |config, (name, text)| config.set(name, text));
    let place = |at: usize, why: String| format!("{at} ({model}): {why}");
    let server = Server::try_start(&config, model, &[]).map_err(|why| place(1, why))?;
    for session in &script.sessions {
        let title = |why: String| format!("{}\n{why}", session.title);
        let mut client = server.connect();
        for (at, step) in &session.steps {
            take(step, &mut client, &server).map_err(|why| place(*at, title(why)))?;
        }
        delivered(session, config.take_mails())
            .map_err(|why| place(session.at, title(client.story(&why))))?;
    }
    server.stop().map_err(|why| place(1, why))?;
    match config.mails().len() {
        0 => Ok(()),
        more => Err(place(1, format!("{more} messages came after their session"))),
    }
}

fn take(step: &Step, client: &mut Client, server: &Server) -> Result<(), String> {
    match step {
        Step::Send(bytes) => client.send_raw(bytes),
        Step::Line(want) => {
            let line = client.line()?;
            if !line.as_ref().is_some_and(|line| want.meets(line)) {
                return Err(differs(client, &want.to_string(), line));
            }
        }
        Step::Rest { code, has, lacks } => {
            let reply = client.try_reply()?;
            let lines = reply.as_ref().map_or(&[][..], |reply| &reply.lines);
            let texts: Vec<_> = lines.iter().map(|line| without_status(line)).collect();
            let text_is = |want: &Regex| {
                texts.iter().any(|text| want.is_match(text.get(4..).unwrap_or_default()))
            };
            let good = reply.as_ref().is_some_and(|reply| reply.code == *code)
                && has.iter().all(text_is)
                && !lacks.iter().any(text_is);
            if !good {
                let named = |wants: &[Regex]| {
                    wants.iter().map(Regex::as_str).collect::<Vec<_>>().join(", ")
                };
                let want = format!("{code} that has {} and lacks {}", named(has), named(lacks));
                return Err(differs(client, &want, reply.map(|reply| reply.lines.join(" / "))));
            }
        }
        Step::Closed => {
            if let Some(line) = client.line()? {
                return Err(differs(client, "(closed)", Some(line)));
            }
        }
        Step::Log(text) => {
            let said = |log: &str| log.contains(text).then_some(());
            server
                .log()
                .wait_until(said)
                .ok_or_else(|| client.story(&format!("the log does not come to say {text:?}")))?;
        }
    }
    Ok(())
}

/// Are these the messages that the session has to deliver?
fn delivered(session: &Session, mails: Vec<Vec<u8>>) -> Result<(), String> {
    let texts: Vec<_> = mails.iter().map(|mail| String::from_utf8_lossy(mail)).collect();
    if texts.len() != session.mails {
        return Err(format!(
            "want {} messages delivered, got {}: {texts:#?}",
            session.mails,
            texts.len()
        ));
    }
    let parts = |text: &str| {
        let (header, body) = text.split_once("\n\n").unwrap_or((text, ""));
        (header.to_string(), body.to_string())
    };
    let (headers, bodies): (Vec<_>, Vec<_>) = texts.iter().map(|text| parts(text)).unzip();
    for want in &session.headers {
        if !headers.iter().any(|header| header.lines().any(|line| want.is_match(line))) {
            return Err(format!("no header has the line {want}: {headers:#?}"));
        }
    }
    match session.bodies.iter().find(|want| !bodies.contains(want)) {
        Some(want) => Err(format!("no message has the body\n- {want:?}\n+ {bodies:?}")),
        None => Ok(()),
    }
}

fn differs(client: &Client, want: &str, got: Option<String>) -> String {
    client.story(&format!("- {want}\n+ {}", got.as_deref().unwrap_or("(closed)")))
}
