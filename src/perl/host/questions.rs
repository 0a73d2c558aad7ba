//! What Perl plugins ask for while a handler runs, and what they say without waiting.

use std::path::Path;
use std::rc::Rc;

use super::{Caller, Perl};
use crate::hook::{Args, Call, Code, Hook, Session, verdict_of};
use crate::log::Level;
use crate::perl::file::{self, LfFile};
use crate::perl::items;
use crate::perl::protocol::Refused;
use crate::perl::store;
use crate::perl::verdict::{code_number, escaped, returned};
use crate::perl::wire::Item;
use crate::settings::SPOOL_DIR;
use crate::state::Params;

type Answer = Result<Item, Refused>;
type Run = fn(&Perl, &mut Caller<'_, '_>, &[Item]) -> Answer;

/// THE table of questions.
const QUESTIONS: [(&str, Run); 28] = [
    ("log", log),
    // Lines that are held are written before any question is answered.
    ("held", |_, _, _| Ok(Item::Undef)),
    ("config", config),
    ("config_file", config_file),
    ("user_config", user_config),
    ("config_dir", config_dir),
    ("plugin_dirs", plugin_dirs),
    ("map", map),
    ("map_keys", map_keys),
    ("remote_host", remote_host),
    ("remote_info", remote_info),
    ("header", header),
    ("body", body),
    ("body_write", body_write),
    ("data_size", data_size),
    ("spool_dir", spool_dir),
    ("temp_file", temp_file),
    ("temp_dir", temp_dir),
    ("results", results),
    ("run_hooks", run_hooks),
    ("commands", commands),
    ("reset_transaction", reset_transaction),
    ("cannot_work", cannot_work),
    ("isa_native", isa_native),
    ("parent", parent),
    ("store_get", |_, caller, args| Ok(store::get(session(caller)?, args)?)),
    ("store_swap", |_, caller, args| Ok(store::swap(session(caller)?, args)?)),
    ("store_keys", |_, caller, args| Ok(store::keys(session(caller)?, args)?)),
];

impl Perl {
    /// What plugins have written to the file of the message becomes the message.
    ///
    /// # Errors
    /// The file cannot be read any more.
    pub(super) fn take_back_body(
        &self,
        caller: &mut Caller<'_, '_>,
        start: Option<u64>,
    ) -> Result<(), String> {
        let Caller::Session(session) = caller else { return Ok(()) };
        let transaction = &mut session.transaction;
        let Some(file) = transaction.kept::<Rc<LfFile>>().cloned() else { return Ok(()) };
        if let Some(start) = start {
            file.set_start(start);
        }
        if !file.is_of(transaction) || !file.is_changed() {
            return Ok(());
        }
        file.take_back(transaction).map_err(|error| format!("the message's file: {error}"))?;
        if let Some(serving) = &*self.serving.borrow() {
            serving.replica.borrow_mut().knows_body(transaction);
        }
        Ok(())
    }

    /// Answers a question of the table.
    pub(super) fn answer(&self, caller: &mut Caller<'_, '_>, what: &str, args: &[Item]) -> Answer {
        match QUESTIONS.iter().find(|row| row.0 == what) {
            Some((_, run)) => run(self, caller, args),
            None => Err(format!("nobody can answer '{what}'").into()),
        }
    }

    /// Does what a plugin said without waiting for an answer.
    pub(super) fn take_statement(&self, caller: &mut Caller<'_, '_>, what: &str, args: &[Item]) {
        match (what, &mut *caller) {
            ("log", _) => drop(log(self, caller, args)),
            ("respond", Caller::Session(session)) => {
                let code = number(args, 0).clamp(200, 599) as u16;
                session.respond(code, text(args, 1));
            }
            ("disconnect", Caller::Session(session)) => session.disconnect(),
            ("logger_failed", _) => {
                let is_late = args.get(1).is_some_and(Item::is_true);
                self.lines.failed(number(args, 0), is_late, text(args, 2));
            }
            _ => {}
        }
    }
}

fn text(args: &[Item], at: usize) -> String {
    args.get(at).map(Item::as_text).unwrap_or_default()
}

