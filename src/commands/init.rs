//! `storage:init`: a first `storage.yml` and database. Asks at a terminal, takes flags anywhere, overwrites nothing.

mod claim;

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::ask;
use super::ownership::OwnershipArgs;
use crate::Context;
use crate::config::{self, DatabaseUrl, NewProvider, Starter};
use crate::error::{Code, Exit, Failure};
use crate::metadata::sqlite;
use crate::output::{Human, Outcome, View};
use claim::Storage;

/// Makes a first storage.yml and the database
///
/// Asks where files shall be kept, unless flags say so; without a terminal and without flags that is a directory
/// `storage` beside the system-data directory. Overwrites nothing. Writes no secrets: it names the environment variables
/// for them instead.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// Where files are kept
    #[arg(long, value_name = "TYPE", value_enum)]
    provider_type: Option<ProviderType>,
    /// local: the directory
    #[arg(long, value_name = "DIR")]
    path: Option<PathBuf>,
    /// s3, gcs: the bucket
    #[arg(long, value_name = "NAME")]
    bucket: Option<String>,
    /// azure: the storage account
    #[arg(long, value_name = "NAME")]
    account_name: Option<String>,
    /// azure: the container
    #[arg(long, value_name = "NAME")]
    container_name: Option<String>,
    /// s3: the region
    #[arg(long, value_name = "REGION")]
    region: Option<String>,
    /// s3, azure, gcs: the service's URL, where it is not the platform's own
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
    /// s3, azure, gcs: what every key begins with
    #[arg(long, value_name = "PREFIX")]
    prefix: Option<String>,
    /// Show what would be made
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    ownership: OwnershipArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ProviderType {
    Local,
    S3,
    Azure,
    Gcs,
}

/// Types that keep files in a bucket or container.
const REMOTE: [ProviderType; 3] = [ProviderType::S3, ProviderType::Azure, ProviderType::Gcs];

impl ProviderType {
    const fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::S3 => "s3",
            Self::Azure => "azure",
            Self::Gcs => "gcs",
        }
    }
}

impl InitArgs {
    /// The type that was named, or that the flags are for; `None` where none of them tells.
    fn kind(&self) -> Option<ProviderType> {
        let any = |flags: &[&Option<String>]| flags.iter().any(|flag| flag.is_some());
        self.provider_type.or_else(|| {
            if any(&[&self.account_name, &self.container_name]) {
                Some(ProviderType::Azure)
            } else if any(&[&self.bucket, &self.region, &self.endpoint, &self.prefix]) {
                Some(ProviderType::S3)
            } else {
                self.path.is_some().then_some(ProviderType::Local)
            }
        })
    }

    /// # Errors
    /// Where a flag belongs to other types than this one.
    fn fit(&self, kind: ProviderType) -> Result<(), Failure> {
        let flags: [(&str, bool, &[ProviderType]); 7] = [
            ("--path", self.path.is_some(), &[ProviderType::Local]),
            (
                "--bucket",
                self.bucket.is_some(),
                &[ProviderType::S3, ProviderType::Gcs],
            ),
            (
                "--account-name",
                self.account_name.is_some(),
                &[ProviderType::Azure],
            ),
            (
                "--container-name",
                self.container_name.is_some(),
                &[ProviderType::Azure],
            ),
            ("--region", self.region.is_some(), &[ProviderType::S3]),
            ("--endpoint", self.endpoint.is_some(), &REMOTE),
            ("--prefix", self.prefix.is_some(), &REMOTE),
        ];
        let wrong = flags
            .iter()
            .find(|(_, given, kinds)| *given && !kinds.contains(&kind));
        wrong.map_or(Ok(()), |(flag, _, kinds)| {
            let names: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
            let names = names.join(" or ");
            Err(Failure::usage(format!(
                "{flag} belongs to --provider-type {names}"
            )))
        })
    }
}

/// Writes `storage.yml`, the database and the root of a local provider, and the marker that says whose storage it is.
///
/// # Errors
/// Where a `storage.yml` is there already, flags do not fit together, or something cannot be written. What was made by
/// then stays; nothing that was there is changed.
pub fn run(context: &Context, mut args: InitArgs) -> Result<Outcome, Failure> {
    let request = context.load_request()?;
    let dry_run = args.dry_run;
    let ownership = std::mem::take(&mut args.ownership);
    let starter = config::starter(&request, &provider(context, args)?)?;
    refuse_to_overwrite(&starter.config_file)?;
    let DatabaseUrl::Sqlite(database) = &starter.database else {
        let message = format!(
            "storage:init makes SQLite databases only, and {} is none",
            starter.database
        );
        return Err(Failure::usage(message));
    };
    let steps = steps(&starter, database)?;
    let storage = Storage::look(context, (&starter, database), &ownership)?;
    if !dry_run {
        for step in steps.iter().filter(|step| !step.exists) {
            step.make(&starter)?;
        }
        storage.claim(context)?;
    }
    let made = Made {
        starter,
        steps,
        dry_run,
    };
    Ok(Outcome::done(made))
}

