//! OpenLDAP's slapd, in the clear, over its socket, with StartTLS and over ldaps.

use std::fs;

use super::{PASSWORD, USER, authenticate, config, is_temporary};
use crate::backends::start;
use crate::backends::tls::make_certificate;
use crate::harness::{Config, Model, Process, Server, deb, free_port};

/// The server.  What is below ou=closed only its reader may look at.
const SLAPD: &str = "\
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
TLSCertificateFile {work}/server.pem
TLSCertificateKeyFile {work}/server.pem
database mdb
suffix \"o=Example Inc\"
directory {work}/data
maxsize 10485760
access to attrs=userPassword by * auth
access to dn.subtree=\"ou=closed,o=Example Inc\" by dn.exact=\"cn=reader,o=Example Inc\" read
access to * by * read
";

/// Its entries: one user, two with the same address, and one with a password but no right to it.
const ENTRIES: &str = "\
dn: o=Example Inc
objectClass: organization
o: Example Inc

dn: ou=people,o=Example Inc
objectClass: organizationalUnit
ou: people

dn: ou=closed,o=Example Inc
objectClass: organizationalUnit
ou: closed

dn: cn=reader,o=Example Inc
objectClass: person
cn: reader
sn: x
userPassword: reader-password

dn: uid=ann,ou=people,o=Example Inc
objectClass: inetOrgPerson
uid: ann
cn: Ann
sn: x
mail: ann@example.com
userPassword: a \"b\\{3} \u{e9}

dn: uid=one,ou=people,o=Example Inc
objectClass: inetOrgPerson
uid: one
cn: One
sn: x
mail: two@example.com
userPassword: right-one

dn: uid=two,ou=people,o=Example Inc
objectClass: inetOrgPerson
uid: two
cn: \u{e9}t\u{e9} (*)
sn: x
mail: two@example.com
userPassword: right-one

dn: uid=none,ou=people,o=Example Inc
objectClass: inetOrgPerson
uid: none
cn: None
sn: x

dn: uid=eve,ou=closed,o=Example Inc
objectClass: inetOrgPerson
uid: eve
cn: Eve
sn: x
userPassword: right-one
";

/// Where one server listens.
struct Directory {
    keep: Config,
    port: u16,
    tls_port: u16,
    certificate: String,
}

impl Directory {
    /// A server with all entries that does not run yet; none without the package.
    fn new() -> Option<Directory> {
        if !deb::need("slapd") {
            return None;
        }
        let keep = Config::new();
        fs::create_dir(keep.path("data")).unwrap();
        let certificate = make_certificate(&keep.path("server.pem"), "localhost");
        keep.write("slapd.conf", SLAPD);
        keep.write("entries", ENTRIES);
        let mut command = keep.command(deb::program("slapadd").expect("was asked for"));
        command.arg("-f").arg(keep.path("config/slapd.conf"));
        command.arg("-l").arg(keep.path("config/entries"));
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let (port, tls_port) = (free_port(), free_port());
        Some(Directory { keep, port, tls_port, certificate })
    }

    fn run(&self) -> Process {
        let socket = self.keep.path("socket").to_string_lossy().replace('/', "%2F");
        let (port, tls_port) = (self.port, self.tls_port);
        let urls = format!("ldap://127.0.0.1:{port} ldaps://127.0.0.1:{tls_port} ldapi://{socket}");
        let mut command = self.keep.command(deb::program("slapd").expect("was asked for"));
        command.arg("-f").arg(self.keep.path("config/slapd.conf")).args(["-d", "0", "-h", &urls]);
        start(command, self.port)
    }

    /// A configuration that asks it, with these settings in place of the port's.
    fn asked_with(&self, settings: &str) -> Config {
        let settings = settings
            .replace("{port}", &self.port.to_string())
            .replace("{tls_port}", &self.tls_port.to_string())
            .replace("{directory}", &self.keep.work().to_string_lossy());
        config("auth/auth_ldap_bind")
            .set("ldap", &format!("ldap_base o=Example Inc\n{settings}"))
            .set("ca.pem", &self.certificate)
            .set("reader-password", "reader-password")
    }
}

/// What becomes of a user and a password.
fn says(server: &Server, user: &str, password: &str, code: &str) {
    for mechanism in ["PLAIN", "LOGIN"] {
        let reply = authenticate(server, mechanism, user, password);
        // Replies are ASCII.
        let user = user.replace(|c: char| !c.is_ascii(), "?");
        let want = match code {
            "235" => {
                format!("235 2.7.0 {mechanism} authentication successful for {user} - authldap")
            }
            _ => format!(
                "535 5.7.8 {mechanism} authentication failed for {user} from 127.0.0.1 - \
                 authldap - wrong username or password"
            ),
        };
        assert_eq!(reply.lines, [want], "{}", server.log().tail());
    }
}

