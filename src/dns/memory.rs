//! What a session was told already, so that it asks nothing twice.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::{Answer, Dns, Question};

/// How long an answer is kept.  Sessions are short; a long one is told of changes.
const KEPT: Duration = Duration::from_secs(60);

/// How long it is kept that nobody knew: long enough for the hooks of one command.
const FAILURE_KEPT: Duration = Duration::from_secs(15);

/// The most answers that are kept.
const MOST: usize = 1000;

/// The answers of a session.
#[derive(Debug, Default)]
pub struct Memory {
    answers: RefCell<HashMap<Question, (Instant, Answer)>>,
}

impl Memory {
    /// Takes what is known from the memory, and asks `dns` for the rest at once.
    pub fn ask(&self, dns: &dyn Dns, questions: &[Question]) -> Vec<Answer> {
        let mut unknown: Vec<Question> = Vec::new();
        for question in questions {
            if self.recall(question).is_none() && !unknown.contains(question) {
                unknown.push(question.clone());
            }
        }
        let answers = if unknown.is_empty() { Vec::new() } else { dns.ask(&unknown) };
        let mut fresh: HashMap<Question, Answer> = unknown.into_iter().zip(answers).collect();
        self.keep(&fresh);
        let failed = || Answer::Failed("not asked".into());
        let mut answer = |question: &Question| {
            fresh.get(question).cloned().or_else(|| self.recall(question)).unwrap_or_else(failed)
        };
        let all = questions.iter().map(&mut answer).collect();
        fresh.clear();
        all
    }

    fn recall(&self, question: &Question) -> Option<Answer> {
        let answers = self.answers.borrow();
        let (since, answer) = answers.get(question)?;
        let kept = if matches!(answer, Answer::Failed(_)) { FAILURE_KEPT } else { KEPT };
        (since.elapsed() < kept).then(|| answer.clone())
    }

    fn keep(&self, fresh: &HashMap<Question, Answer>) {
        let mut answers = self.answers.borrow_mut();
        if answers.len() + fresh.len() > MOST {
            answers.clear();
        }
        let now = Instant::now();
        answers.extend(
            fresh.iter().map(|(question, answer)| (question.clone(), (now, answer.clone()))),
        );
    }
}
