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
    for user in
        [".*@example.com", "good@example.co.", "^good@example.com", "good@example.com:good_pass"]
    {
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
    assert!(log.contains("flat_auth_pw:6: a password hash of an unknown kind"), "{log}");
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
