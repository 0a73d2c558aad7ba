//! The names that are looked up.

use super::Uribl;
use super::hosts::Host;
use crate::dns::reversed;

impl Uribl {
    /// What is looked up: the domains of organizations and reversed addresses, then the names below.
    pub(super) fn names(&self, hosts: &[Host], exempt: &[String]) -> Vec<String> {
        let (mut first, mut more) = (Vec::new(), Vec::new());
        for host in hosts {
            match host {
                Host::Address(ip) if self.checks_addresses => first.push(reversed(*ip)),
                Host::Address(_) => {}
                Host::Name(name) => {
                    let Some(top) = self.suffixes.organization(name) else { continue };
                    if exempt.iter().any(|own| is_at_or_below(name, own)) {
                        continue;
                    }
                    let mut at = name.as_str();
                    while at.len() > top.len() {
                        more.push(at.to_owned());
                        at = at.split_once('.').map_or("", |(_, above)| above);
                    }
                    first.push(top);
                }
            }
        }
        let mut names: Vec<String> = Vec::new();
        for name in first.into_iter().chain(more) {
            if names.len() < self.most_names && !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }
}

fn is_at_or_below(name: &str, above: &str) -> bool {
    let rest = name.strip_suffix(above);
    rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}
