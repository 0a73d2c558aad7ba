//! What a plugin is: its row in a table, and the macro that writes it.

use crate::hook::Register;

/// The row of a native plugin, from the module that it is: `plugin!(queue::maildir)` is the plugin
/// `queue/maildir`, whose source is in `queue/maildir.rs` beside the file with the row.  A name that
/// differs from the module's comes behind: `plugin!(queue::qmail_queue, "queue/qmail-queue")`.
#[macro_export]
macro_rules! plugin {
    // The one module whose name is a word of Rust.
    (r#loop) => {
        $crate::plugin!(@row "loop", "loop.rs", r#loop)
    };
    ($module:ident $(, $name:literal)?) => {
        $crate::plugin!(@named [$($name)?] stringify!($module), $module)
    };
    ($folder:ident :: $module:ident $(, $name:literal)?) => {
        $crate::plugin!(@named [$($name)?]
            concat!(stringify!($folder), "/", stringify!($module)), $folder::$module)
    };
    (@named [] $path:expr, $($module:tt)+) => {
        $crate::plugin!(@row $path, concat!($path, ".rs"), $($module)+)
    };
    (@named [$name:literal] $path:expr, $($module:tt)+) => {
        $crate::plugin!(@row $name, concat!($path, ".rs"), $($module)+)
    };
    (@row $name:expr, $file:expr, $($module:tt)+) => {
        $crate::plugin::Plugin {
            name: $name,
            source: include_str!($file),
            register: $($module)+::register,
        }
    };
}

/// A native plugin: a row of [`PLUGINS`](crate::plugins::PLUGINS), or of a site's own; see
/// [`plugin!`](crate::plugin!).
#[derive(Debug)]
pub struct Plugin {
    /// Its name in `config/plugins`, `queue/maildir`.
    pub name: &'static str,
    /// Its source file, whose first lines are its manual.
    pub source: &'static str,
    /// Reads its arguments and registers its handlers.
    pub register: Register,
}

impl Plugin {
    /// Its manual: the leading `//!` lines of its source, without the fences that keep rustdoc from
    /// reading it as code.
    pub fn manual(&self) -> String {
        let lines = self.source.lines().map_while(|line| line.strip_prefix("//!"));
        let lines = lines.filter(|line| !line.starts_with(" ```"));
        lines.map(|line| line.strip_prefix(' ').unwrap_or(line).to_owned() + "\n").collect()
    }
}

/// An older name of a plugin, with the arguments that it implied.
#[derive(Debug)]
pub struct Alias {
    /// The old name.
    pub old: &'static str,
    /// The name of today.
    pub new: &'static str,
    /// Arguments in front of those in the file.
    pub args: &'static [&'static str],
}
