//! ```text
//! NAME
//!     auth/auth_flat_file - checks users and passwords in a file
//!
//! SYNOPSIS
//!     auth/auth_flat_file
//!
//! DESCRIPTION
//!     Lets clients authenticate with PLAIN, LOGIN, CRAM-MD5 and SCRAM-SHA-256 as the users of
//!     config/flat_auth_pw; under TLS 1.3 also with SCRAM-SHA-256-PLUS.
//!
//!     A user name is a whole address, user@domain; case does not matter.  A user name that is not
//!     in the file, or that is no whole address, is left to the next plugin.
//!
//!     The user name must be exactly the one in a line; the Perl plugin of the same name takes it
//!     as a pattern.
//!
//! CONFIG
//!     flat_auth_pw   one USER:PASSWORD per line.  Only the server should be able to read the file.
//!     auth_mechanisms, scram_secret   see docs/config.md
//!
//!     The password is in the clear, or is a hash with {CRYPT} before it:
//!
//!         {CRYPT}$6$...          SHA-512, and $5$ for SHA-256, as "openssl passwd -6" makes them
//!         {CRYPT}$y$...          yescrypt, as mkpasswd and chpasswd make it
//!         {CRYPT}$argon2id$...   Argon2
//!
//!     {SHA512-CRYPT}, {SHA256-CRYPT} and {ARGON2ID}, as "doveadm pw" makes them, work as well.
//!     Other hashes are reported in the log, and their users cannot authenticate.
//!
//!     Or the line has keys for SCRAM, as "doveadm pw -s SCRAM-SHA-256" makes them.  Those of
//!     PostgreSQL, SCRAM-SHA-256$..., work as well if the word in braces is put before them:
//!
//!         {SCRAM-SHA-256}ITERATIONS,SALT,STORED-KEY,SERVER-KEY
//!
//!     Which mechanisms a client can authenticate with depends on what is in the file:
//!
//!         the password in clear   all mechanisms
//!         keys for SCRAM          PLAIN, LOGIN, SCRAM-SHA-256
//!         another hash            PLAIN, LOGIN
//!
//!     An attempt with another mechanism is left to the next plugin.  All mechanisms are offered
//!     all the same, because nobody knows beforehand who the client is.  If that confuses clients,
//!     say in config/auth_mechanisms what is offered.  PLAIN and LOGIN should be used only over
//!     TLS; see tls_before_auth.
//!
//!     A client that uses SCRAM cannot find out which users exist, as long as keys in the file have
//!     4096 iterations and a salt of 16 octets.  Neither can a client that uses another mechanism:
//!     the text of the refusal is the same, and the password for a user that does not exist is
//!     compared with the password of a user in the file, always the same one for the same name.
//!
//!     A password in the clear must not begin with one of the words in braces.
//!
//! SEE ALSO
//!     relay
//! ```

use std::collections::HashMap;

use crate::auth::passwords::{Password, Texts, tell, validate};
use crate::config::Lines;
use crate::error::{Error, Result};
use crate::hook::{Args, Call, Credentials, DECLINED, Hook, Hooks, Session, Verdict, mac};
use crate::mail::host::address_key;

/// Registers the plugin; see its manual above.
pub fn register(hooks: &mut Hooks, args: &Args) -> Result<()> {
    args.at_most(0)?;
    let users = hooks.derived_checked("flat_auth_pw", parse);
    for hook in [Hook::AuthPlain, Hook::AuthLogin, Hook::AuthCramMd5] {
        let users = users.clone();
        hooks.on(hook, move |session, call| {
            let Call::Credentials(sent) = call else { return DECLINED };
            let users = session.derived(&users);
            check(session, &users, sent)
        });
    }
    hooks.auth_scram_sha_256(move |session, scram| {
        let users = session.derived(&users);
        let user = address_key(scram.user);
        tell(session, &TEXTS, find(session, &users, &user).unwrap_or_default(), scram)
    });
    Ok(())
}

const TEXTS: Texts = Texts { plugin: "auth_flat_file", wrong: "auth_flat_file - wrong password" };

#[derive(Default)]
struct Users {
    /// Names as they are looked up, each with the password; None where nobody can present it.
    passwords: HashMap<String, Option<Password>>,
    /// The names in their order of those who have a password.
    names: Vec<String>,
    /// Nobody knows it who has not read the file, and it stays as long as the file does.
    key: [u8; 32],
}

impl Users {
    /// The password of some user, for a name that nobody has.
    fn decoy(&self, name: &str) -> &[Password] {
        let octets = mac(&self.key, name.as_bytes());
        let number = octets[..8].iter().fold(0, |number, octet| number << 8 | u64::from(*octet));
        let name = number.checked_rem(self.names.len() as u64);
        let name = name.and_then(|at| self.names.get(at as usize));
        name.and_then(|name| self.passwords.get(name)).map_or(&[], Option::as_slice)
    }
}

fn parse(lines: &Lines, problems: &mut Vec<Error>) -> Users {
    let mut users = Users::default();
    for line in lines.entries() {
        users.key = mac(&users.key, line.text.as_bytes());
        match line.text.split_once(':') {
            Some((user, password)) => {
                let password = Password::parse(password).unwrap_or_else(|what| {
                    problems.push(Error::at(&line.file, line.number, what));
                    None
                });
                users.passwords.entry(address_key(user)).or_insert(password);
            }
            // The line may be half a password: it does not go to the log.
            None => problems.push(Error::at(&line.file, line.number, "no colon after the user")),
        }
    }
    let usable = users.passwords.iter().filter(|(_, password)| password.is_some());
    users.names = usable.map(|(name, _)| name.clone()).collect();
    users.names.sort_unstable();
    users
}

fn check(session: &Session, users: &Users, sent: &Credentials<'_>) -> Verdict {
    if sent.password.is_none() && sent.hash.is_none() {
        session.fail("missing password");
        return Verdict::deny("authflat - missing password");
    }
    let user = address_key(sent.user);
    let password = find(session, users, &user);
    validate(session, &TEXTS, password, users.decoy(&user), sent)
}

/// The password of a user, by the name as it is looked up; none for one that nobody can present.
fn find<'a>(session: &Session, users: &'a Users, user: &str) -> Option<&'a [Password]> {
    if !user.contains('@') {
        session.fail("missing domain");
        return None;
    }
    let found = users.passwords.get(user);
    if found.is_none() {
        session.fail(format_args!("no such user: {user}"));
    }
    found.map(Option::as_slice)
}

#[cfg(test)]
mod tests;
