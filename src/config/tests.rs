use super::*;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use tempfile::TempDir;

mod changes;
mod lines;
mod maps;
mod values;

/// A configuration in folders of its own, named `a` and `b` in the order of the search.
struct Setup {
    dir: TempDir,
    config: Config,
}

fn setup() -> Setup {
    let dir = tempfile::tempdir().unwrap();
    let dirs = ["a", "b"].map(|name| dir.path().join(name));
    dirs.iter().for_each(|dir| fs::create_dir(dir).unwrap());
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    Setup { config: Config::new(dirs.to_vec()), dir }
}

/// A configuration with one file.
fn with(path: &str, text: impl AsRef<[u8]>) -> Setup {
    let setup = setup();
    setup.write(path, text);
    setup
}

impl Setup {
    fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    fn write(&self, path: &str, text: impl AsRef<[u8]>) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn list(&self, name: &str) -> Vec<String> {
        texts(&self.config.list(name))
    }

    /// The list with a look at the files.
    fn list_now(&self, name: &str) -> Vec<String> {
        self.config.expire();
        self.list(name)
    }

    /// Problems and errors with the name of the temporary folder taken out.
    fn short(&self, text: impl ToString) -> String {
        text.to_string().replace(&format!("{}/", self.dir.path().display()), "")
    }

    fn problems(&self) -> Vec<String> {
        self.config.take_problems().iter().map(|text| self.short(text)).collect()
    }

    fn error(&self, name: &str) -> String {
        self.short(self.config.load(name).unwrap_err())
    }

    /// Replaces a constant database by a new one.
    fn write_map(&self, path: &str, records: &[(&str, &str)]) {
        let mut writer = cdb2::CDBWriter::create(self.path(path)).unwrap();
        for (key, value) in records {
            writer.add(key.as_bytes(), value.as_bytes()).unwrap();
        }
        writer.finish().unwrap();
    }
}

fn texts(lines: &Lines) -> Vec<String> {
    lines.iter().map(str::to_owned).collect()
}

/// Runs `body` with `path` out of reach, as for a process that has dropped its privileges.
fn out_of_reach(path: &Path, body: impl FnOnce()) {
    use nix::unistd::{Uid, geteuid, setfsuid};
    let mode = |mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    mode(0o000);
    // Only this thread, which is the one of this test.
    let before = geteuid().is_root().then(|| setfsuid(Uid::from_raw(65534)));
    let kind = fs::File::open(path).unwrap_err().kind();
    assert_eq!(kind, std::io::ErrorKind::PermissionDenied);
    let result = catch_unwind(AssertUnwindSafe(body));
    before.map(setfsuid);
    mode(0o755);
    if let Err(panic) = result {
        resume_unwind(panic);
    }
}

#[test]
fn the_first_folder_that_has_the_name_wins() {
    let setup = with("b/x", "of b");
    assert_eq!(setup.list("x"), ["of b"]);
    assert_eq!(setup.config.path("x"), Some(setup.path("b/x")));

    setup.write("a/x", "of a");
    assert_eq!(setup.list_now("x"), ["of a"]);
    assert_eq!(setup.config.path("x"), Some(setup.path("a/x")));

    // An empty file is a file.
    setup.write("a/x", "");
    assert!(setup.list_now("x").is_empty());

    // One that goes away counts until the configuration is read anew.
    setup.write("a/x", "of a");
    assert_eq!(setup.list_now("x"), ["of a"]);
    fs::remove_file(setup.path("a/x")).unwrap();
    assert_eq!(setup.list_now("x"), ["of a"]);
    let anew = setup.config.anew();
    assert_eq!(texts(&anew.list("x")), ["of b"]);
    assert_eq!(anew.path("x"), Some(setup.path("b/x")));
}

#[test]
fn a_folder_in_the_place_of_a_file_is_an_error() {
    let setup = with("b/x", "of b");
    assert_eq!(setup.list("x"), ["of b"]);
    fs::create_dir(setup.path("a/x")).unwrap();
    for _ in 0..3 {
        assert_eq!(setup.list_now("x"), ["of b"]);
    }
    assert_eq!(setup.problems(), ["a/x: a folder, not a file"]);
    assert_eq!(setup.error("x"), "a/x: a folder, not a file");
    fs::remove_dir(setup.path("a/x")).unwrap();
    assert_eq!(setup.list_now("x"), ["of b"]);
    assert!(setup.problems().is_empty());
}

#[test]
fn an_absolute_path_is_a_name() {
    let setup = with("elsewhere", "there");
    let name = setup.path("elsewhere");
    assert_eq!(setup.list(name.to_str().unwrap()), ["there"]);
    assert_eq!(setup.config.path(name.to_str().unwrap()), Some(name));
}