fn provider(context: &Context, args: InitArgs) -> Result<NewProvider, Failure> {
    let kind = match args.kind() {
        Some(kind) => kind,
        None if context.global().yes || !ask::somebody() => ProviderType::Local,
        None => return asked(),
    };
    args.fit(kind)?;
    let needed = |flag: &str, word: Option<String>| {
        word.ok_or_else(|| Failure::usage(format!("--provider-type {} needs {flag}", kind.name())))
    };
    Ok(match kind {
        ProviderType::Local => NewProvider::Local { path: args.path },
        ProviderType::S3 => NewProvider::S3 {
            bucket: needed("--bucket", args.bucket)?,
            region: args.region,
            endpoint: args.endpoint,
            prefix: args.prefix,
        },
        ProviderType::Azure => NewProvider::Azure {
            account_name: needed("--account-name", args.account_name)?,
            container_name: needed("--container-name", args.container_name)?,
            endpoint: args.endpoint,
            prefix: args.prefix,
        },
        ProviderType::Gcs => NewProvider::Gcs {
            bucket: needed("--bucket", args.bucket)?,
            endpoint: args.endpoint,
            prefix: args.prefix,
        },
    })
}

fn asked() -> Result<NewProvider, Failure> {
    loop {
        let kind = ask::line(
            "Keep files in a local directory, an S3 bucket, an Azure container or a Google bucket (local, s3, azure, gcs)",
            "local",
        )?;
        return match kind.as_str() {
            "local" => {
                let path = some(ask::line(
                    "Directory (empty for `storage` beside the system data)",
                    "",
                )?);
                Ok(NewProvider::Local {
                    path: path.map(PathBuf::from),
                })
            }
            "s3" => Ok(NewProvider::S3 {
                bucket: ask::line("Bucket", "")?,
                region: some(ask::line("Region", "us-east-1")?),
                endpoint: endpoint("AWS")?,
                prefix: prefix()?,
            }),
            "azure" => Ok(NewProvider::Azure {
                account_name: ask::line("Storage account", "")?,
                container_name: ask::line("Container", "")?,
                endpoint: endpoint("Azure")?,
                prefix: prefix()?,
            }),
            "gcs" => Ok(NewProvider::Gcs {
                bucket: ask::line("Bucket", "")?,
                endpoint: endpoint("Google")?,
                prefix: prefix()?,
            }),
            _ => continue,
        };
    }
}

fn some(answer: String) -> Option<String> {
    Some(answer).filter(|answer| !answer.is_empty())
}

fn endpoint(platform: &str) -> Result<Option<String>, Failure> {
    let question = format!("Endpoint, as https://host:port (empty for {platform})");
    Ok(some(ask::line(&question, "")?))
}

fn prefix() -> Result<Option<String>, Failure> {
    Ok(some(ask::line("Prefix of every key (may be empty)", "")?))
}

/// A symlink to nowhere counts as something that is there.
fn refuse_to_overwrite(file: &Path) -> Result<(), Failure> {
    if fs::symlink_metadata(file).is_err() {
        return Ok(());
    }
    let message = format!(
        "{} is there already, and storage:init overwrites nothing",
        file.display()
    );
    let failure =
        Failure::new(Exit::Refused, Code::Refused, message).detail("file", file.display().to_string());
    Err(failure.hint("change it with `civic storage:config --update`, or name another file with --config"))
}

/// Something that an installation needs.
struct Step {
    what: &'static str,
    path: PathBuf,
    exists: bool,
}

/// In the order they are made: the file that says that all is there comes last.
fn steps(starter: &Starter, database: &Path) -> Result<Vec<Step>, Failure> {
    let step = |what, path: &Path| Step {
        what,
        path: path.to_owned(),
        exists: path.exists(),
    };
    let mut steps = vec![step("directory", &starter.system_data)];
    steps.extend(starter.root.as_deref().map(|root| step("directory", root)));
    steps.push(step("database", database));
    steps.push(step("configuration", &starter.config_file));
    if database.exists() {
        // One that could not be used later is better refused now.
        sqlite::SqliteStore::open(database)?;
    }
    Ok(steps)
}

