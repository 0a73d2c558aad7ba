//! By what the domain of an organization is found: a walk through the DNS, or a list of public suffixes.

use std::path::Path;
use std::rc::Rc;

use crate::error::Result;
use crate::hook::Args;
use crate::mail::suffixes::{self, Suffixes};
use crate::origin::dmarc::Discovery;

pub(super) type List = Option<Rc<Suffixes>>;

/// Finds the domain of an organization by the list.
pub(super) fn organization(suffixes: &List) -> impl Fn(&str) -> String {
    move |name| {
        let found = suffixes.as_ref().and_then(|suffixes| suffixes.organization(name));
        found.unwrap_or_else(|| name.to_owned())
    }
}

pub(super) fn discovery<'a>(
    suffixes: &List,
    organization: &'a dyn Fn(&str) -> String,
) -> Discovery<'a> {
    match suffixes {
        Some(_) => Discovery::Suffixes(organization),
        None => Discovery::Walk,
    }
}

/// The list by which organizations are found; None: by a walk.
pub(super) fn read(args: &Args) -> Result<List> {
    let file = args.named("suffixes").unwrap_or(suffixes::FILE);
    let has_list = args.one_of("discovery", &[("walk", false), ("suffixes", true)], false)?;
    has_list.then(|| Suffixes::shared(Path::new(file))).transpose()
}
