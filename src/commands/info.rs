//! `storage:info`: one file, as its record and its provider tell it.

use std::io::{self, Write};

use clap::Args;
use serde::Serialize;
use serde_json::Value;

use super::shared::{minute, the_one};
use crate::Context;
use crate::config::ProviderConfig;
use crate::engine::info::{self, ObjectInfo};
use crate::engine::list::owner;
use crate::error::Failure;
use crate::metadata::FileRecord;
use crate::output::{Human, Outcome, View, format_size};

/// Shows one file: its record, its object, its provider
#[derive(Debug, Args)]
pub struct InfoArgs {
    /// The file's id, or its folder and name (`permits/plan.pdf`)
    #[arg(value_name = "ID_OR_FILE")]
    file: String,
}

/// Reads the record, then asks its provider for the object. Where the provider does not answer, the record is shown
/// all the same, beside the failure.
///
/// # Errors
/// No such file, several of that name, a configuration or a database that cannot be read.
pub async fn run(context: &Context, args: InfoArgs) -> Result<Outcome, Failure> {
    let roots = context.roots()?;
    let record = the_one(
        info::find(context.metadata()?.as_ref(), &args.file).await?,
        &args.file,
    )?;
    let mut view = InfoView {
        provider: None,
        object: None,
        record,
    };
    let Some(name) = owner(&view.record.provider_path, &roots) else {
        return Ok(Outcome::done(view));
    };
    let provider = context.provider_config(name)?;
    view.provider = Some(ProviderInfo::of(provider));
    if !provider.enabled {
        return Ok(Outcome::done(view));
    }
    match look(context, name, &view.record).await {
        Ok(object) => view.object = Some(object),
        Err(failure) => return Ok(Outcome::failed(view, failure)),
    }
    Ok(Outcome::done(view))
}

async fn look(context: &Context, provider: &str, record: &FileRecord) -> Result<ObjectInfo, Failure> {
    let provider = context.provider(provider)?;
    Ok(info::object(&provider, record).await?)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ProviderInfo {
    name: String,
    #[serde(rename = "type")]
    kind: &'static str,
    enabled: bool,
}

impl ProviderInfo {
    fn of(config: &ProviderConfig) -> Self {
        Self {
            name: config.name.clone(),
            kind: config.kind.type_name(),
            enabled: config.enabled,
        }
    }
}

/// `object` is null where nobody could be asked.
#[derive(Serialize)]
struct InfoView {
    record: FileRecord,
    object: Option<ObjectInfo>,
    /// Null where the record is under no configured provider.
    provider: Option<ProviderInfo>,
}

impl InfoView {
    /// What became of the object, in a few words.
    fn state(&self) -> String {
        match (&self.object, &self.provider) {
            (Some(object), _) if !object.exists => "missing".to_owned(),
            (Some(object), _) if object.size_matches == Some(false) => format!(
                "there, but {} bytes where the record says {}",
                object.size.unwrap_or(0),
                self.record.size
            ),
            (Some(_), _) => "there, of the recorded size".to_owned(),
            (None, None) => "unknown: no configured provider matches the record's path".to_owned(),
            (None, Some(provider)) if !provider.enabled => "unknown: its provider is disabled".to_owned(),
            (None, Some(_)) => "unknown: its provider did not answer".to_owned(),
        }
    }

    fn lines(&self) -> Vec<(&'static str, String)> {
        let record = &self.record;
        let size = u64::try_from(record.size).unwrap_or(0);
        let provider = self.provider.as_ref();
        let mut lines = vec![
            ("Name", record.original_name.clone()),
            ("Folder", record.folder.clone()),
            ("Id", record.id.clone()),
            ("Size", format!("{} ({} bytes)", format_size(size), record.size)),
            ("Type", record.mime_type.clone()),
            ("Created", format!("{} UTC", minute(&record.created_at))),
            ("Updated", format!("{} UTC", minute(&record.updated_at))),
            (
                "Provider",
                provider.map_or_else(|| "(unmapped)".to_owned(), |p| format!("{} ({})", p.name, p.kind)),
            ),
            ("Path", record.provider_path.clone()),
            ("Object", self.state()),
        ];
        let object = self.object.as_ref();
        let optional = [
            (
                "Modified",
                object
                    .and_then(|o| o.last_modified)
                    .map(|at| at.format("%Y-%m-%d %H:%M UTC").to_string()),
            ),
            ("ETag", object.and_then(|o| o.etag.clone())),
            ("Uploaded by", record.uploaded_by.clone()),
            ("Description", record.description.clone()),
        ];
        lines.extend(
            optional
                .into_iter()
                .filter_map(|(word, value)| Some((word, value?))),
        );
        lines
    }
}

impl View for InfoView {
    fn operation(&self) -> &'static str {
        "storage:info"
    }

    fn message(&self) -> String {
        format!(
            "{}/{}: the object is {}",
            self.record.folder,
            self.record.original_name,
            self.state()
        )
    }

    fn json(&self, out: &mut dyn Write) -> serde_json::Result<()> {
        serde_json::to_writer(out, self)
    }

    fn items(&self, emit: &mut dyn FnMut(Value) -> io::Result<()>) -> io::Result<()> {
        emit(serde_json::to_value(self)?)
    }

    fn summary(&self) -> Value {
        serde_json::json!({ "message": self.message() })
    }

    fn columns(&self) -> &'static [&'static str] {
        &[
            "record.id",
            "record.originalName",
            "record.folder",
            "record.size",
            "record.mimeType",
            "record.createdAt",
            "record.updatedAt",
            "record.uploadedBy",
            "record.description",
            "record.providerPath",
            "provider.name",
            "provider.type",
            "object.exists",
            "object.size",
            "object.etag",
            "object.lastModified",
        ]
    }

    fn table(&self, out: &mut Human<'_>) -> io::Result<()> {
        for (word, value) in self.lines() {
            out.line(&format!("{word:<12} {}", Human::name(&value)))?;
        }
        Ok(())
    }
}
