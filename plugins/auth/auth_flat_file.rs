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
mod tests {
    use super::*;
    use crate::auth::passwords::{HASHES, computed};
    use crate::hook::{Code, Scram, Secret};
    use crate::testing::Trial;

    const USERS: &str = "good@example.com:good_pass\n\
        Tim@Example.com:tanstaaftanstaaf\n\
        colon@example.com:a:b\n\
        good@example.com:second\n\
        empty@example.com:\n\
        half-a-secret\n\
        nodomain:pass\n";

    const CLEAR: [(Hook, &str); 2] = [(Hook::AuthPlain, "plain"), (Hook::AuthLogin, "login")];

    fn trial() -> Trial {
        Trial::new("auth/auth_flat_file", &[("flat_auth_pw", USERS)])
    }

    fn clear(trial: &mut Trial, user: &str, password: &str) -> Verdict {
        let [one, two] = CLEAR.map(|(hook, mechanism)| {
            let password = Some(Secret::new(password.as_bytes()));
            let sent = Credentials { mechanism, user, password, hash: None, ticket: "" };
            trial.call(hook, &Call::Credentials(&sent))
        });
        assert_eq!(one, two);
        one
    }

    fn cram(trial: &mut Trial, user: &str, hash: &str, ticket: &str) -> Verdict {
        let hash = Some(Secret::new(hash.as_bytes()));
        let sent = Credentials { mechanism: "cram-md5", user, password: None, hash, ticket };
        trial.call(Hook::AuthCramMd5, &Call::Credentials(&sent))
    }

    fn is(verdict: Verdict, code: Code, text: &str) {
        assert_eq!((verdict.code(), verdict.text()), (code, text));
    }

    const WRONG: &str = "auth_flat_file - wrong password";

    #[test]
    fn clear_passwords_are_compared() {
        let trial = &mut trial();
        for (user, password, code, text) in [
            ("good@example.com", "good_pass", Code::Ok, "auth_flat_file"),
            ("GOOD@Example.com", "good_pass", Code::Ok, "auth_flat_file"),
            ("tim@example.com", "tanstaaftanstaaf", Code::Ok, "auth_flat_file"),
            ("colon@example.com", "a:b", Code::Ok, "auth_flat_file"),
            ("good@example.com", "wrong", Code::Deny, WRONG),
            ("good@example.com", "good_pas", Code::Deny, WRONG),
            ("good@example.com", "Good_pass", Code::Deny, WRONG),
            ("good@example.com", "second", Code::Deny, WRONG),
            ("good@example.com", "", Code::Deny, WRONG),
            ("colon@example.com", "a", Code::Deny, WRONG),
            ("empty@example.com", "", Code::Deny, WRONG),
            ("nobody@example.com", "good_pass", Code::Declined, WRONG),
            ("good", "good_pass", Code::Declined, WRONG),
            ("nodomain", "pass", Code::Declined, WRONG),
            ("", "good_pass", Code::Declined, WRONG),
        ] {
            is(clear(trial, user, password), code, text);
        }
        for line in [
            "(auth-plain) auth/auth_flat_file: pass, clear match",
            "fail, wrong password",
            "fail, missing domain",
            "fail, no such user: nobody@example.com",
        ] {
            assert!(trial.log().contains(line), "{line}");
        }
    }

    #[test]
    fn a_user_name_is_no_pattern() {
        let trial = &mut trial();
        for user in [
            ".*@example.com",
            "good@example.co.",
            "^good@example.com",
            "good@example.com:good_pass",
        ] {
            is(clear(trial, user, "good_pass"), Code::Declined, WRONG);
        }
    }

    /// The example of RFC 2195 2.
    #[test]
    fn digests_are_compared() {
        let ticket = "<1896.697170952@postoffice.reston.mci.net>";
        let digest = "b913a602c7eda7a495b4e6e7334d3890";
        let (user, trial) = ("tim@example.com", &mut trial());
        is(cram(trial, user, digest, ticket), Code::Ok, "auth_flat_file");
        assert!(trial.log().contains("(auth-cram-md5) auth/auth_flat_file: pass, hash match"));
        is(cram(trial, user, &digest.replace('0', "1"), ticket), Code::Deny, WRONG);
        is(cram(trial, user, "", ticket), Code::Deny, WRONG);
        is(cram(trial, user, digest, "<1@example>"), Code::Deny, WRONG);
        is(cram(trial, "good@example.com", digest, ticket), Code::Deny, WRONG);
        is(cram(trial, user, digest, ""), Code::Declined, WRONG);
        assert!(trial.log().contains("skip, missing ticket"));
    }

    #[test]
    fn hashed_passwords_are_compared() {
        let lines = HASHES.iter().enumerate();
        let lines = lines.map(|(number, hash)| format!("u{number}@example.com:{hash}\n"));
        let other = "old@example.com:{CRYPT}$1$abc$secret\n\
            old@example.com:second\n\
            broken@example.com:{CRYPT}$y$!!!$salt$1234567890123456789012345678901234567890123\n";
        let users = lines.collect::<String>() + other;
        let trial = &mut Trial::new("auth/auth_flat_file", &[("flat_auth_pw", &users)]);
        let ticket = "<1@example>";
        for (number, hash) in HASHES.into_iter().enumerate() {
            let user = &format!("u{number}@example.com");
            is(clear(trial, user, "good pass"), Code::Ok, "auth_flat_file");
            is(clear(trial, user, "good pas"), Code::Deny, WRONG);
            is(cram(trial, user, "0123456789abcdef", ticket), Code::Declined, WRONG);
            is(clear(trial, user, hash), Code::Deny, WRONG);
        }
        for password in ["{CRYPT}$1$abc$secret", "$1$abc$secret", "second"] {
            let verdict = clear(trial, "old@example.com", password);
            is(verdict, Code::Deny, WRONG);
        }
        assert!(clear(trial, "broken@example.com", "x").is_failure());
        let log = trial.log();
        assert!(log.contains("flat_auth_pw:6: a password hash of another kind"), "{log}");
        assert!(log.contains("FATAL PLUGIN ERROR: the password hash cannot be used"), "{log}");
        assert!(!log.contains("$1$") && !log.contains("good pas"), "{log}");
    }

