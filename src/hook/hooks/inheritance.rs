//! A plugin that inherits from others, and what it has in the end.

use std::collections::HashSet;

use super::Hooks;
use crate::error::{Error, Result};
use crate::hook::registration::Registration;
use crate::hook::{Args, Extension, Hook, Parent};

impl Hooks {
    /// Makes this plugin a child of another: it has all the parent's handlers but those for hooks
    /// it registers handlers for itself, and those that [`Parent::leave_out`] names.
    ///
    /// # Errors
    /// No such native plugin, or its `register` refuses `args`.
    pub fn isa_plugin(&mut self, parent: &str, args: &Args) -> Result<Parent> {
        let parent = self.isa_plugin_apart(parent, args)?;
        self.parents.push(parent.clone());
        Ok(parent)
    }

    /// The same for a child that registers its parent's handlers itself.
    pub(crate) fn isa_plugin_apart(&mut self, parent: &str, args: &Args) -> Result<Parent> {
        let register =
            (self.find)(parent).ok_or_else(|| Error::new(format!("unknown plugin '{parent}'")))?;
        let mut hooks = Hooks::new(self.config.clone(), self.find);
        let registered = register(&mut hooks, args)
            .and_then(|()| hooks.into_registration())
            .map_err(|error| error.within(parent))?;
        self.registered.before_fork.extend(registered.before_fork);
        self.registered.reads.extend(registered.reads);
        self.registered.lines.extend(registered.lines);
        // The argument `reject` says to the parent's handlers what it says to the child.
        self.registered.reads_reject |= registered.reads_reject;
        self.registered.default_reject =
            self.registered.default_reject.or(registered.default_reject);
        Ok(Parent::new(registered.handlers, registered.extensions))
    }

    /// What the plugin's `register` has registered so far, without what it inherits.
    pub(crate) fn registered(&self) -> &Registration {
        &self.registered
    }

    /// All that the plugin registered, with what it inherits.
    ///
    /// # Errors
    /// The plugin cannot be loaded with what its `register` did.
    pub(crate) fn into_registration(self) -> Result<Registration> {
        if let Some(problem) = self.problem {
            return Err(problem);
        }
        let mut all = self.registered;
        if !all.has(Hook::Queue) {
            all.extensions = inherited_extensions(&self.parents);
        }
        let own: HashSet<Hook> = all.handlers.iter().map(|(hook, _)| *hook).collect();
        for parent in &self.parents {
            all.handlers.extend(parent.inherited(&own));
        }
        Ok(all)
    }
}

/// The extensions that all parents support from whom a child inherits its `queue` handlers.
fn inherited_extensions(parents: &[Parent]) -> Vec<Extension> {
    let mut parents = parents.iter().filter_map(Parent::extensions);
    let first = parents.next().unwrap_or_default().to_vec();
    parents.fold(first, |all, more| all.into_iter().filter(|own| more.contains(own)).collect())
}
