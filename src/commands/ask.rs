//! Questions to the person at the terminal, on stderr. Where there is none, nothing is asked and nothing is done.

use std::io::IsTerminal;

use dialoguer::console::Term;
use dialoguer::{Confirm, Input};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

use crate::Context;
use crate::context::stop_signal;
use crate::error::{Code, Exit, Failure};

/// Whether somebody is there who can answer.
pub fn somebody() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// Makes sure that the question can be answered, before anything is done to get to it.
///
/// # Errors
/// Where nobody is there and `--yes` was not given.
pub fn possible(context: &Context, question: &str) -> Result<(), Failure> {
    if context.global().yes || somebody() {
        return Ok(());
    }
    let message = format!("{question} Nobody is here to say so, and nothing was changed");
    Err(Failure::new(Exit::Refused, Code::Refused, message).hint("answer with --yes"))
}

/// Shows `what` would be done and asks; `--yes` is the answer where it was given.
///
/// # Errors
/// Where the answer is no, where a signal came instead of one, or where nobody is there and `--yes` was not given.
///
/// # Cancellation
/// The terminal is as it was before the question.
pub async fn confirm(context: &Context, what: &str, question: &str) -> Result<(), Failure> {
    possible(context, question)?;
    if context.global().yes {
        return Ok(());
    }
    context.printer().tell(what);
    let (terminal, stopped) = (Terminal::kept(), stop_signal());
    let question = question.to_owned();
    // In a thread of its own: what waits for a key sees no signal.
    let asked = tokio::task::spawn_blocking(move || {
        let confirm = Confirm::new().with_prompt(question).default(false);
        confirm.interact_opt()
    });
    let answer = tokio::select! {
        asked = asked => asked,
        () = stopped => return Err(Failure::interrupted()),
    };
    drop(terminal);
    match answer.unwrap_or_else(|lost| Err(std::io::Error::other(lost).into())) {
        Ok(Some(true)) => Ok(()),
        Ok(_) => Err(Failure::new(
            Exit::Failed,
            Code::Error,
            "the answer was no; nothing was changed",
        )),
        Err(error) => Err(unanswered(&error)),
    }
}

/// The modes of the terminal and its cursor, put back at the end: whoever waits for a key changes both.
struct Terminal(Option<Termios>);

impl Terminal {
    fn kept() -> Self {
        Self(tcgetattr(std::io::stdin()).ok())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if let Some(modes) = &self.0 {
            let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, modes);
        }
        let _ = Term::stderr().show_cursor();
    }
}

/// One line of text; an empty answer is `default`.
///
/// # Errors
/// Where the terminal is gone.
pub fn line(question: &str, default: &str) -> Result<String, Failure> {
    Input::<String>::new()
        .with_prompt(question)
        .default(default.to_owned())
        .allow_empty(true)
        .show_default(!default.is_empty())
        .interact_text()
        .map_err(|error| unanswered(&error))
}

fn unanswered(error: &dialoguer::Error) -> Failure {
    let dialoguer::Error::IO(read) = error;
    if read.kind() == std::io::ErrorKind::Interrupted {
        return Failure::interrupted();
    }
    Failure::new(
        Exit::Failed,
        Code::Error,
        format!("no answer could be read: {error}"),
    )
}
