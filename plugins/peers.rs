//! ```text
//! NAME
//!     peers - chooses the list of plugins by the client's address
//!
//! SYNOPSIS
//!     peers
//!
//! DESCRIPTION
//!     The files of the folder config/peers are lists of plugins like config/plugins, native and
//!     Perl plugins mixed.  A client gets one of these lists instead of config/plugins.  It is the
//!     first of these that exists:
//!
//!       1. the file with the name of its address, such as 192.0.2.7 or 2001:db8::7
//!       2. the file with the beginning of its address as its name, the longest first: 192.0.2, then
//!          192.0, then 192; or 2001:db8:0:0, ..., then 2001:db8, then 2001
//!       3. local, for 127.0.0.0/8 and ::1
//!       4. 0
//!
//!     A client that authenticates has the list local from then on, if that file exists.  A client
//!     without any list is refused.
//!
//!     To give a network the list local, make a link: ln -s local config/peers/192.168.1
//!
//!     All lists are loaded when the server starts, and again when it gets a HUP; an error in any
//!     of them is reported with file and line.  The log goes where config/logging says; a logging
//!     plugin that is in several lists gets each line once, of all sessions.
//!
//!     Of the other plugins in config/plugins, only what runs outside of sessions counts:
//!     pre-connection and post-fork.  So hosts_allow may be there or in the lists.  If the plugin
//!     tls is in config/plugins, clients whose list lacks it are offered TLS, too.
//!
//!     This is what the Perl plugin of the same name does on SME Server, except that plugins are
//!     loaded before clients come and not for each client.  There clients of 127.0.0.1 have the
//!     list 0 unless they have their own file.
//!
//! SEE ALSO
//!     hosts_allow, relay
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::path::Path;

use ipnet::IpNet;

use crate::config::{Config, is_leftover, leading_numbers, network};
use crate::error::{Error, Result};
use crate::hook::{Args, DECLINED, Hooks, Verdict};
use crate::log::Level;

/// The folder beside `config/plugins`.
const FOLDER: &str = "peers";

/// Registers the plugin; see its manual above.
pub fn register(hooks: &mut Hooks, args: &Args) -> Result<()> {
    args.at_most(0)?;
    let Some(folder) = hooks.config().folder_named(FOLDER) else {
        return Err(Error::new(format!("there is no folder '{FOLDER}' in the configuration")));
    };
    let lists = Lists::find(&folder)?;
    let files = lists.files.clone();
    let names = files.clone();
    let chosen = lists.clone();
    hooks.lists(files, move |ip, has_authenticated| lists.choose(ip, has_authenticated));
    hooks.connect(move |session| {
        let ip = session.connection.remote_ip;
        match chosen.choose(ip, false) {
            Some(at) => {
                session.log(Level::Info, format_args!("{ip} has the plugins of {}", names[at]));
                DECLINED
            }
            None => {
                session.log(Level::Notice, format_args!("there is no list of plugins for {ip}"));
                Verdict::deny("")
            }
        }
    });
    Ok(())
}

/// The files of `config/peers`, where `config/plugins` has this plugin.
pub(crate) fn files(config: &Config) -> Vec<String> {
    let is_loaded = config.list("plugins").find("peers").is_some();
    let folder = config.folder_named(FOLDER).filter(|_| is_loaded);
    folder.and_then(|folder| Lists::find(&folder).ok()).unwrap_or_default().files
}

/// The files, and whom they are for.
#[derive(Debug, Default, Clone)]
struct Lists {
    files: Vec<String>,
    /// The longest first.
    networks: Vec<(IpNet, usize)>,
    local: Option<usize>,
    all: Option<usize>,
}

