//! Which folders of a site are what.

use std::env;
use std::fs;
use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};

use crate::config::Config;
use crate::error::{Error, Result};
use crate::server::migrate::shell::Script;

/// How many octets of a script's first line count.
const SHEBANG: u64 = 256;

/// The folders of a site.
pub(super) struct Site {
    /// Where the files of the configuration are.
    pub(super) config: PathBuf,
    /// Where the daemon is started: paths in the configuration may be relative to it.
    pub(super) top: PathBuf,
    asked: PathBuf,
}

impl Site {
    /// The configuration as a daemon would have it that is started in the site.
    pub(super) fn configuration(&self) -> Config {
        let qmail = env::var_os("QMAIL").filter(|folder| !folder.is_empty());
        let qmail = qmail.map_or_else(|| PathBuf::from("/var/qmail"), PathBuf::from);
        Config::new(vec![self.config.clone(), qmail.join("control")])
    }

    /// How the configuration was found, where the folder that was asked for is not that itself.
    pub(super) fn is_found_by(&self) -> Option<&'static str> {
        match self.config.strip_prefix(&self.asked) {
            Ok(within) if within.as_os_str().is_empty() => None,
            Ok(_) => Some("it is in the folder that was given"),
            Err(_) => Some("the run script in the folder that was given names it"),
        }
    }

    /// A path as it is shown: within the configuration or the site only what follows.
    pub(super) fn shown(&self, path: &Path) -> String {
        let within = path.strip_prefix(&self.config).or_else(|_| path.strip_prefix(&self.top));
        within.unwrap_or(path).display().to_string()
    }
}

/// The site that `folder`, an absolute path, is the configuration or the top of.
///
/// # Errors
/// It is neither, or may not be looked into; with what to do.
pub(super) fn find(folder: &Path) -> Result<Site> {
    fs::read_dir(folder).map_err(|error| unreadable(folder, &error))?;
    let inner = folder.join("config");
    for (config, top) in [(&inner, folder), (&folder.to_owned(), above(folder))] {
        let plugins = config.join("plugins");
        match opened(&plugins) {
            Ok(true) => {
                let (config, top) = (config.clone(), top.to_owned());
                return Ok(Site { config, top, asked: folder.to_owned() });
            }
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                return Err(unreadable(&plugins, &error));
            }
            _ => {}
        }
    }
    if let Some(config) = named_by_run(folder).filter(|config| config.join("plugins").is_file()) {
        return Ok(Site { config, top: folder.to_owned(), asked: folder.to_owned() });
    }
    let sample = folder.join("config.sample");
    let hint = match sample.is_dir() {
        true => format!("; {} is a sample: give that, or copy it to config", sample.display()),
        false => String::new(),
    };
    let shown = folder.display();
    Err(Error::new(format!(
        "{shown} is no site of qpsmtpd: there is neither a file 'plugins' nor 'config/plugins' in it{hint}"
    )))
}

/// The configuration elsewhere that the run script names.
fn named_by_run(folder: &Path) -> Option<PathBuf> {
    let script = Script::read(&text_of(&folder.join("run"))?);
    let config = script.values.get("QPSMTPD_CONFIG").map(PathBuf::from);
    config.filter(|config| config.is_absolute())
}

/// Can this plain file be read?  False: it is something else, such as a FIFO, which nobody may ever
/// write to.
fn opened(path: &Path) -> io::Result<bool> {
    let is_plain = fs::metadata(path)?.is_file();
    if is_plain {
        fs::File::open(path)?;
    }
    Ok(is_plain)
}

/// The first line of a plain file that can be read, as far as the kernel looks at it: a program may be large.
pub(super) fn first_line_of(path: &Path) -> Option<String> {
    if !opened(path).ok()? {
        return None;
    }
    let mut first = vec![];
    let file = fs::File::open(path).ok()?;
    BufReader::new(file).take(SHEBANG).read_until(b'\n', &mut first).ok()?;
    Some(String::from_utf8_lossy(&first).into_owned())
}

/// The text of a plain file that can be read.
pub(super) fn text_of(path: &Path) -> Option<String> {
    let is_plain = opened(path).unwrap_or(false);
    is_plain.then(|| fs::read_to_string(path).ok()).flatten()
}

/// The top of a site whose configuration this is: the folder above, where that has more of a site.
fn above(config: &Path) -> &Path {
    let is_named_so =
        config.file_name().is_some_and(|name| name.to_string_lossy().starts_with("config"));
    config.parent().filter(|_| is_named_so).unwrap_or(config)
}

fn unreadable(path: &Path, error: &io::Error) -> Error {
    let who = match error.kind() {
        ErrorKind::PermissionDenied => {
            "; the account that sessions run as has to read it, and --user names another account"
        }
        _ => "",
    };
    Error::new(format!("{}: {error}{who}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_files_are_read_and_of_programs_the_beginning() {
        let dir = tempfile::tempdir().unwrap();
        let [fifo, program, script] =
            ["fifo", "program", "script"].map(|name| dir.path().join(name));
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        fs::write(&program, vec![b'x'; 100_000]).unwrap();
        fs::write(&script, "#!/usr/bin/perl -T\nuse strict;\n").unwrap();
        assert_eq!((first_line_of(&fifo), text_of(&fifo)), (None, None));
        assert_eq!(first_line_of(&program).map(|line| line.len()), Some(256));
        assert_eq!(first_line_of(&script).as_deref(), Some("#!/usr/bin/perl -T\n"));
        assert_eq!(first_line_of(&dir.path().join("nowhere")), None);
    }

    #[test]
    fn the_configuration_is_found_from_the_site_or_itself() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path();
        let error = find(top).err().unwrap().to_string();
        assert!(error.contains("is no site of qpsmtpd"), "{error}");
        fs::create_dir_all(top.join("config.sample")).unwrap();
        assert!(find(top).err().unwrap().to_string().contains("is a sample"));
        fs::create_dir_all(top.join("config")).unwrap();
        fs::create_dir_all(top.join("plugins")).unwrap();
        fs::write(top.join("config/plugins"), "rcpt_ok\n").unwrap();
        for folder in [top.to_owned(), top.join("config")] {
            let site = find(&folder).unwrap();
            assert_eq!((&site.config, &*site.top), (&top.join("config"), top));
            assert_eq!(site.shown(&top.join("config/me")), "me");
            assert_eq!(site.shown(&top.join("run")), "run");
        }
        assert!(find(top).unwrap().is_found_by().unwrap().starts_with("it is in the folder"));
        assert_eq!(find(&top.join("config")).unwrap().is_found_by(), None);
        let other = top.join("other");
        fs::create_dir(&other).unwrap();
        let run = format!("export QPSMTPD_CONFIG={}\nexec qpsmtpd\n", top.join("config").display());
        fs::write(other.join("run"), run).unwrap();
        let site = find(&other).unwrap();
        assert_eq!((site.config.as_path(), &site.top), (&*top.join("config"), &other));
        assert!(site.is_found_by().unwrap().contains("run script"));
        let error = find(&top.join("nowhere")).err().unwrap().to_string();
        assert!(error.contains("No such file"), "{error}");
    }
}
