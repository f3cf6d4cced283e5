//! `man`: manual pages, made from the clap definitions.

use std::fs;
use std::io;
use std::path::PathBuf;

use clap::{Args, Command, ValueHint};
use clap_mangen::Man;

use super::text::TextView;
use crate::error::{Code, Exit, Failure};
use crate::output::Outcome;

/// Prints a manual page.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// The command to print the page of (`storage:usage`); without one, the page of `civic` itself
    pub command: Option<String>,
    /// Write all pages into this directory instead
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, conflicts_with = "command")]
    pub out: Option<PathBuf>,
}

/// Prints one page, or writes them all.
pub fn run(root: &Command, args: &ManArgs) -> Result<Outcome, Failure> {
    let text = match &args.out {
        Some(dir) => write_all(root, dir)?,
        None => one(root, args.command.as_deref())?,
    };
    Ok(Outcome::done(TextView {
        operation: "man",
        text,
    }))
}

fn one(root: &Command, command: Option<&str>) -> Result<String, Failure> {
    let page = page_of(root, command).map_err(|error| Failure::unwritten(&error))?;
    page.map(|page| page.roff).ok_or_else(|| {
        let names = root.get_subcommands().map(Command::get_name);
        Failure::unknown("command", command.unwrap_or_default(), names)
    })
}

fn write_all(root: &Command, dir: &std::path::Path) -> Result<String, Failure> {
    let failed = |error: io::Error| {
        let message = format!("{}: the pages could not be written: {error}", dir.display());
        Failure::new(Exit::Failed, Code::Error, message)
    };
    fs::create_dir_all(dir).map_err(failed)?;
    let mut written = String::new();
    for page in pages(root).map_err(failed)? {
        fs::write(dir.join(&page.file), &page.roff).map_err(failed)?;
        written.push_str(&page.file);
        written.push('\n');
    }
    Ok(written)
}

/// A page and the file it belongs in.
#[derive(Debug)]
pub struct Page {
    /// `civic.1`, `civic-storage-usage.1`
    pub file: String,
    pub roff: String,
}

/// All pages: `civic` first, then one per command.
///
/// # Errors
/// Never in practice: pages are rendered to memory.
pub fn pages(root: &Command) -> io::Result<Vec<Page>> {
    let mut built = root.clone();
    built.build();
    let shown = built
        .get_subcommands()
        .filter(|c| !c.is_hide_set() && c.get_name() != "help");
    let mut all = vec![page("civic", &built)?];
    for command in shown {
        let name = format!("civic-{}", command.get_name().replace(':', "-"));
        all.push(page(&name, command)?);
    }
    Ok(all)
}

/// The page of one command, by its name with colons; `None` where there is no such command.
///
/// # Errors
/// Never in practice: pages are rendered to memory.
fn page_of(root: &Command, command: Option<&str>) -> io::Result<Option<Page>> {
    let file = command.map_or_else(
        || "civic.1".to_owned(),
        |name| format!("civic-{}.1", name.replace(':', "-")),
    );
    Ok(pages(root)?.into_iter().find(|page| page.file == file))
}

fn page(name: &str, command: &Command) -> io::Result<Page> {
    let usage = command.get_bin_name().unwrap_or(command.get_name()).to_owned();
    // The date stays out of the page: pages are checked in, and must be the same tomorrow.
    let man = Man::new(command.clone().bin_name(usage).display_name(name.to_owned()))
        .title(name)
        .date("")
        .manual("civic manual");
    let mut roff = Vec::new();
    man.render(&mut roff)?;
    let roff = String::from_utf8(roff).map_err(io::Error::other)?;
    Ok(Page {
        file: format!("{name}.1"),
        roff,
    })
}
