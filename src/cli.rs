//! The command line: what may be typed, and what it means. Typed arguments end here and in `commands/`; everything
//! below sees plain values.

mod early;
mod spelling;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::builder::styling::{AnsiColor, Effects, Styles};
use clap::{ArgAction, Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::Context;
use crate::commands;
use crate::commands::cleanup::CleanupArgs;
use crate::commands::completions::CompletionsArgs;
use crate::commands::config::ConfigArgs;
use crate::commands::folder::{FolderAddArgs, FolderRemoveArgs, FolderUpdateArgs};
use crate::commands::init::InitArgs;
use crate::commands::man::ManArgs;
use crate::error::{Exit, Failure};
use crate::output::{ColorChoice, Format, LogFormat, Outcome, Printer, PrinterSettings};

use spelling::Spelled;

const HEADINGS: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().effects(Effects::BOLD))
    .usage(AnsiColor::Green.on_default().effects(Effects::BOLD))
    .literal(AnsiColor::Cyan.on_default().effects(Effects::BOLD))
    .placeholder(AnsiColor::Cyan.on_default());

/// Administration of UUID-tracked file storage: what is stored, where, and whether storage and database agree.
///
/// Talks directly to the storage providers and the metadata database; no application server has to run.
#[derive(Debug, Parser)]
#[command(
    name = "civic",
    version,
    styles = HEADINGS,
    max_term_width = 100,
    after_help = "Every storage:VERB may also be written as two words: `civic storage usage`.\n\
        Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 3 some items failed, 4 findings,\n\
        5 a provider is unreachable, 6 quota exceeded, 7 locked by another run, 8 refused by a safety rule."
)]
pub struct Cli {
    #[command(flatten)]
    pub global: GlobalArgs,
    #[command(subcommand)]
    pub command: Command,
}

/// Flags of every command, before or after it.
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Global options")]
pub struct GlobalArgs {
    /// Directory that CivicPress keeps its data in [env: CIVIC_SYSTEM_DATA] [default: .system-data here or in a
    /// parent]
    #[arg(long, global = true, value_name = "DIR")]
    pub system_data: Option<PathBuf>,
    /// Configuration file [env: CIVIC_STORAGE_CONFIG] [default: storage.yml in the system-data directory, else here]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Metadata database, sqlite:PATH or postgres://… [env: CIVIC_DATABASE_URL] [default: what .civicrc names, else
    /// civic.db in the system-data directory]
    #[arg(long, global = true, value_name = "URL")]
    pub database: Option<String>,
    /// How the answer is written
    #[arg(long, global = true, value_name = "FORMAT", value_enum)]
    pub output: Option<Format>,
    /// Short for --output json
    #[arg(long, global = true)]
    pub json: bool,
    /// Print errors only, and answers in a format made for programs
    #[arg(long, global = true)]
    pub silent: bool,
    /// Tell what is being done; -vv tells every step
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,
    /// How log lines on stderr look
    #[arg(
        long,
        global = true,
        value_name = "FORMAT",
        value_enum,
        default_value = "text"
    )]
    pub log_format: LogFormat,
    /// Show no progress
    #[arg(long, global = true)]
    pub no_progress: bool,
    /// Show progress as JSON lines on stderr
    #[arg(long, global = true, value_name = "FORMAT", value_enum)]
    pub progress: Option<ProgressFormat>,
    /// When to use colour; NO_COLOR is honoured
    #[arg(long, global = true, value_name = "WHEN", value_enum, default_value = "auto")]
    pub color: ColorChoice,
    /// Answer every question with yes
    #[arg(short, long, global = true)]
    pub yes: bool,
}

impl Cli {
    /// The format that was asked for, be it by a flag of the command's own.
    fn format(&self) -> Result<Option<Format>, Failure> {
        let asked = self.global.format()?;
        match &self.command {
            Command::Metrics(args) => args.format_beside(asked, self.global.json),
            _ => Ok(asked),
        }
    }
}

/// What `--progress` may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ProgressFormat {
    Json,
}

impl GlobalArgs {
    /// The format that was asked for in either way.
    fn format(&self) -> Result<Option<Format>, Failure> {
        match (self.json, self.output) {
            (true, None | Some(Format::Json)) => Ok(Some(Format::Json)),
            (true, Some(_)) => Err(Failure::usage("--json cannot be used with another --output")),
            (false, output) => Ok(output),
        }
    }

    const fn printer(&self, format: Option<Format>) -> PrinterSettings {
        PrinterSettings {
            format,
            color: self.color,
            silent: self.silent,
        }
    }
}