fn number(args: &[Item], at: usize) -> i64 {
    args.get(at).and_then(Item::as_number).unwrap_or(0)
}

fn session<'a>(caller: &'a mut Caller<'_, '_>) -> Result<&'a mut Session, Refused> {
    caller.session().ok_or_else(|| "there is no session here".into())
}

fn log(_perl: &Perl, caller: &mut Caller<'_, '_>, args: &[Item]) -> Answer {
    let level = Level::from_number(number(args, 0));
    let text = text(args, 1);
    match caller {
        Caller::Session(session) => session.log(level, text.trim_end()),
        Caller::Incoming(incoming) => incoming.log(level, text.trim_end()),
        Caller::Loading(hooks) => hooks.log(level, text.trim_end()),
        Caller::Process(_) => {}
    }
    Ok(Item::Undef)
}

fn config(perl: &Perl, caller: &mut Caller<'_, '_>, args: &[Item]) -> Answer {
    let name = text(args, 0);
    let (lines, config) = match caller {
        Caller::Session(session) => {
            let lines = session.config(&name);
            let value = lines.is_empty().then(|| session.config_value(&name)).flatten();
            if let Some(serving) = &*perl.serving.borrow() {
                serving.replica.borrow_mut().has_told(&name, &lines);
            }
            return Ok(Item::texts(lines.iter().map(str::to_owned).chain(value)));
        }
        Caller::Incoming(incoming) => (incoming.config(&name), incoming.plain_config()),
        Caller::Loading(hooks) => (hooks.config().list(&name), hooks.config()),
        Caller::Process(config) => (config.list(&name), *config),
    };
    let value = lines.is_empty().then(|| config.value(&name)).flatten();
    Ok(Item::texts(lines.iter().map(str::to_owned).chain(value)))
}

/// The same without what plugins say.
fn config_file(perl: &Perl, _caller: &mut Caller<'_, '_>, args: &[Item]) -> Answer {
    Ok(Item::texts(perl.config.list(&text(args, 0)).iter()))
}

fn user_config(_perl: &Perl, caller: &mut Caller<'_, '_>, args: &[Item]) -> Answer {
    let address = args.first().and_then(items::address).unwrap_or_default();
    Ok(Item::texts(session(caller)?.config_for(&address, &text(args, 1)).iter()))
}

fn config_dir(perl: &Perl, _caller: &mut Caller<'_, '_>, args: &[Item]) -> Answer {
    let file = perl.config.path(&text(args, 0)).or_else(|| perl.config.path("plugins"));
    Ok(Item::maybe(file.as_deref().and_then(Path::parent).and_then(Path::to_str)))
}

fn plugin_dirs(perl: &Perl, _caller: &mut Caller<'_, '_>, _args: &[Item]) -> Answer {
    let dirs = crate::perl::dirs(&perl.config);
    Ok(Item::texts(dirs.iter().map(|dir| dir.as_os_str().as_encoded_bytes())))
}

/// The value of a key, or undef; an empty list where there is no such map.
fn map(perl: &Perl, _caller: &mut Caller<'_, '_>, args: &[Item]) -> Answer {
    let key = args.get(1).map(Item::as_octets).unwrap_or_default();
    let map = perl.config.map(&text(args, 0));
    if !map.exists() {
        return Ok(Item::List(vec![]));
    }
    Ok(map.get(key).map_or(Item::Undef, Item::Text))
}

fn map_keys(perl: &Perl, _caller: &mut Caller<'_, '_>, args: &[Item]) -> Answer {
    Ok(Item::texts(perl.config.map(&text(args, 0)).keys()))
}

fn remote_host(_perl: &Perl, caller: &mut Caller<'_, '_>, _args: &[Item]) -> Answer {
    Ok(Item::text(session(caller)?.connection.remote_host()))
}

fn remote_info(_perl: &Perl, caller: &mut Caller<'_, '_>, _args: &[Item]) -> Answer {
    Ok(Item::text(session(caller)?.connection.remote_info()))
}

fn header(perl: &Perl, caller: &mut Caller<'_, '_>, _args: &[Item]) -> Answer {
    if let Some(serving) = &*perl.serving.borrow() {
        serving.replica.borrow_mut().wants_header();
    }
    Ok(items::header_item(&session(caller)?.transaction.header))
}

