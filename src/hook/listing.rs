//! Which handlers are asked, in which order: what `--list-hooks` and the status page show.

use std::time::Duration;

use crate::hook::handler::Handler;
use crate::hook::lists::List;
use crate::hook::loaded::{Loaded, Origin};
use crate::hook::settings::OnError;
use crate::hook::{Hook, PARENT_LIMIT, Plugins, TABLE};

/// A handler, with what people want to know of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) hook: Hook,
    /// The file whose list of plugins is asked, `plugins` or `peers/local`; empty for a hook outside of
    /// sessions where clients have lists of their own.
    pub(crate) list: String,
    /// Its plugin's name in the file.
    pub(crate) plugin: String,
    /// The file and the number of its plugin's line, `/etc/qpsmtpd/plugins:12`.
    pub(crate) place: Option<String>,
    pub(crate) origin: Origin,
    /// The name of the native plugin, which that in the file may be an older one of.
    pub(crate) native: Option<&'static str>,
    /// The Perl file or module that it is, or in whose place it stands.
    pub(crate) perl: Option<String>,
    /// How long it may take.
    pub(crate) timeout: Duration,
    /// `tempfail` or `ignore`.
    pub(crate) on_error: &'static str,
    /// The words of its line after the name, without what looks like a password.
    pub(crate) arguments: String,
    /// The plugin in front of it that always decides, so that this handler is never asked.
    pub(crate) behind: Option<String>,
}

impl Plugins {
    /// All handlers, in the order in which they are asked: list by list, and in a list hook by hook.
    pub(crate) fn listing(&self) -> Vec<Listed> {
        let mut found = vec![];
        let has_lists = self.list_files().is_some();
        if has_lists {
            for hook in [Hook::Logging, Hook::PostFork] {
                found.extend(self.chain(hook, "", List::Main));
            }
        }
        for (list, file) in self.all_lists() {
            for hook in TABLE.iter().map(|row| row.hook) {
                if !(has_lists && matches!(hook, Hook::Logging | Hook::PostFork)) {
                    found.extend(self.chain(hook, file, list));
                }
            }
        }
        found
    }

    /// The handlers of a hook in that list, in the order in which they are asked.
    pub(crate) fn listed_in(&self, list: List, hook: Hook) -> Vec<Listed> {
        self.chain(hook, "", list)
    }

    /// The handlers of a hook in a list, whose file that is.
    fn chain(&self, hook: Hook, file: &str, list: List) -> Vec<Listed> {
        let mut decisive: Option<String> = None;
        let listed = self.asked(hook, list).map(|id| {
            let mut one = self.listed(hook, file, id);
            // Who looks at accepted recipients is asked after the decision.
            let is_onward = self.onward.iter().any(|handler| handler.plugin == id);
            one.behind = decisive.clone().filter(|_| !is_onward);
            let Loaded { decides, settings, .. } = self.loaded(id);
            if decides.contains(&hook) && settings.on_error == OnError::Tempfail {
                decisive.get_or_insert(one.plugin.clone());
            }
            one
        });
        listed.collect()
    }

    /// Whose handlers are asked at a hook, in order.
    fn asked(&self, hook: Hook, list: List) -> impl Iterator<Item = u16> {
        fn ids<F: ?Sized>(handlers: &[Handler<F>]) -> Vec<u16> {
            handlers.iter().map(|handler| handler.plugin).collect()
        }
        let all = match hook {
            Hook::Logging => self.loggers.iter().map(|(_, handler)| handler.plugin).collect(),
            Hook::PostFork => ids(&self.forks),
            Hook::PreConnection => ids(&self.incoming),
            Hook::Rcpt => [ids(&self.handlers[hook as usize]), ids(&self.onward)].concat(),
            _ => ids(&self.handlers[hook as usize]),
        };
        all.into_iter().filter(move |plugin| match hook {
            Hook::Logging | Hook::PostFork => true,
            Hook::PreConnection => self.is_in(*plugin, list) || self.is_in(*plugin, List::Main),
            _ => self.is_in(*plugin, list),
        })
    }

    fn listed(&self, hook: Hook, list: &str, plugin: u16) -> Listed {
        let loaded = self.loaded(plugin);
        let line = loaded.line.as_ref();
        let is_outside = matches!(hook, Hook::PreConnection | Hook::PostFork);
        let timeout = match loaded.origin {
            Origin::Perl if is_outside => PARENT_LIMIT,
            _ => loaded.settings.timeout,
        };
        Listed {
            hook,
            list: list.to_owned(),
            plugin: loaded.name.to_string(),
            place: line.map(|line| format!("{}:{}", line.file.display(), line.number)),
            origin: loaded.origin,
            native: loaded.native,
            perl: loaded.perl.clone(),
            timeout,
            on_error: loaded.settings.on_error.word(),
            arguments: line.map(|line| without_secrets(line.word_and_rest().1)).unwrap_or_default(),
            behind: None,
        }
    }
}

/// The arguments of a plugin, without what looks like a password: what follows a word for one, and what
/// stands in an URL or after `password=`.
fn without_secrets(arguments: &str) -> String {
    let mut is_secret = false;
    let words = arguments.split_whitespace().map(|word| {
        let hidden = std::mem::replace(&mut is_secret, names_a_secret(word));
        if hidden { "...".to_owned() } else { without_password(word) }
    });
    words.collect::<Vec<_>>().join(" ")
}

fn names_a_secret(word: &str) -> bool {
    let word = word.to_ascii_lowercase();
    ["pass", "passwd", "pwd", "secret", "token"].iter().any(|end| word.ends_with(end))
        || word.ends_with("password")
}

fn without_password(word: &str) -> String {
    let (mut shown, mut rest) = (String::new(), word);
    if let Some((scheme, after)) = word.split_once("://")
        && let Some((user, host)) = after.rsplit_once('@')
        && let Some((user, _)) = user.split_once(':')
    {
        shown = format!("{scheme}://{user}:...@");
        rest = host;
    }
    let parts = rest.split_inclusive([';', '&', ',']).map(|part| {
        let end = part.chars().next_back().filter(|last| ";&,".contains(*last));
        match part.split_once('=') {
            Some((name, _)) if names_a_secret(name) => {
                format!("{name}=...{}", end.map(String::from).unwrap_or_default())
            }
            _ => part.to_owned(),
        }
    });
    shown + &parts.collect::<String>()
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn passwords_are_not_shown() {
        for (line, shown) in [
            ("reject 0", "reject 0"),
            ("user me dbpass hunter2 x", "user me dbpass ... x"),
            ("Password hunter2", "Password ..."),
            ("https://me:hunter2@example.com/x", "https://me:...@example.com/x"),
            ("https://example.com/x@y", "https://example.com/x@y"),
            ("dbi:mysql:a;password=hunter2;host=b", "dbi:mysql:a;password=...;host=b"),
            ("redis://h?a=b&pass=hunter2", "redis://h?a=b&pass=..."),
        ] {
            assert_eq!(without_secrets(line), shown);
        }
    }
}