/// The commands, by the names that completions and manual pages know them by.
#[derive(Debug, Subcommand)]
pub enum Command {
    #[command(name = "storage:usage")]
    Usage(commands::usage::UsageArgs),
    #[command(name = "storage:quota")]
    Quota(commands::quota::QuotaArgs),
    #[command(name = "storage:metrics")]
    Metrics(commands::metrics::MetricsArgs),
    #[command(name = "storage:list")]
    List(commands::list::ListArgs),
    #[command(name = "storage:info")]
    Info(commands::info::InfoArgs),
    #[command(name = "storage:upload")]
    Upload(commands::upload::UploadArgs),
    #[command(name = "storage:download")]
    Download(commands::download::DownloadArgs),
    #[command(name = "storage:health")]
    Health(commands::health::HealthArgs),
    #[command(name = "storage:cleanup")]
    Cleanup(CleanupArgs),
    #[command(name = "storage:verify")]
    Verify(commands::verify::VerifyArgs),
    #[command(name = "storage:reconstruct")]
    Reconstruct(commands::reconstruct::ReconstructArgs),
    #[command(name = "storage:lifecycle")]
    Lifecycle(commands::lifecycle::LifecycleArgs),
    #[command(name = "storage:runs")]
    Runs(commands::runs::RunsArgs),
    #[command(name = "storage:update")]
    Update(commands::update::UpdateArgs),
    #[command(name = "storage:migrate")]
    Migrate(commands::migrate::MigrateArgs),
    #[command(name = "storage:move")]
    Move(commands::r#move::MoveArgs),
    #[command(name = "storage:delete")]
    Delete(commands::delete::DeleteArgs),
    #[command(name = "storage:trash")]
    Trash(commands::trash::TrashArgs),
    #[command(name = "storage:undo")]
    Undo(commands::undo::UndoArgs),
    #[command(name = "storage:config")]
    Config(ConfigArgs),
    #[command(name = "storage:init")]
    Init(InitArgs),
    #[command(name = "storage:folder:add")]
    FolderAdd(FolderAddArgs),
    #[command(name = "storage:folder:update")]
    FolderUpdate(FolderUpdateArgs),
    #[command(name = "storage:folder:remove")]
    FolderRemove(FolderRemoveArgs),
    Completions(CompletionsArgs),
    Man(ManArgs),
}

impl Command {
    fn run(self, context: &Context) -> Result<Outcome, Failure> {
        match self {
            Self::Usage(args) => context.block_on(commands::usage::run(context, args)),
            Self::Quota(args) => context.block_on(commands::quota::run(context, args)),
            Self::Metrics(args) => context.block_on(commands::metrics::run(context, args)),
            Self::List(args) => context.block_on(commands::list::run(context, args)),
            Self::Info(args) => context.block_on(commands::info::run(context, args)),
            Self::Upload(args) => commands::upload::run(context, &args),
            Self::Download(args) => commands::download::run(context, &args),
            Self::Health(args) => commands::health::run(context, &args),
            Self::Cleanup(args) => commands::cleanup::run(context, &args),
            Self::Verify(args) => commands::verify::run(context, &args),
            Self::Reconstruct(args) => commands::reconstruct::run(context, &args),
            Self::Lifecycle(args) => commands::lifecycle::run(context, &args),
            Self::Runs(args) => context.block_on(commands::runs::run(context, args)),
            Self::Update(args) => commands::update::run(context, &args),
            Self::Migrate(args) => commands::migrate::run(context, &args),
            Self::Move(args) => commands::r#move::run(context, &args),
            Self::Delete(args) => commands::delete::run(context, &args),
            Self::Trash(args) => commands::trash::run(context, &args),
            Self::Undo(args) => commands::undo::run(context, &args),
            Self::Config(args) => commands::config::run(context, &args),
            Self::Init(args) => commands::init::run(context, args),
            Self::FolderAdd(args) => commands::folder::add(context, args),
            Self::FolderUpdate(args) => commands::folder::update(context, args),
            Self::FolderRemove(args) => commands::folder::remove(context, args),
            Self::Completions(args) => Ok(commands::completions::run(&Cli::command(), &args)),
            Self::Man(args) => commands::man::run(&Cli::command(), &args),
        }
    }
}

/// Runs `civic` with these arguments, the program's name first, and gives its exit code.
#[must_use]
pub fn run(argv: Vec<OsString>) -> ExitCode {
    let started = Instant::now();
    let early = early::Settings::of(&argv);
    let mut definition = Cli::command();
    let exit = match spelling::spell(&definition, argv) {
        Spelled::Group(prefix) => Printer::new(early.0).styled(&spelling::overview(&mut definition, &prefix)),
        Spelled::Arguments(argv) => match parse(&mut definition, argv) {
            Ok((cli, name)) => execute(cli, &name, started),
            Err(error) => early::explain(&error, &definition, &Printer::new(early.0)),
        },
    };
    ExitCode::from(exit as u8)
}

/// As many open files as the system lets us have. What a shell allows is meant for programs that wait with select(2); a thousand
/// connections and files at once are more.
fn allow_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let most = Rlimit {
        current: limit.maximum,
        ..limit
    };
    // Where even that is refused, what it is now may do.
    let _ = setrlimit(Resource::Nofile, most);
}

/// What is to be done, and the name of the command.
fn parse(definition: &mut clap::Command, argv: Vec<OsString>) -> Result<(Cli, String), clap::Error> {
    let matches = definition.try_get_matches_from_mut(argv)?;
    let name = matches.subcommand_name().unwrap_or_default().to_owned();
    Ok((Cli::from_arg_matches(&matches)?, name))
}

fn execute(cli: Cli, name: &str, started: Instant) -> Exit {
    let format = cli.format();
    let shown = format.as_ref().map_or(Some(Format::Json), |format| *format);
    let printer = Printer::new(cli.global.printer(shown));
    if let Err(error) = format {
        return printer.conclude(&Err(error), started.elapsed());
    }
    allow_open_files();
    let context = Context::new(cli.global, printer.clone());
    let result = cli.command.run(&context);
    let took = started.elapsed();
    let exit = printer.conclude(&result, took);
    // Whoever asked has the answer by now. Completions and manual pages are of no deployment.
    if name.starts_with("storage:") {
        let failed = !matches!(&result, Ok(outcome) if outcome.failure.is_none());
        context.keep_metrics(name, failed, took);
    }
    exit
}
