//! `storage:config`: the merged configuration with the origin of each value; its check, its schema, and changes to it.

use std::io::{self, Write};

use clap::Args;
use serde_json::{Value, json};

use super::edited::Edited;
use crate::Context;
use crate::config::{self, Edit, Loaded, Origin, Setting, Warning};
use crate::error::{Code, Exit, Failure};
use crate::output::{Align, Human, Outcome, Table, View};

/// Shows the configuration, every default filled in, with where each value came from
///
/// Secrets are masked. With --validate it is checked only; with --update it is changed, comments kept.
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
#[derive(Debug, Args)]
pub struct ConfigArgs {
    /// Check only, and tell all that is wrong
    #[arg(long, conflicts_with_all = ["schema", "update"])]
    validate: bool,
    /// With --validate: warnings are errors
    #[arg(long, requires = "validate")]
    strict: bool,
    /// Print the JSON Schema of storage.yml, for editors
    #[arg(long, conflicts_with = "update")]
    schema: bool,
    /// Change storage.yml, for example global.max_file_size=250MB; may be given several
    #[arg(long, value_name = "KEY=VALUE", num_args = 1..)]
    update: Vec<String>,
    /// With --update: show what would change
    #[arg(long, requires = "update")]
    dry_run: bool,
}

/// Reads `storage.yml`; writes it with `--update` alone.
///
/// # Errors
/// Everything that is wrong with the configuration, or with the update.
pub fn run(context: &Context, args: &ConfigArgs) -> Result<Outcome, Failure> {
    if args.schema {
        return Ok(Outcome::done(Schema(config::schema())));
    }
    if !args.update.is_empty() {
        let edit = Edit::updates(&context.load_request()?, &args.update)?;
        let edited = Edited {
            operation: "storage:config",
            what: format!("{} changed", args.update.len()),
            dry_run: args.dry_run,
            edit,
        };
        return edited.carry_out();
    }
    if args.validate {
        return validate(context, args.strict);
    }
    let loaded = context.loaded()?;
    Ok(Outcome::done(Shown::of(loaded)))
}

/// Not by way of the context, which would tell the warnings on stderr as well.
fn validate(context: &Context, strict: bool) -> Result<Outcome, Failure> {
    let loaded = config::load(&context.load_request()?)?;
    let checked = Checked {
        file: Shown::file(&loaded),
        warnings: loaded.warnings,
        strict,
    };
    if !strict || checked.warnings.is_empty() {
        return Ok(Outcome::done(checked));
    }
    let count = checked.warnings.len();
    let message = format!(
        "{} has {count} {}, and --strict takes none",
        checked.file,
        plural(count, "warning")
    );
    let failure = Failure::new(Exit::Usage, Code::Configuration, message);
    Ok(Outcome::failed(checked, failure))
}

fn plural(count: usize, word: &str) -> String {
    if count == 1 {
        word.to_owned()
    } else {
        format!("{word}s")
    }
}

struct Shown {
    file: String,
    system_data: String,
    database: String,
    database_from: String,
    settings: Vec<Setting>,
}

impl Shown {
    fn of(loaded: &Loaded) -> Self {
        Self {
            file: Self::file(loaded),
            system_data: loaded.system_data.display().to_string(),
            database: loaded.database.to_string(),
            database_from: loaded
                .database_from
                .clone()
                .unwrap_or_else(|| "default".to_owned()),
            settings: config::settings(loaded),
        }
    }

    fn file(loaded: &Loaded) -> String {
        loaded
            .config
            .source
            .as_ref()
            .map(|file| file.display().to_string())
            .unwrap_or_default()
    }

    /// `line 12` for what is in the file that is named once above the table.
    fn short(origin: &Origin) -> String {
        match origin {
            Origin::File { line, .. } => format!("line {line}"),
            other => other.to_string(),
        }
    }
}

fn setting(setting: &Setting) -> Value {
    let origin = match &setting.origin {
        Origin::Default => json!({ "kind": "default" }),
        Origin::File { file, line } => json!({ "kind": "file", "file": file, "line": line }),
        Origin::Env(name) => json!({ "kind": "env", "name": name }),
    };
    json!({ "key": setting.key.to_string(), "value": setting.value, "origin": origin })
}

/// As storage.yml would have it on one line.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) if text.is_empty() => "\"\"".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(plain).collect();
            format!("[{}]", items.join(", "))
        }
        other => other.to_string(),
    }
}

