//! A client of a [`Trial`] that authenticates.

use crate::hook::{Call, Code, Credentials, Hook, Secret, Verdict, cram_md5};
use crate::testing::Trial;

/// The challenge of CRAM-MD5.
const TICKET: &str = "<1.2@mx.example>";

impl Trial {
    /// Authenticates as `user` with `mechanism`, which is `plain`, `login` or `cram-md5`: runs the
    /// mechanism's hook, then `auth` if no plugin has decided.  The verdict is not yet in the session.
    ///
    /// # Panics
    /// There is no such mechanism, or no digest of an empty password.
    pub fn auth(&mut self, mechanism: &str, user: &str, password: &str) -> Verdict {
        let hook = match mechanism {
            "plain" => Hook::AuthPlain,
            "login" => Hook::AuthLogin,
            "cram-md5" => Hook::AuthCramMd5,
            _ => panic!("no mechanism: {mechanism}"),
        };
        let digest = cram_md5(password, TICKET).expect("HMAC takes a key of any length");
        let is_digest = hook == Hook::AuthCramMd5;
        let password = (!is_digest).then(|| Secret::new(password.as_bytes()));
        let hash = is_digest.then(|| Secret::new(digest.as_bytes()));
        let sent = Credentials { mechanism, user, password, hash, ticket: TICKET };
        let call = Call::Credentials(&sent);
        match self.call(hook, &call) {
            first if first.code() == Code::Declined => self.call(Hook::Auth, &call).told_as(&first),
            first => first,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Result;
    use crate::hook::{Args, DECLINED, Hooks};

    fn register(hooks: &mut Hooks, _args: &Args) -> Result<()> {
        hooks.auth_login(|_, _| Verdict::declined("not by login"));
        hooks.auth(|_, credentials| match credentials.matches("pass") {
            true => Verdict::ok(format_args!("{} as {}", credentials.user, credentials.mechanism)),
            false => DECLINED,
        });
        Ok(())
    }

    #[test]
    fn each_mechanism_presents_what_it_has() {
        let mut trial = Trial::with(register, "", &[]);
        for mechanism in ["plain", "login", "cram-md5"] {
            let verdict = trial.auth(mechanism, "tim", "pass");
            assert_eq!(verdict.text(), format!("tim as {mechanism}"));
            assert_eq!(trial.auth(mechanism, "tim", "word").code(), Code::Declined);
        }
        assert_eq!(trial.auth("login", "tim", "word").text(), "not by login");
    }
}
