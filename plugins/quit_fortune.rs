//! ```text
//! NAME
//!     quit_fortune - says goodbye with a fortune cookie
//!
//! SYNOPSIS
//!     quit_fortune [PROGRAM]
//!
//! DESCRIPTION
//!     Answers QUIT with the output of "fortune -s", each line of it as a line of the reply.  Only
//!     clients that said HELO get it: those that say EHLO are too sophisticated to enjoy it.
//!
//!     If there is no such program, or it says nothing, the answer is the usual one.
//!
//! ARGUMENTS
//!     PROGRAM   the program's path; /usr/games/fortune by default
//! ```

use std::process::{Command, Stdio};

use crate::error::Result;
use crate::hook::Session;
use crate::hook::{Args, DECLINED, DONE, Hooks, Verdict};
use crate::log::Level;

/// Registers the plugin; see its manual above.
pub fn register(hooks: &mut Hooks, args: &Args) -> Result<()> {
    args.at_most(1)?;
    let program = args.get(0).unwrap_or("/usr/games/fortune").to_owned();
    hooks.quit(
        move |session| {
            if session.connection.is_esmtp() { DECLINED } else { goodbye(session, &program) }
        },
    );
    Ok(())
}

fn goodbye(session: &mut Session, program: &str) -> Verdict {
    let mut command = Command::new(session.expand(program));
    command.arg("-s").stdin(Stdio::null()).stderr(Stdio::null());
    let said = match command.output() {
        Ok(output) => String::from_utf8_lossy(&output.stdout).into_owned(),
        Err(error) => {
            session.log(Level::Debug, format_args!("{program}: {error}"));
            return DECLINED;
        }
    };
    if said.trim().is_empty() {
        return DECLINED;
    }
    let mut text = format!("{} closing connection.", session.me());
    for line in said.trim_end().lines() {
        text = text + "\n  / " + line;
    }
    session.respond(221, text);
    DONE
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hook::Hook;
    use crate::state::Hello;
    use crate::testing::Trial;

    #[test]
    fn what_the_program_says_is_the_answer() {
        for (hello, is_fun) in [(Some(Hello::Helo), true), (None, true), (Some(Hello::Ehlo), false)]
        {
            let mut trial = Trial::new("quit_fortune /bin/echo", &[("me", "mx.test")]);
            trial.session.connection.hello = hello;
            let verdict = trial.plain(Hook::Quit);
            assert_eq!(verdict, if is_fun { DONE } else { DECLINED });
            let said = trial.session.responses();
            let text = "mx.test closing connection.\n  / -s";
            assert_eq!(said.first(), is_fun.then(|| (221, text.to_owned())).as_ref());
        }
    }

    #[test]
    fn without_words_the_answer_is_the_usual_one() {
        for program in ["{dir}/none", "/bin/true", "/bin"] {
            let mut trial = Trial::new(&format!("quit_fortune {program}"), &[]);
            assert_eq!(trial.plain(Hook::Quit), DECLINED, "{program}");
            assert!(trial.session.responses().is_empty());
        }
        assert!(Trial::load("quit_fortune a b", &[]).is_err());
    }
}