impl View for Shown {
    fn operation(&self) -> &'static str {
        "storage:config"
    }

    fn message(&self) -> String {
        format!("{} settings of {}", self.settings.len(), self.file)
    }

    fn json(&self, out: &mut dyn Write) -> serde_json::Result<()> {
        let mut data = self.summary();
        data["settings"] = self.settings.iter().map(setting).collect();
        serde_json::to_writer(out, &data)
    }

    fn items(&self, emit: &mut dyn FnMut(Value) -> io::Result<()>) -> io::Result<()> {
        self.settings.iter().map(setting).try_for_each(emit)
    }

    fn summary(&self) -> Value {
        json!({
            "configFile": self.file,
            "systemData": self.system_data,
            "database": self.database,
            "databaseFrom": self.database_from,
        })
    }

    fn columns(&self) -> &'static [&'static str] {
        &[
            "key",
            "value",
            "origin.kind",
            "origin.file",
            "origin.line",
            "origin.name",
        ]
    }

    fn table(&self, out: &mut Human<'_>) -> io::Result<()> {
        out.line(&format!("File:        {}", Human::name(&self.file)))?;
        out.line(&format!("System data: {}", Human::name(&self.system_data)))?;
        let database = format!("{} ({})", self.database, self.database_from);
        out.line(&format!("Database:    {}", Human::name(&database)))?;
        out.line("")?;
        // Values come last, since they can be long.
        let mut table = Table::new(&[
            ("KEY", Align::Left),
            ("FROM", Align::Left),
            ("VALUE", Align::Left),
        ]);
        for setting in &self.settings {
            table.row([
                setting.key.to_string(),
                Self::short(&setting.origin),
                plain(&setting.value),
            ]);
        }
        out.table(&table)
    }
}

struct Checked {
    file: String,
    warnings: Vec<Warning>,
    strict: bool,
}

fn warning(Warning(problem): &Warning) -> Value {
    json!({
        "file": problem.file,
        "line": problem.line,
        "key": problem.key.to_string(),
        "message": problem.message,
    })
}

impl View for Checked {
    fn operation(&self) -> &'static str {
        "storage:config"
    }

    fn message(&self) -> String {
        match self.warnings.len() {
            0 => format!("{} is valid", self.file),
            count => format!(
                "{} is valid, with {count} {}",
                self.file,
                plural(count, "warning")
            ),
        }
    }

    fn json(&self, out: &mut dyn Write) -> serde_json::Result<()> {
        let mut data = self.summary();
        data["warnings"] = self.warnings.iter().map(warning).collect();
        serde_json::to_writer(out, &data)
    }

    fn items(&self, emit: &mut dyn FnMut(Value) -> io::Result<()>) -> io::Result<()> {
        self.warnings.iter().map(warning).try_for_each(emit)
    }

    fn summary(&self) -> Value {
        let valid = !self.strict || self.warnings.is_empty();
        json!({ "file": self.file, "valid": valid, "strict": self.strict })
    }

    fn columns(&self) -> &'static [&'static str] {
        &["file", "line", "key", "message"]
    }

    fn table(&self, out: &mut Human<'_>) -> io::Result<()> {
        for warning in &self.warnings {
            out.line(&Human::name(&warning.to_string()))?;
        }
        if self.strict && !self.warnings.is_empty() {
            return Ok(());
        }
        out.line(&Human::name(&self.message()))
    }
}

struct Schema(Value);

impl View for Schema {
    fn operation(&self) -> &'static str {
        "storage:config"
    }

    fn message(&self) -> String {
        "the JSON Schema of storage.yml".to_owned()
    }

    fn json(&self, out: &mut dyn Write) -> serde_json::Result<()> {
        serde_json::to_writer(out, &self.0)
    }

    fn items(&self, emit: &mut dyn FnMut(Value) -> io::Result<()>) -> io::Result<()> {
        emit(self.0.clone())
    }

    fn summary(&self) -> Value {
        json!({})
    }

    fn columns(&self) -> &'static [&'static str] {
        &["$schema", "title"]
    }

    /// By itself, so that it can go into a file as it is.
    fn table(&self, out: &mut Human<'_>) -> io::Result<()> {
        out.line(&serde_json::to_string_pretty(&self.0)?)
    }
}
