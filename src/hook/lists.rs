//! Lists of plugins of which each client has one, in the place of `config/plugins`.

use std::net::IpAddr;
use std::rc::Rc;

/// Whose plugins: those of which list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum List {
    /// That of `config/plugins`, with what stands in `config/logging`.
    #[default]
    Main,
    /// That of one of the files in [`Lists`].
    Of(usize),
    /// None: there is no list for this client.
    Nobody,
}

impl List {
    /// Its name for Perl: empty for the usual one.
    pub(crate) fn name(self) -> String {
        match self {
            List::Main => String::new(),
            List::Of(at) => at.to_string(),
            List::Nobody => "-".to_owned(),
        }
    }
}

/// Chooses one of the files, by its place, for a client's address and whether it has authenticated.
pub(crate) type Choose = dyn Fn(IpAddr, bool) -> Option<usize>;

/// What a plugin registers that gives each client a list of its own.
#[derive(Clone)]
pub(crate) struct Lists {
    /// Files of the configuration, each with lines as in `config/plugins`.
    pub(crate) files: Vec<String>,
    pub(crate) choose: Rc<Choose>,
}

impl Lists {
    pub(crate) fn list_of(&self, ip: IpAddr, has_authenticated: bool) -> List {
        (self.choose)(ip, has_authenticated).map_or(List::Nobody, List::Of)
    }
}
