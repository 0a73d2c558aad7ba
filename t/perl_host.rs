//! Perl plugins, as files and as modules, in the real daemons.

// The library's own tests, which are Perl.
mod library;

// Notes of every kind, between Perl and native plugins.
mod notes;

// Every hook, its arguments and its order.
mod hooks;

// Logging plugins in Perl.
mod logging;

// Handlers that follow one another.
mod runs;

// The connection, the envelope, the message.
mod message;

// Configuration, inheritance, instances, modules.
mod sources;
mod store;

// Plugins that die, end, return nonsense, print.
mod errors;

// The examples of the documentation of Perl qpsmtpd.
mod examples;

// A site with plugins of its own.
mod site;

// Processes that are killed, loop or ignore their rules.
mod faults;

// What plugins change: the message, the chain, the header section.
mod changes;

// The methods and attributes of 1.00 and 0.94.
mod api;

// Many messages.
mod many;

// What Perl plugins give for the karma, and what they see of it.
mod karma;

use std::fs;

use crate::harness::{Client, Config, deb};

/// A plugin's handler of NOOP: `NOOP name words` is answered with what its method `do_name` says,
/// whatever is undefined as `undef`.
const PROBE: &str = r#"
sub hook_noop {
    my ($self, $transaction, $name, @words) = @_;
    my $run = $name && $self->can("do_$name") or return DECLINED;
    my @said = map { defined $_ ? $_ : 'undef' } $self->$run($transaction, @words);
    $self->qp->respond(250, "@said");
    return DONE;
}
sub shown { require Data::Dumper; local ($Data::Dumper::Indent, $Data::Dumper::Terse,
    $Data::Dumper::Sortkeys, $Data::Dumper::Useqq) = (0, 1, 1, 1); Data::Dumper::Dumper(@_) }
"#;

/// The usual configuration with these lines in `config/plugins`, and these plugin files.  Panics
/// where somebody else than root has no Perl, as t/check says in time.
pub(crate) fn config(lines: &str, plugins: &[(&str, &str)]) -> Config {
    assert!(deb::need("perl"), "Debian's package perl is not installed");
    let config = Config::new().set("plugins", lines);
    fs::create_dir(config.path("plugins")).unwrap();
    for (name, text) in plugins {
        plugin(&config, name, text);
    }
    config
}

/// Writes the file of a plugin; `{work}` in it becomes the folder's path.
fn plugin(config: &Config, name: &str, text: &str) {
    let file = config.path("plugins").join(name);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, text.replace("{work}", &config.work().to_string_lossy())).unwrap();
}

/// Reads the greeting and says HELO, after which replies have no enhanced status codes.
fn helo(client: &mut Client) {
    client.expect("220");
    client.ask("HELO client.test", "250");
}

/// Says a line; the reply, its lines joined by `|`.
fn ask(client: &mut Client, line: &str) -> String {
    client.say(line);
    client.reply().lines.join("|")
}

/// Says lines that have to get these replies.
fn asks(client: &mut Client, dialogue: &[(&str, &str)]) {
    for (line, want) in dialogue {
        let reply = ask(client, line);
        assert!(reply == *want, "{}", client.story(&format!("{line}: want {want}, got {reply}")));
    }
}