#[test]
fn slapd_is_asked_in_every_model() {
    let Some(directory) = Directory::new() else { return };
    let slapd = directory.run();
    let settings = ["ldap_port {port}", "ldap_host {directory}/socket"];
    for (model, settings) in Model::ALL.into_iter().zip(settings.iter().cycle()) {
        let config = directory.asked_with(settings);
        let server = Server::start(&config, model);
        for user in [USER, "Ann", "ann@elsewhere.test"] {
            says(&server, user, PASSWORD, "235");
            says(&server, user, &PASSWORD[1..], "535");
        }
        for user in ["nobody@example.com", "none", "*", "a*", "ann)(uid=*", "eve", "\u{e9}"] {
            says(&server, user, PASSWORD, "535");
            says(&server, user, "right-one", "535");
        }
        assert!(!server.log().text().contains(&PASSWORD[1..]), "{}", server.log().tail());
        server.stop().unwrap();
    }
    // None of it is known without the server, and all of it as soon as it is back.
    let config = directory.asked_with("ldap_port {port}");
    let server = Server::start(&config, Model::Prefork);
    says(&server, USER, PASSWORD, "235");
    drop(slapd);
    is_temporary(&server, USER, PASSWORD);
    let _slapd = directory.run();
    says(&server, USER, PASSWORD, "235");
    server.stop().unwrap();
}

#[test]
fn slapd_is_asked_with_filters_and_by_a_reader() {
    let Some(directory) = Directory::new() else { return };
    let _slapd = directory.run();
    let config = directory.asked_with(
        "ldap_port {port}\nldap_filter (&(objectClass=inetOrgPerson)(|(mail=%u)(cn=%u)))",
    );
    let server = Server::start(&config, Model::Prefork);
    says(&server, USER, PASSWORD, "235");
    says(&server, "ann@elsewhere.test", PASSWORD, "535");
    says(&server, "\u{c9}t\u{e9} (*)", "right-one", "235");
    says(&server, "*@example.com", PASSWORD, "535");
    // It has two entries.
    is_temporary(&server, "two@example.com", "right-one");
    server.log().wait_for("the user has not exactly one entry");
    server.stop().unwrap();

    let reader = "ldap_port {port}\nldap_bind_password_file reader-password\nldap_bind_dn cn=";
    let config = directory.asked_with(&format!("{reader}reader,o=Example Inc"));
    let server = Server::start(&config, Model::Prefork);
    says(&server, "eve", "right-one", "235");
    says(&server, "eve", "right-on", "535");
    // Its own password is wrong: nobody else's has been looked at.
    config.write("reader-password", "another");
    is_temporary(&server, "eve", "right-one");
    server.log().wait_for("the server refuses the bind: 49");
    server.stop().unwrap();

    let config = directory.asked_with("ldap_port {port}\nldap_base o=Nowhere");
    let server = Server::start(&config, Model::Prefork);
    is_temporary(&server, USER, PASSWORD);
    server.log().wait_for("the server refuses the search: 32");
    server.stop().unwrap();
}

#[test]
fn slapd_is_asked_under_tls() {
    let Some(directory) = Directory::new() else { return };
    let _slapd = directory.run();
    let ca = "ldap_ca {work}/config/ca.pem";
    for tls in ["ldap_tls must\nldap_port {port}", "ldap_tls first\nldap_port {tls_port}"] {
        let config = directory.asked_with(&format!("ldap_host localhost\n{ca}\n{tls}"));
        let server = Server::start(&config, Model::Prefork);
        says(&server, USER, PASSWORD, "235");
        says(&server, USER, &PASSWORD[1..], "535");
        server.stop().unwrap();
        // A certificate for another name, and one of an authority that nobody knows.
        for (host, ca) in [("127.0.0.1", &*directory.certificate), ("localhost", "")] {
            let config = directory.asked_with(&format!("ldap_host {host}\nldap_ca ca.pem\n{tls}"));
            let other = make_certificate(&config.path("other.pem"), "localhost");
            config.write("ca.pem", if ca.is_empty() { &other } else { ca });
            let server = Server::start(&config, Model::Prefork);
            is_temporary(&server, USER, PASSWORD);
            server.log().wait_for("invalid peer certificate");
            server.stop().unwrap();
        }
    }
    // What listens there speaks no LDAP.
    let config = directory.asked_with("ldap_port {tls_port}\nldap_timeout 1");
    let server = Server::start(&config, Model::Prefork);
    is_temporary(&server, USER, PASSWORD);
    server.stop().unwrap();
}

#[test]
fn a_start_without_a_base_is_refused() {
    let config = config("auth/auth_ldap_bind");
    let error = Server::try_start(&config, Model::Prefork, &[]).err().expect("it does not start");
    assert!(error.contains("setting missing: ldap_base"), "{error}");
}
