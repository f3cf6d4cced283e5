//! `civic storage usage` for `civic storage:usage`, `civic storage folder add` for `civic storage:folder:add`. One
//! rewrite of the arguments before clap sees them, so that clap, completions and manual pages know one name each.

use std::ffi::OsString;
use std::fmt::Write as _;

use clap::Command;
use clap::builder::StyledStr;

/// What the arguments turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Spelled {
    /// For clap.
    Arguments(Vec<OsString>),
    /// The name of a group alone (`storage`, `storage:folder`): its commands are asked for.
    Group(String),
}

/// Joins the words of a command's name, wherever global flags stand between them. Everything else stays as it is.
pub(super) fn spell(definition: &Command, argv: Vec<OsString>) -> Spelled {
    let flags = Flags::of(definition);
    let mut words = flags.words(&argv).into_iter();
    let Some(mut first) = words.next() else {
        return Spelled::Arguments(argv);
    };
    let help = argv[first] == "help";
    if help {
        match words.next() {
            Some(next) => first = next,
            None => return Spelled::Arguments(argv),
        }
    }
    let Some(mut name) = argv[first].to_str().map(str::to_owned) else {
        return Spelled::Arguments(argv);
    };
    let mut joined = Vec::new();
    while is_group(definition, &name) {
        let Some((at, word)) = words.next().and_then(|at| Some((at, argv[at].to_str()?))) else {
            break;
        };
        let _ = write!(name, ":{word}");
        joined.push(at);
    }
    let asks_for_help = help || argv.iter().any(|arg| arg == "--help" || arg == "-h");
    if is_group(definition, &name) && (asks_for_help || !has_unknown_flag(definition, &argv)) {
        return Spelled::Group(name);
    }
    let rest = argv
        .into_iter()
        .enumerate()
        .filter(|(at, _)| !joined.contains(at));
    let argv = rest.map(|(at, arg)| if at == first { OsString::from(&name) } else { arg });
    Spelled::Arguments(argv.collect())
}

/// The commands of a group, as `--help` would list them.
pub(super) fn overview(definition: &mut Command, group: &str) -> StyledStr {
    let prefix = format!("{group}:");
    let listed: Vec<Command> = definition
        .get_subcommands()
        .filter(|command| command.get_name().starts_with(&prefix) && !command.is_hide_set())
        .cloned()
        .collect();
    let spaced = group.replace(':', " ");
    Command::new("civic")
        .styles(definition.get_styles().clone())
        .override_usage(format!(
            "civic {prefix}COMMAND [OPTIONS]\n       civic {spaced} COMMAND [OPTIONS]"
        ))
        .subcommands(listed)
        .disable_help_subcommand(true)
        .disable_help_flag(true)
        .after_help("`civic help COMMAND` tells more of a command.")
        .render_help()
}

fn is_group(definition: &Command, name: &str) -> bool {
    let prefix = format!("{name}:");
    definition
        .get_subcommands()
        .any(|command| command.get_name().starts_with(&prefix))
        && definition.find_subcommand(name).is_none()
}

/// A flag that clap must complain about, where only a group's name stands beside it.
fn has_unknown_flag(definition: &Command, argv: &[OsString]) -> bool {
    let known = |text: &str| {
        let name = text.split('=').next().unwrap_or(text);
        definition.get_arguments().any(|arg| {
            arg.get_long()
                .is_some_and(|long| name.strip_prefix("--") == Some(long))
                || arg
                    .get_short()
                    .is_some_and(|short| name.starts_with(&format!("-{short}")) && !name.starts_with("--"))
        })
    };
    argv.iter()
        .skip(1)
        .filter_map(|arg| arg.to_str())
        .any(|arg| arg.starts_with('-') && !known(arg))
}

/// Which global flags are followed by a value of their own.
#[derive(Debug)]
struct Flags {
    with_value: Vec<String>,
}

impl Flags {
    fn of(definition: &Command) -> Self {
        let takes_value = |arg: &&clap::Arg| arg.get_action().takes_values();
        let spellings = |arg: &clap::Arg| {
            let long = arg.get_long().map(|long| format!("--{long}"));
            long.into_iter()
                .chain(arg.get_short().map(|short| format!("-{short}")))
        };
        let with_value = definition
            .get_arguments()
            .filter(takes_value)
            .flat_map(spellings)
            .collect();
        Self { with_value }
    }

    /// Where the words stand that are neither flags nor a global flag's value, up to `--`.
    fn words(&self, argv: &[OsString]) -> Vec<usize> {
        let mut is_value = false;
        let end = argv.iter().position(|arg| arg == "--").unwrap_or(argv.len());
        let mut is_word = |at: &usize| {
            if std::mem::take(&mut is_value) {
                return false;
            }
            let flag = argv[*at].as_encoded_bytes().starts_with(b"-");
            is_value = flag && self.with_value.iter().any(|name| argv[*at] == name.as_str());
            !flag
        };
        (1..end).filter(|at| is_word(at)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use clap::{Arg, ArgAction, Command};

    use super::{Spelled, spell};

    fn definition() -> Command {
        Command::new("civic")
            .arg(Arg::new("config").long("config").global(true))
            .arg(
                Arg::new("json")
                    .long("json")
                    .global(true)
                    .action(ArgAction::SetTrue),
            )
            .subcommands(
                [
                    "storage:usage",
                    "storage:folder:add",
                    "storage:folder:remove",
                    "man",
                ]
                .map(Command::new),
            )
    }

    fn spelled(line: &str) -> Spelled {
        spell(&definition(), line.split(' ').map(OsString::from).collect())
    }

    fn arguments(line: &str) -> Spelled {
        Spelled::Arguments(line.split(' ').map(OsString::from).collect())
    }

    #[test]
    fn two_and_three_words_become_one_name() {
        assert_eq!(
            spelled("civic storage usage --folder x"),
            arguments("civic storage:usage --folder x")
        );
        assert_eq!(
            spelled("civic storage folder add x"),
            arguments("civic storage:folder:add x")
        );
        assert_eq!(
            spelled("civic storage:folder add x"),
            arguments("civic storage:folder:add x")
        );
        assert_eq!(
            spelled("civic help storage usage"),
            arguments("civic help storage:usage")
        );
    }

    #[test]
    fn flags_between_the_words_keep_their_values() {
        assert_eq!(
            spelled("civic --config storage storage --json folder --config=x add y"),
            arguments("civic --config storage storage:folder:add --json --config=x y")
        );
    }

    #[test]
    fn a_name_in_one_word_and_its_arguments_stay_as_they_are() {
        for line in [
            "civic storage:usage storage usage",
            "civic man storage",
            "civic -- storage usage",
            "civic",
        ] {
            assert_eq!(spelled(line), arguments(line), "{line}");
        }
    }

    #[test]
    fn what_is_unknown_is_joined_too_so_that_the_nearest_name_can_be_told() {
        assert_eq!(spelled("civic storage usge"), arguments("civic storage:usge"));
    }

    #[test]
    fn a_group_alone_asks_for_its_commands() {
        for line in [
            "civic storage",
            "civic storage --help",
            "civic storage --json",
            "civic help storage",
        ] {
            assert_eq!(spelled(line), Spelled::Group("storage".into()), "{line}");
        }
        assert_eq!(
            spelled("civic storage folder"),
            Spelled::Group("storage:folder".into())
        );
        assert_eq!(
            spelled("civic storage --nonsense"),
            arguments("civic storage --nonsense")
        );
    }
}