fn body(perl: &Perl, caller: &mut Caller<'_, '_>, _args: &[Item]) -> Answer {
    let session = session(caller)?;
    let fail = |error: std::io::Error| format!("cannot write the message for Perl: {error}");
    if let Some(file) = session.transaction.kept::<Rc<LfFile>>() {
        file.write(&session.transaction).map_err(fail)?;
        return Ok(file.item());
    }
    let serving = perl.serving.borrow().clone().ok_or("there is no Perl process")?;
    let path = session.spool_name();
    let file = LfFile::make(&session.transaction, path, &serving).map_err(fail)?;
    let item = file.item();
    session.transaction.keep(Rc::new(file));
    Ok(item)
}

fn body_write(perl: &Perl, caller: &mut Caller<'_, '_>, args: &[Item]) -> Answer {
    let fail = |error: std::io::Error| format!("cannot add to the message: {error}");
    let text = args.first().map(Item::as_octets).unwrap_or_default();
    let transaction = &mut session(caller)?.transaction;
    let file = transaction.kept::<Rc<LfFile>>().filter(|file| file.is_of(transaction)).cloned();
    transaction.body.write(&file::with_crlf(text)).map_err(fail)?;
    transaction.body.finish().map_err(fail)?;
    if let Some(file) = file {
        file.append(text, transaction).map_err(fail)?;
    }
    if let Some(serving) = &*perl.serving.borrow() {
        serving.replica.borrow_mut().knows_body(transaction);
    }
    Ok(Item::Undef)
}

fn data_size(_perl: &Perl, caller: &mut Caller<'_, '_>, _args: &[Item]) -> Answer {
    let transaction = &session(caller)?.transaction;
    let size = file::lf_length(transaction).map_err(|error| Refused(error.to_string()))?;
    Ok(Item::number(size))
}

fn spool_dir(perl: &Perl, caller: &mut Caller<'_, '_>, _args: &[Item]) -> Answer {
    let dir = match caller {
        Caller::Session(session) => session.spool_dir().to_owned(),
        _ => perl.config.expand(&perl.config.setting(SPOOL_DIR)),
    };
    let mut dir = dir.into_os_string().into_encoded_bytes();
    if !dir.ends_with(b"/") {
        dir.push(b'/');
    }
    Ok(Item::Text(dir))
}

fn temp_file(_perl: &Perl, caller: &mut Caller<'_, '_>, _args: &[Item]) -> Answer {
    let path = session(caller)?.temp_file();
    Ok(Item::text(path.as_os_str().as_encoded_bytes()))
}

fn temp_dir(_perl: &Perl, caller: &mut Caller<'_, '_>, _args: &[Item]) -> Answer {
    let path = session(caller)?.temp_dir().map_err(|error| format!("temp_dir: {error}"))?;
    Ok(Item::text(path.as_os_str().as_encoded_bytes()))
}

/// What the handlers of one plugin have answered, by hook.
fn results(_perl: &Perl, caller: &mut Caller<'_, '_>, args: &[Item]) -> Answer {
    let session = session(caller)?;
    let wanted = text(args, 0);
    let names: Vec<String> = session.plugins().names().map(str::to_owned).collect();
    let Some(name) = names.iter().find(|name| escaped(name) == wanted) else {
        return Ok(Item::Undef);
    };
    let rows = crate::hook::TABLE.iter().filter_map(|row| {
        let code = session.result(name, row.hook)?;
        Some((row.name.to_owned(), Item::number(code_number(code))))
    });
    let rows: Vec<_> = rows.collect();
    Ok(if rows.is_empty() { Item::Undef } else { Item::Map(rows) })
}

/// Asks the handlers of a hook that has no arguments, words, or an address.
fn run_hooks(_perl: &Perl, caller: &mut Caller<'_, '_>, args: &[Item]) -> Answer {
    let name = text(args, 0);
    let hook = Hook::from_name(&name).ok_or_else(|| format!("there is no hook '{name}'"))?;
    let session = session(caller)?;
    let decision =
        with_call(hook, args.get(1..).unwrap_or_default(), |call| session.run(hook, call))
            .ok_or_else(|| format!("a plugin cannot run the hook '{name}' with arguments"))?;
    Ok(returned(verdict_of(&decision)))
}