impl Step {
    fn make(&self, starter: &Starter) -> Result<(), Failure> {
        let failed = |error: io::Error| {
            let message = format!("{} cannot be made: {error}", self.path.display());
            Failure::new(Exit::Failed, Code::Error, message).detail("path", self.path.display().to_string())
        };
        if let Some(parent) = self.path.parent() {
            make_dir(parent).map_err(failed)?;
        }
        match self.what {
            "directory" => make_dir(&self.path).map_err(failed),
            "database" => {
                sqlite::create(&self.path)?;
                adopt(&self.path).map_err(failed)
            }
            _ => self.write(&starter.text).map_err(failed),
        }
    }

    /// Written under another name and put in place in one step: a run that was cut off leaves no half of a file,
    /// which the next one would refuse to overwrite. What stands there by then is not replaced either.
    fn write(&self, text: &str) -> io::Result<()> {
        let dir = self.path.parent().unwrap_or(Path::new("/"));
        let mut file = tempfile::Builder::new()
            .prefix(".storage.yml.")
            .permissions(fs::Permissions::from_mode(0o666))
            .tempfile_in(dir)?;
        file.write_all(text.as_bytes())?;
        file.as_file().sync_all()?;
        adopt(file.path())?;
        file.persist_noclobber(&self.path)?;
        File::open(dir)?.sync_all()
    }
}

fn make_dir(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        make_dir(parent)?;
    }
    match fs::create_dir(path) {
        // Another run was faster.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        made => made.and_then(|()| adopt(path)),
    }
}

/// What root makes belongs to the owner of the directory around it, or CivicPress could not use it.
fn adopt(path: &Path) -> io::Result<()> {
    let Some(parent) = path.parent() else {
        return Ok(());
    };
    let (around, own) = (fs::metadata(parent)?, fs::metadata(path)?);
    let differs = (around.uid(), around.gid()) != (own.uid(), own.gid());
    if differs && rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(path, Some(around.uid()), Some(around.gid()))?;
    }
    Ok(())
}

struct Made {
    starter: Starter,
    steps: Vec<Step>,
    dry_run: bool,
}

impl Made {
    fn paths(&self, exists: bool) -> Vec<&PathBuf> {
        self.steps
            .iter()
            .filter(|step| step.exists == exists)
            .map(|step| &step.path)
            .collect()
    }
}

impl View for Made {
    fn operation(&self) -> &'static str {
        "storage:init"
    }

    fn message(&self) -> String {
        let file = self.starter.config_file.display();
        if self.dry_run {
            format!("dry run: {file} would be made")
        } else {
            format!("{file} made")
        }
    }

    fn json(&self, out: &mut dyn Write) -> serde_json::Result<()> {
        serde_json::to_writer(out, &self.summary())
    }

    fn items(&self, emit: &mut dyn FnMut(Value) -> io::Result<()>) -> io::Result<()> {
        self.steps
            .iter()
            .map(|step| json!({ "what": step.what, "path": step.path, "existed": step.exists }))
            .try_for_each(emit)
    }

    fn summary(&self) -> Value {
        json!({
            "configFile": self.starter.config_file,
            "database": self.starter.database.to_string(),
            "created": self.paths(false),
            "kept": self.paths(true),
            "environment": self.starter.variables,
            "dryRun": self.dry_run,
        })
    }

    fn columns(&self) -> &'static [&'static str] {
        &["what", "path", "existed"]
    }

    fn table(&self, out: &mut Human<'_>) -> io::Result<()> {
        for step in &self.steps {
            let said = match (step.exists, self.dry_run) {
                (true, _) => "kept     ",
                (false, true) => "would add",
                (false, false) => "added    ",
            };
            let line = format!("{said}  {} {}", step.what, step.path.display());
            out.line(&Human::name(&line))?;
        }
        if self.dry_run {
            out.line("")?;
            for line in self.starter.text.lines() {
                out.line(&Human::name(line))?;
            }
        }
        if !self.starter.variables.is_empty() {
            out.line("")?;
            out.line("Set the credentials in the environment; they are not written to the file:")?;
            for name in &self.starter.variables {
                out.line(&format!("  {name}"))?;
            }
        }
        Ok(())
    }
}