    #[test]
    fn scram_is_told_passwords_and_keys() {
        let keys = crate::hook::PENCIL;
        let hash = HASHES[0];
        let users = format!(
            "clear@example.com:pencil\n\
             keys@example.com:{{scram-sha-256}}{}\n\
             postgresql@example.com:{{SCRAM-SHA-256}}{}\n\
             hash@example.com:{hash}\n\
             broken@example.com:{{SCRAM-SHA-256}}{}\n\
             empty@example.com:\n",
            keys[0],
            keys[1],
            &keys[0][..keys[0].len() - 1],
        );
        let trial = &mut Trial::new("auth/auth_flat_file", &[("flat_auth_pw", &users)]);
        let mut ask = |user: &str| {
            let scram = Scram::new(user);
            let verdict = trial.call(Hook::AuthScramSha256, &Call::Scram(&scram));
            assert!(!scram.accepts("") && !scram.accepts("pencils"), "{user}");
            assert_eq!(verdict.text(), "auth_flat_file", "{user}");
            (verdict.code(), scram.accepts("pencil"))
        };
        for user in ["clear", "keys", "Keys", "postgresql"] {
            assert_eq!(ask(&format!("{user}@example.com")), (Code::Ok, true), "{user}");
        }
        for user in ["hash", "broken", "empty", "nobody"] {
            assert_eq!(ask(&format!("{user}@example.com")), (Code::Declined, false), "{user}");
        }
        assert_eq!(ask("clear"), (Code::Declined, false));
        assert!(trial.log().contains("flat_auth_pw:5: keys for SCRAM that are broken"));
        for user in ["keys@example.com", "postgresql@example.com"] {
            is(clear(trial, user, "pencil"), Code::Ok, "auth_flat_file");
            is(clear(trial, user, "pen"), Code::Deny, WRONG);
            is(cram(trial, user, "0123456789abcdef", "<1@x>"), Code::Declined, WRONG);
        }
        let broken = clear(trial, "broken@example.com", "pencil");
        is(broken, Code::Deny, WRONG);
        assert!(!trial.log().contains("W22Z") && !trial.log().contains("pencil"));
    }

    /// Nobody can find out by the time or the text of a refusal which users there are.
    #[test]
    fn users_who_are_not_there_cost_as_much_as_others() {
        let hashed = |count: usize, hash: &str| {
            (0..count).map(|n| format!("u{n}@example.com:{hash}\n")).collect::<String>()
        };
        for hash in HASHES {
            let users = hashed(3, hash) + "old@example.com:{CRYPT}$1$abc$secret\n";
            let trial = &mut Trial::new("auth/auth_flat_file", &[("flat_auth_pw", &users)]);
            clear(trial, "u1@example.com", "wrong");
            let wanted = computed();
            assert_eq!(wanted.len(), 2, "{hash}");
            for user in ["nobody@example.com", "x@y", "no-domain", "old@example.com"] {
                assert_eq!(clear(trial, user, "wrong").text(), WRONG);
                assert_eq!(computed(), wanted, "{hash} {user}");
            }
            // Not even with the password of the user whose place is taken.
            is(clear(trial, "nobody@example.com", "good pass"), Code::Declined, WRONG);
            assert_eq!(computed(), wanted);
        }
        // Where some have hashes, some of those who are not there do so, and always the same.
        let users = hashed(8, HASHES[0]) + "a@b:x\nc@d:y\ne@f:z\ng@h:x\ni@j:y\nk@l:z\n";
        let trial = &mut Trial::new("auth/auth_flat_file", &[("flat_auth_pw", &users)]);
        let mut costs = |name: usize| {
            clear(trial, &format!("nobody{name}@example.com"), "wrong");
            computed().len()
        };
        let first: Vec<_> = (0..60).map(&mut costs).collect();
        assert!(first.contains(&0) && first.contains(&2), "{first:?}");
        assert_eq!(first, (0..60).map(costs).collect::<Vec<_>>());
    }

    #[test]
    fn no_password_at_all_is_refused() {
        let user = "good@example.com";
        let sent = Credentials { mechanism: "plain", user, password: None, hash: None, ticket: "" };
        let verdict = trial().call(Hook::AuthPlain, &Call::Credentials(&sent));
        is(verdict, Code::Deny, "authflat - missing password");
    }

    #[test]
    fn nothing_of_a_password_goes_to_the_log() {
        let mut trial = trial();
        clear(&mut trial, "good@example.com", "secret-attempt");
        assert!(trial.log().contains("flat_auth_pw:6: no colon after the user"), "{}", trial.log());
        for secret in ["secret-attempt", "good_pass", "half-a-secret"] {
            assert!(!trial.log().contains(secret), "{}", trial.log());
        }
    }

    #[test]
    fn a_changed_file_counts_at_once() {
        let mut trial = trial();
        trial.set_config("flat_auth_pw", "good@example.com:new");
        is(clear(&mut trial, "good@example.com", "new"), Code::Ok, "auth_flat_file");
        let mut without = Trial::new("auth/auth_flat_file", &[]);
        is(clear(&mut without, "good@example.com", "new"), Code::Declined, WRONG);
        assert!(Trial::load("auth/auth_flat_file users", &[]).is_err());
    }
}
