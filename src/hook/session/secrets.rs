//! What a client says that no line of the log may show.

use super::Session;

/// A shorter word is part of others.
const SHORTEST: usize = 4;

/// "password" itself has 8 octets.
const SHORTEST_PASSWORD: usize = 9;

/// What the log shows in the place of a secret: shorter than one, and none.
const HIDDEN: &str = "...";

impl Session {
    /// `text` and its words may be secrets: until [`Session::forget_secrets`] no line of the log shows
    /// them, whoever writes it.
    pub(crate) fn keep_secret(&mut self, text: &str) {
        let words = std::iter::once(text.trim()).chain(text.split_whitespace());
        let words = words.filter(|word| word.len() >= SHORTEST);
        self.secrets.extend(words.map(str::to_ascii_lowercase));
    }

    /// The same for a password as a whole.  A short one may be a word of our own lines, and a gap
    /// there would tell it.
    pub(crate) fn keep_password(&mut self, password: &[u8]) {
        if password.len() >= SHORTEST_PASSWORD {
            self.secrets.push(String::from_utf8_lossy(password).to_ascii_lowercase());
        }
    }

    /// Nothing is a secret any more: another command begins.
    pub(crate) fn forget_secrets(&mut self) {
        self.secrets.clear();
    }

    /// May something that is said now be a secret?
    pub(crate) fn has_secrets(&self) -> bool {
        !self.secrets.is_empty()
    }

    /// `text` with dots in the place of secrets, which plugins may have in another case.
    pub(crate) fn discreet(&self, mut text: String) -> String {
        for secret in &self.secrets {
            while let Some(at) = text.to_ascii_lowercase().find(secret) {
                text.replace_range(at..at + secret.len(), HIDDEN);
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use crate::log::Level;
    use crate::testing::Trial;

    #[test]
    fn secrets_are_in_no_line_until_the_next_command() {
        let mut trial = Trial::new("", &[]);
        trial.take_log();
        trial.session.keep_secret(" xY7/ab= no Two-words ");
        for text in ["it is XY7/AB=.", "xy7/ab= no two-words", "no dots", "Two-wordsTwo-words"] {
            trial.session.log(Level::Info, text);
        }
        trial.session.forget_secrets();
        trial.session.log(Level::Info, "xY7/ab=");
        assert_eq!(trial.log(), "it is ....\n...\nno dots\n......\nxY7/ab=");
        trial.session.keep_password(b"password");
        trial.session.keep_password(b"Pass word 1");
        trial.session.log(Level::Info, "wrong password: pass word 1");
        assert!(trial.log().ends_with("\nwrong password: ..."));
        // Dots of the client's own come to an end as well.
        trial.session.keep_secret("....");
        trial.session.log(Level::Info, "...........");
        assert!(trial.log().ends_with("\n..."));
    }
}
