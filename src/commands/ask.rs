//! Questions to the person at the terminal, on stderr. Where there is none, nothing is asked and nothing is done.

use std::io::IsTerminal;

use dialoguer::{Confirm, Input};

use crate::Context;
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
/// Where the answer is no, or where nobody is there and `--yes` was not given.
pub fn confirm(context: &Context, what: &str, question: &str) -> Result<(), Failure> {
    possible(context, question)?;
    if context.global().yes {
        return Ok(());
    }
    context.printer().tell(what);
    let answer = Confirm::new().with_prompt(question).default(false).interact_opt();
    match answer.map_err(|error| unanswered(&error))? {
        Some(true) => Ok(()),
        _ => Err(Failure::new(
            Exit::Failed,
            Code::Error,
            "the answer was no; nothing was changed",
        )),
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
    Failure::new(
        Exit::Failed,
        Code::Error,
        format!("no answer could be read: {error}"),
    )
}