/// Makes a call of what a plugin gives for a hook: words, or an address and pairs; None where these
/// will not do.
fn with_call<R>(hook: Hook, given: &[Item], run: impl FnOnce(&Call<'_>) -> R) -> Option<R> {
    let words: Vec<String> = given.iter().map(Item::as_text).collect();
    let address = || given.first().and_then(items::address);
    if matches!(hook, Hook::Mail | Hook::Rcpt) {
        let pair = |pair: &[String]| {
            (pair[0].clone(), pair.get(1).filter(|value| !value.is_empty()).cloned())
        };
        let params = Params(words.get(1..).unwrap_or_default().chunks(2).map(pair).collect());
        return Some(run(&Call::Address(&address()?, &params)));
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (first, rest) = words.split_first().unwrap_or((&"", &[]));
    let rest = rest.join(" ");
    Some(run(&match hook {
        Hook::Vrfy | Hook::Noop | Hook::Help => Call::Words("", &words),
        Hook::UnrecognizedCommand => Call::Command(first, &rest),
        Hook::Ehlo | Hook::Helo => Call::Host(first),
        Hook::Config => Call::Config(first),
        _ if words.is_empty() => Call::Nothing,
        _ => return None,
    }))
}

fn commands(_perl: &Perl, caller: &mut Caller<'_, '_>, _args: &[Item]) -> Answer {
    Ok(Item::number(session(caller)?.commands()))
}

fn reset_transaction(_perl: &Perl, caller: &mut Caller<'_, '_>, _args: &[Item]) -> Answer {
    session(caller)?.reset_transaction();
    Ok(Item::Undef)
}

/// Why a plugin's file cannot work here, or undef.
fn cannot_work(_perl: &Perl, _caller: &mut Caller<'_, '_>, args: &[Item]) -> Answer {
    Ok(Item::maybe(crate::perl::cannot_work(Path::new(&text(args, 0)))))
}

/// A native plugin as the parent of a Perl one: a number for it, and the names of its hooks.  The
/// child's arguments are the parent's as well, unless those are not for it.
fn isa_native(perl: &Perl, caller: &mut Caller<'_, '_>, args: &[Item]) -> Answer {
    let Caller::Loading(hooks) = caller else {
        return Err("isa_plugin is for init and register".into());
    };
    let name = text(args, 0);
    let words: Vec<String> = args.iter().skip(1).map(Item::as_text).collect();
    let parent = hooks
        .isa_plugin_apart(&name, &Args::new(words))
        .or_else(|_| hooks.isa_plugin_apart(&name, &Args::default()))
        .map_err(|error| format!("unknown plugin '{name}' to inherit from: {error}"))?;
    let mut items = vec![Item::number(perl.parents.borrow().len())];
    items.extend(parent.hooks().map(|hook| Item::text(hook.name())));
    perl.parents.borrow_mut().push(parent);
    Ok(Item::List(items))
}

/// Asks the handlers of a native parent.
fn parent(perl: &Perl, caller: &mut Caller<'_, '_>, args: &[Item]) -> Answer {
    let parent = perl.parents.borrow().get(number(args, 0) as usize).cloned();
    let parent = parent.ok_or("there is no such parent")?;
    let name = text(args, 1);
    let hook = Hook::from_name(&name).ok_or_else(|| format!("there is no hook '{name}'"))?;
    let rest = args.get(2..).unwrap_or_default();
    let session = session(caller)?;
    let verdict = with_call(hook, rest, |call| parent.call(session, hook, call))
        .ok_or_else(|| format!("the hook '{name}' of a native parent cannot be called"))?;
    let verdict = verdict.decided().map_err(|failure| Refused(failure.why().to_owned()))?;
    Ok(match verdict.code() == Code::Declined && verdict.text().is_empty() {
        true => Item::List(vec![Item::number(code_number(Code::Declined))]),
        false => returned(&verdict),
    })
}
