//! What is answered at once, without a session.

use crate::cli;
use crate::error::{Error, Result};
use crate::plugin::{self, Plugin};
use crate::report::{self, Form, Wanted};
use crate::server::console::{columns, listed, say};
use crate::server::{certificate, check, dkim_key, manuals, status, store_tool};

/// Answers `--help-plugin`, with the list of plugins or one plugin's manual, `--show-config`,
/// `--make-certificate`, `--make-manuals`, `--make-dkim-key` and `--store`.  None: nothing of that was asked.
pub(super) fn answer(common: &cli::Common, user: Option<&str>) -> Option<Result<()>> {
    if let Some(folder) = &common.make_certificate {
        return Some(certificate::make(folder));
    }
    if let Some(folder) = &common.make_manuals {
        return Some(manuals::make(folder));
    }
    if !common.make_dkim_key.is_empty() {
        return Some(dkim_key::make(&common.make_dkim_key));
    }
    if common.report {
        let form = if common.html { Form::Page } else { Form::Text };
        let (files, time) = (common.files.clone(), common.time.clone());
        let wanted = Wanted { files, time, top: common.top, form };
        return Some(report::make(&wanted).map(|report| say(&report)));
    }
    if !common.store.is_empty() {
        return Some(store_tool::run(&common.store, user));
    }
    if common.status {
        return Some(status::show(common.watch, user));
    }
    if common.show_config {
        return Some(check::show(common.only_set));
    }
    let name = common.help_plugin.as_deref()?;
    if name.is_empty() {
        let rows: Vec<(String, String)> = plugin::all().map(in_the_list).collect();
        say(&listed(&rows, columns()));
        return Some(Ok(()));
    }
    match (plugin::find(name), plugin::absent(name)) {
        (Some((plugin, _)), _) => say(&plugin.manual()),
        (None, Some(absent)) => say(&format!("{absent}\n")),
        (None, None) => return Some(Err(Error::new(format!("unknown plugin '{name}'")))),
    }
    Some(Ok(()))
}

/// A plugin's name, and what the head of its manual says it is.
fn in_the_list(plugin: &Plugin) -> (String, String) {
    let manual = plugin.manual();
    let what = manual.lines().nth(1).and_then(|line| line.split_once(" - "));
    (plugin.name.to_owned(), what.map_or("", |(_, what)| what).to_owned())
}
