//! `storage:folder:add`, `:update`, `:remove`: changes to `folders` in `storage.yml`, everything else in it kept.

use clap::{Args, ValueEnum};

use super::ask;
use super::edited::Edited;
use crate::Context;
use crate::config::{self, Access, FolderFields};
use crate::error::{Code, Exit, Failure};
use crate::output::Outcome;

/// Adds a folder to storage.yml
///
/// What is not said gets its default: the name as its path, private, every type, the largest file that is allowed at
/// all.
#[derive(Debug, Args)]
pub struct FolderAddArgs {
    /// Name of the new folder
    name: String,
    #[command(flatten)]
    fields: Fields,
    /// Show what would change
    #[arg(long)]
    dry_run: bool,
}

/// Changes a folder in storage.yml
///
/// Changes what is said and nothing else.
#[derive(Debug, Args)]
pub struct FolderUpdateArgs {
    /// Name of the folder
    name: String,
    #[command(flatten)]
    fields: Fields,
    /// Show what would change
    #[arg(long)]
    dry_run: bool,
}

/// Removes a folder from storage.yml
///
/// Refuses while records are in it. Touches no file and no record.
#[derive(Debug, Args)]
pub struct FolderRemoveArgs {
    /// Name of the folder
    name: String,
    /// Show what would change
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Args)]
struct Fields {
    /// Path below the provider's root
    #[arg(long, value_name = "PATH")]
    path: Option<String>,
    /// Who may read its files
    #[arg(long, value_name = "ACCESS", value_enum)]
    access: Option<Readers>,
    /// Extensions it takes, separated by commas; "*" is any
    #[arg(long, value_name = "EXT,…", value_delimiter = ',')]
    allowed_types: Option<Vec<String>>,
    /// Size of the largest file, like 10MB
    #[arg(long, value_name = "SIZE", value_parser = config::parse_size)]
    max_size: Option<u64>,
    /// What it is for
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Size of all its files together, like 5GB; 0 is no limit
    #[arg(long, value_name = "SIZE", value_parser = config::parse_size)]
    quota: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Readers {
    Public,
    Authenticated,
    Private,
}

impl From<Fields> for FolderFields {
    fn from(fields: Fields) -> Self {
        let access = |readers| match readers {
            Readers::Public => Access::Public,
            Readers::Authenticated => Access::Authenticated,
            Readers::Private => Access::Private,
        };
        Self {
            path: fields.path,
            access: fields.access.map(access),
            allowed_types: fields.allowed_types,
            max_size: fields.max_size,
            description: fields.description,
            quota: fields.quota,
        }
    }
}

impl Fields {
    fn is_empty(&self) -> bool {
        let Self {
            path,
            access,
            allowed_types,
            max_size,
            description,
            quota,
        } = self;
        path.is_none()
            && access.is_none()
            && allowed_types.is_none()
            && max_size.is_none()
            && description.is_none()
            && quota.is_none()
    }
}

/// Edits `storage.yml`.
///
/// # Errors
/// A name that no folder can have or that one has already; values that are not valid.
pub fn add(context: &Context, args: FolderAddArgs) -> Result<Outcome, Failure> {
    let FolderAddArgs {
        name,
        fields,
        dry_run,
    } = args;
    config::folder_name(&name).map_err(|reason| Failure::usage(format!("the name `{name}` {reason}")))?;
    let loaded = context.loaded()?;
    if loaded.config.folders.contains_key(&name) {
        let failure =
            Failure::usage(format!("there is a folder named {name} already")).detail("folder", name.as_str());
        return Err(failure.hint(format!("change it with `civic storage:folder:update {name}`")));
    }
    let edit = config::add_folder(&context.load_request()?, loaded, &name, fields.into())?;
    Edited {
        operation: "storage:folder:add",
        what: format!("folder {name} added"),
        dry_run,
        edit,
    }
    .carry_out()
}

/// Edits `storage.yml`.
///
/// # Errors
/// A folder that is not known; nothing to change; values that are not valid.
pub fn update(context: &Context, args: FolderUpdateArgs) -> Result<Outcome, Failure> {
    let FolderUpdateArgs {
        name,
        fields,
        dry_run,
    } = args;
    known(context, &name)?;
    if fields.is_empty() {
        return Err(
            Failure::usage("nothing to change was named").hint("see `civic storage:folder:update --help`")
        );
    }
    let edit = config::update_folder(&context.load_request()?, context.loaded()?, &name, &fields.into())?;
    Edited {
        operation: "storage:folder:update",
        what: format!("folder {name} changed"),
        dry_run,
        edit,
    }
    .carry_out()
}

/// Edits `storage.yml`, after asking.
///
/// # Errors
/// A folder that is not known, that has records, or that a lifecycle policy needs; an answer that is not yes.
pub fn remove(context: &Context, args: FolderRemoveArgs) -> Result<Outcome, Failure> {
    let FolderRemoveArgs { name, dry_run } = args;
    known(context, &name)?;
    let records = context.block_on(async { Ok(context.metadata()?.count_in_folder(&name).await?) })?;
    if records > 0 {
        let have = if records == 1 { "record is" } else { "records are" };
        let message = format!("folder {name} is not removed: {records} {have} in it");
        let failure = Failure::new(Exit::Refused, Code::Refused, message);
        return Err(failure
            .detail("folder", name)
            .detail("records", records)
            .hint("move or delete its files first"));
    }
    let edit = config::remove_folder(&context.load_request()?, context.loaded()?, &name)?;
    if !dry_run {
        let question = format!("Remove folder {name} from {}?", edit.file.display());
        context.block_on(ask::confirm(context, &edit.diff(), &question))?;
    }
    Edited {
        operation: "storage:folder:remove",
        what: format!("folder {name} removed"),
        dry_run,
        edit,
    }
    .carry_out()
}

fn known(context: &Context, name: &str) -> Result<(), Failure> {
    let folders = &context.config()?.folders;
    if folders.contains_key(name) {
        return Ok(());
    }
    Err(Failure::unknown(
        "folder",
        name,
        folders.keys().map(String::as_str),
    ))
}
