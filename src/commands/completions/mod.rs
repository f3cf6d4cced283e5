//! `completions`: scripts for bash, zsh and fish, made from the clap definitions.
//!
//! The stock generators cannot serve commands with a colon in their name: bash splits words at `:`, and zsh's
//! `_describe` takes what follows it for a description. These scripts put the words together again, and know both
//! spellings (`storage:usage`, `storage usage`).

mod bash;
mod fish;
mod zsh;

use clap::{Args, Command, ValueEnum, ValueHint};

use super::text::TextView;
use crate::output::Outcome;

/// Prints a completion script for a shell.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell to complete for
    #[arg(value_enum)]
    pub shell: Shell,
}

/// Shells with a script of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// Prints the script.
pub fn run(root: &Command, args: &CompletionsArgs) -> Outcome {
    Outcome::done(TextView {
        operation: "completions",
        text: script(args.shell, root),
    })
}

/// The script for one shell.
#[must_use]
pub fn script(shell: Shell, root: &Command) -> String {
    let grammar = Grammar::of(root);
    match shell {
        Shell::Bash => bash::render(&grammar),
        Shell::Zsh => zsh::render(&grammar),
        Shell::Fish => fish::render(&grammar),
    }
}

/// What can be typed, without what clap knows beyond it.
struct Grammar {
    globals: Vec<Flag>,
    commands: Vec<Verb>,
}

/// One command.
struct Verb {
    /// `storage:usage`, `completions`
    name: String,
    about: String,
    flags: Vec<Flag>,
    /// What its positional arguments complete to.
    operands: Value,
}

/// One option.
struct Flag {
    long: String,
    short: Option<char>,
    help: String,
    value: Option<Value>,
}

/// What an option's value or an operand completes to.
#[derive(Clone, PartialEq, Eq)]
enum Value {
    /// One of these words.
    Words(Vec<String>),
    File,
    Directory,
    /// Nothing that a script could know.
    Opaque,
}

impl Grammar {
    fn of(root: &Command) -> Self {
        let mut built = root.clone();
        built.build();
        // `--help` is every command's own to clap; here it is one of the global ones.
        let is_global = |arg: &clap::Arg| arg.is_global_set() || arg.get_id() == "help";
        let globals = built.get_arguments().filter_map(Flag::of).collect();
        let shown = built
            .get_subcommands()
            .filter(|c| !c.is_hide_set() && c.get_name() != "help");
        let commands = shown
            .map(|command| Verb {
                name: command.get_name().to_owned(),
                about: first_line(command.get_about()),
                flags: command
                    .get_arguments()
                    .filter(|a| !is_global(a))
                    .filter_map(Flag::of)
                    .collect(),
                operands: command.get_positionals().next().map_or(Value::Opaque, Value::of),
            })
            .collect();
        Self { globals, commands }
    }

    /// Every option, paired with the command it belongs to; `None` for the global ones.
    fn all_flags(&self) -> impl Iterator<Item = (Option<&Verb>, &Flag)> {
        let own = self
            .commands
            .iter()
            .flat_map(|verb| verb.flags.iter().map(move |flag| (Some(verb), flag)));
        self.globals.iter().map(|flag| (None, flag)).chain(own)
    }

    /// The words that may follow `words` in the spelling with spaces: `storage` gives `usage`, `folder`, …
    fn next_words(&self, words: &[&str]) -> Vec<(String, String)> {
        let mut next: Vec<(String, String)> = Vec::new();
        for verb in &self.commands {
            let parts: Vec<&str> = verb.name.split(':').collect();
            if parts.len() <= words.len() || parts[..words.len()] != *words {
                continue;
            }
            let word = parts[words.len()].to_owned();
            let whole = parts.len() == words.len() + 1;
            let about = if whole {
                verb.about.clone()
            } else {
                format!("{word} commands")
            };
            if !next.iter().any(|(known, _)| *known == word) {
                next.push((word, about));
            }
        }
        next
    }

    /// Beginnings of command names that take another word: `storage`, `storage folder`.
    fn stems(&self) -> Vec<Vec<&str>> {
        let mut stems: Vec<Vec<&str>> = Vec::new();
        for verb in &self.commands {
            let parts: Vec<&str> = verb.name.split(':').collect();
            for len in 1..parts.len() {
                let stem = parts[..len].to_vec();
                if !stems.contains(&stem) {
                    stems.push(stem);
                }
            }
        }
        stems
    }
}

impl Flag {
    fn of(arg: &clap::Arg) -> Option<Self> {
        if arg.is_hide_set() {
            return None;
        }
        Some(Self {
            long: arg.get_long()?.to_owned(),
            short: arg.get_short(),
            help: first_line(arg.get_help()),
            value: arg.get_action().takes_values().then(|| Value::of(arg)),
        })
    }

    /// `--output -o`, as a list of words.
    fn spellings(&self) -> Vec<String> {
        let short = self.short.map(|short| format!("-{short}"));
        std::iter::once(format!("--{}", self.long)).chain(short).collect()
    }
}

impl Value {
    fn of(arg: &clap::Arg) -> Self {
        let shown = |value: &clap::builder::PossibleValue| !value.is_hide_set();
        let words: Vec<String> = arg
            .get_possible_values()
            .iter()
            .filter(|v| shown(v))
            .map(|v| v.get_name().to_owned())
            .collect();
        if !words.is_empty() {
            return Self::Words(words);
        }
        match arg.get_value_hint() {
            ValueHint::FilePath | ValueHint::AnyPath => Self::File,
            ValueHint::DirPath => Self::Directory,
            _ => Self::Opaque,
        }
    }
}

fn first_line(text: Option<&clap::builder::StyledStr>) -> String {
    let text = text.map(ToString::to_string).unwrap_or_default();
    text.lines()
        .next()
        .unwrap_or_default()
        .trim_end_matches('.')
        .to_owned()
}

/// Between single quotes, for all three shells: fish alone reads `\` there.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}