#[test]
fn exists_and_path_do_not_open() {
    let setup = setup();
    assert!(!setup.config.exists("x"));
    symlink("/dev/null", setup.path("b/x")).unwrap();
    setup.config.expire();
    assert!(setup.config.exists("x"));
    assert_eq!(setup.config.path("x"), Some(setup.path("b/x")));
    assert!(!setup.config.exists("timeout"));
    assert!(setup.problems().is_empty());
}

#[test]
fn only_plain_files_are_read() {
    let setup = setup();
    symlink("/dev/zero", setup.path("a/x")).unwrap();
    assert!(setup.list("x").is_empty());
    assert_eq!(setup.problems(), ["a/x: not a plain file"]);
}

#[test]
fn built_in_defaults() {
    let setup = setup();
    let config = &setup.config;
    let host = nix::unistd::gethostname().unwrap().into_string().unwrap();
    assert_eq!(config.value("me"), Some(host));
    for (name, value) in
        [("timeout", 1200), ("loglevel", 4), ("size_threshold", 65536), ("databytes", 0)]
    {
        assert_eq!(config.value(name), Some(value.to_string()), "{name}");
        assert_eq!(config.number(name, 77), value, "{name}");
        assert!(config.list(name).is_empty(), "{name}");
    }
    assert_eq!(config.value("other"), None);

    setup.write("a/me", "# our name\nmx.example.com\nnot this\n");
    config.expire();
    assert_eq!(config.value("me").as_deref(), Some("mx.example.com"));
}

#[test]
fn numbers() {
    let setup = with("a/ten", "10\n20");
    setup.write("a/none", "0");
    setup.write("a/timeout", "60");
    assert_eq!(setup.config.number("ten", 5), 10);
    assert_eq!(setup.config.number("none", 5), 0);
    assert_eq!(setup.config.number("missing", 5), 5);
    assert_eq!(setup.config.number("timeout", 5), 60);
    assert!(setup.problems().is_empty());
}

#[test]
fn a_bad_number_is_a_problem_once_per_change() {
    let setup = with("a/size", "# bytes\n10M\n");
    assert_eq!(setup.config.number("size", 5), 5);
    assert_eq!(setup.problems(), ["a/size:2: size: not a number: 10M; taken as 5"]);
    assert_eq!(setup.config.number("size", 5), 5);
    setup.config.expire();
    assert_eq!(setup.config.number("size", 5), 5);
    assert!(setup.problems().is_empty());

    setup.write("a/size", "-1");
    setup.config.expire();
    assert_eq!(setup.config.number("size", 5), 5);
    assert_eq!(setup.problems(), ["a/size:1: size: not a number: -1; taken as 5"]);

    for text in ["", "# nothing"] {
        setup.write("a/size", text);
        setup.config.expire();
        assert_eq!(setup.config.number("size", 5), 5);
    }
    assert!(setup.problems().is_empty());
}

#[test]
fn clones_are_the_same_configuration() {
    let setup = with("a/x", "one");
    let clone = setup.config.clone();
    assert!(setup.config.list("x").same(&clone.list("x")));
    clone.set_home(PathBuf::from("/home/smtpd"));
    assert_eq!(setup.config.home(), Path::new("/home/smtpd"));
}

#[test]
fn expands_the_home_folder() {
    let config = Config::new(Vec::new());
    config.set_home(PathBuf::from("/home/smtpd"));
    for (path, expanded) in [
        ("~", "/home/smtpd"),
        ("~/", "/home/smtpd/"),
        ("~/Maildir", "/home/smtpd/Maildir"),
        ("~//Maildir", "/home/smtpd/Maildir"),
        ("~user/x", "~user/x"),
        ("/a/~", "/a/~"),
        ("a/~/b", "a/~/b"),
        ("", ""),
    ] {
        assert_eq!(config.expand(path), Path::new(expanded), "{path}");
    }
}

#[test]
fn the_search_path() {
    let path = |config: Option<&str>, program: Option<&str>, qmail: Option<&str>| {
        let dirs = search_path(
            config.map(OsString::from),
            program.map(PathBuf::from),
            qmail.map(OsString::from),
        );
        dirs.iter().map(|dir| dir.display().to_string()).collect::<Vec<_>>()
    };
    assert_eq!(
        path(Some("/etc/qpsmtpd"), Some("/opt/q/qpsmtpd"), Some("/q")),
        ["/etc/qpsmtpd", "/opt/q/config", "/q/control"]
    );
    assert_eq!(
        path(None, Some("/opt/q/qpsmtpd"), None),
        ["config", "/opt/q/config", "/var/qmail/control"]
    );
    assert_eq!(path(None, None, None), ["config", "/var/qmail/control"]);
    assert_eq!(path(Some(""), None, Some("")), ["config", "/var/qmail/control"]);
}