impl Lists {
    /// Names that are links to one file are one list.
    fn find(folder: &Path) -> Result<Lists> {
        let fail = |path: &Path, why| Error::new(format!("{}: {why}", path.display()));
        let folder = &folder.canonicalize().map_err(|why| fail(folder, why))?;
        let entries = fs::read_dir(folder).map_err(|why| fail(folder, why))?;
        let entries = entries.collect::<std::io::Result<Vec<_>>>();
        let mut names: Vec<_> = entries
            .map_err(|why| fail(folder, why))?
            .iter()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| !is_leftover(name.as_ref()))
            .collect();
        names.sort_unstable();
        let mut lists = Lists::default();
        let mut known = BTreeMap::new();
        for name in names {
            let path = folder.join(&name);
            let real = path.canonicalize().map_err(|why| fail(&path, why))?;
            let shown = real.file_name().filter(|own| folder.join(own) == real);
            let shown = shown.map_or(name.clone(), |own| own.to_string_lossy().into_owned());
            let at = *known.entry(real.clone()).or_insert(lists.files.len());
            match &*name {
                "0" => lists.all = Some(at),
                "local" => lists.local = Some(at),
                name => match clients(name) {
                    Some(network) => lists.networks.push((network, at)),
                    None => {
                        let what = "is not an address, the beginning of an address, local or 0";
                        return Err(Error::new(format!("{} {what}", path.display())));
                    }
                },
            }
            if at == lists.files.len() {
                lists.files.push(format!("{FOLDER}/{shown}"));
            }
        }
        lists.networks.sort_by_key(|(network, _)| std::cmp::Reverse(network.prefix_len()));
        Ok(lists)
    }

    /// The place of a client's list among the files.
    fn choose(&self, ip: IpAddr, has_authenticated: bool) -> Option<usize> {
        let ip = ip.to_canonical();
        let own = || self.networks.iter().find(|(network, _)| network.contains(&ip));
        let known = self.local.filter(|_| has_authenticated);
        let here = self.local.filter(|_| ip.is_loopback());
        known.or_else(|| own().map(|(_, at)| *at)).or(here).or(self.all)
    }
}

/// Whom a file of that name is for.
fn clients(name: &str) -> Option<IpNet> {
    let end = if name.contains(':') { ":" } else { "." };
    match name.parse::<IpAddr>() {
        Ok(_) => network(name),
        Err(_) => leading_numbers(&format!("{name}{end}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_file_counts() {
        let dir = tempfile::tempdir().unwrap();
        for name in
            ["0", "192", "192.0.2", "192.0.2.7", "2001:db8", "2001:db8::7", "local", "0~", ".swp"]
        {
            fs::write(dir.path().join(name), "").unwrap();
        }
        std::os::unix::fs::symlink("local", dir.path().join("10.1")).unwrap();
        let lists = Lists::find(dir.path()).unwrap();
        assert_eq!(lists.files.len(), 7);
        let list = |ip: &str, has_authenticated| {
            lists.choose(ip.parse().unwrap(), has_authenticated).map(|at| &*lists.files[at])
        };
        for (ip, file) in [
            ("192.0.2.7", "192.0.2.7"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("192.0.2.70", "192.0.2"),
            ("192.0.20.7", "192"),
            ("193.0.2.7", "0"),
            ("0.0.0.1", "0"),
            ("2001:db8::7", "2001:db8::7"),
            ("2001:db8:1::7", "2001:db8"),
            ("2001:db80::7", "0"),
            ("127.0.0.1", "local"),
            ("::1", "local"),
            ("10.1.9.9", "local"),
            ("10.2.9.9", "0"),
        ] {
            assert_eq!(list(ip, false), Some(&*format!("peers/{file}")), "{ip}");
            assert_eq!(list(ip, true), Some("peers/local"), "{ip}");
        }
    }

    #[test]
    fn without_0_and_local_others_have_none() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("192.0.2"), "").unwrap();
        let lists = Lists::find(dir.path()).unwrap();
        for has_authenticated in [false, true] {
            let list = |ip: &str| lists.choose(ip.parse().unwrap(), has_authenticated);
            assert_eq!((list("192.0.2.1"), list("127.0.0.1")), (Some(0), None));
        }
    }

    #[test]
    fn a_file_for_nobody_is_an_error() {
        for name in
            ["everybody", "192.0.2.256", "1.2.3.4.5", "192.168.", "2001:db8:", "x:", "Local"]
        {
            let dir = tempfile::tempdir().unwrap();
            fs::write(dir.path().join(name), "").unwrap();
            let error = Lists::find(dir.path()).unwrap_err().to_string();
            assert!(error.contains(&format!("{name} is not an address")), "{error}");
        }
    }
}
