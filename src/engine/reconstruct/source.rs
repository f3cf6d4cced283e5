//! What is known of one object's record, and from where.

use object_store::{Attribute, Attributes, GetOptions};
use percent_encoding::percent_decode_str;
use serde::Deserialize;

use crate::engine::{sidecar, upload};
use crate::metadata::{FileRecord, Stamp};
use crate::providers::{Key, Listed, Provider, ProviderError, stored_shape};

/// A record that was pieced together.
pub(super) struct Learnt {
    pub(super) record: FileRecord,
    /// `sidecar`, `metadata` or `key`.
    pub(super) from: &'static str,
    /// Columns that nobody can know any more.
    pub(super) unknown: Vec<&'static str>,
    /// Why something that was written beside the object was not believed.
    pub(super) doubt: Option<String>,
    /// Its size is the one that is written beside it.
    pub(super) is_whole: bool,
}

/// What is written beside an object: all of it may be missing, and none of it need be true.
#[derive(Debug, Default, Deserialize)]
struct Written {
    id: Option<String>,
    original_name: Option<String>,
    size: Option<i64>,
    mime_type: Option<String>,
    description: Option<String>,
    uploaded_by: Option<String>,
    created_at: Option<String>,
    updated_at: Option<String>,
}

/// Asks the provider for what is written, and holds it against what is there.
///
/// # Errors
/// Where the provider does not answer clearly.
pub(super) async fn learn(
    provider: &Provider,
    object: &Listed,
    has_sidecar: bool,
) -> Result<Learnt, ProviderError> {
    let mut doubt = None;
    if has_sidecar && let Some(bytes) = sidecar::read(provider, &object.key).await? {
        match believed(serde_json::from_slice(&bytes).map_err(|e| e.to_string()), object) {
            Ok(written) => return Ok(pieced(provider, object, (Some(written), "sidecar"), None)),
            Err(why) => doubt = Some(format!("its sidecar was not believed: {why}")),
        }
    }
    if provider.type_name != "local" {
        match believed(Ok(metadata(provider, &object.key).await?), object) {
            Ok(written) => return Ok(pieced(provider, object, (Some(written), "metadata"), doubt)),
            Err(why) => doubt = doubt.or(Some(format!("its metadata was not believed: {why}"))),
        }
    }
    Ok(pieced(provider, object, (None, "key"), doubt))
}

/// What is about another object, or about an earlier content of this one, tells nothing.
fn believed(written: Result<Written, String>, object: &Listed) -> Result<Written, String> {
    let written = written?;
    let own = stored_shape(object.key.as_bytes()).map(|shape| shape.id);
    match &written.id {
        Some(id) if Some(id.to_lowercase().as_str()) == own => {}
        Some(id) => return Err(format!("it is of {id}")),
        None => return Err("it names no id".to_owned()),
    }
    match written.size {
        Some(size) if i64::try_from(object.size) != Ok(size) => Err(format!(
            "it tells of {size} bytes, where the object has {}",
            object.size
        )),
        _ => Ok(written),
    }
}

/// The object's own metadata, as this program sends it.
async fn metadata(provider: &Provider, key: &Key) -> Result<Written, ProviderError> {
    let head = GetOptions {
        head: true,
        ..GetOptions::default()
    };
    let found = provider.store.get_opts(&provider.location(key)?, head).await;
    let attributes = found
        .map_err(|error| provider.store_error("read metadata", error))?
        .attributes;
    let of = |name: &'static str| {
        let value = attributes.get(&Attribute::Metadata(name.into()))?;
        let decoded = percent_decode_str(value.as_ref()).decode_utf8().ok()?;
        Some(decoded.into_owned())
    };
    let name = of("civic-original-name");
    Ok(Written {
        id: of("civic-id"),
        mime_type: content_type(&attributes).filter(|_| name.is_some()),
        description: of("civic-description"),
        uploaded_by: of("civic-uploaded-by"),
        created_at: of("civic-created-at"),
        original_name: name,
        size: None,
        updated_at: None,
    })
}

fn content_type(attributes: &Attributes) -> Option<String> {
    attributes
        .get(&Attribute::ContentType)
        .map(|value| value.as_ref().to_owned())
}

/// The record: place and size as they are, all else as it is written, or as the key tells.
fn pieced(
    provider: &Provider,
    object: &Listed,
    (written, from): (Option<Written>, &'static str),
    doubt: Option<String>,
) -> Learnt {
    let key = object.key.as_str().unwrap_or_default();
    let (folder, stored) = key.rsplit_once('/').unwrap_or(("", key));
    let id = stored_shape(object.key.as_bytes()).map_or("", |shape| shape.id);
    let mut unknown = Vec::new();
    let written = written.unwrap_or_default();
    let is_whole = written.size.is_some();
    // Headers without a name are those of a record that was too large for them.
    if written.original_name.is_none() {
        unknown.extend(["originalName", "description", "uploadedBy", "createdAt"]);
    }
    if written.mime_type.is_none() {
        unknown.push("mimeType");
    }
    // Metadata stays what it was when the object was stored.
    if written.updated_at.is_none() {
        unknown.push("updatedAt");
    }
    let original_name = written.original_name.filter(|name| !name.is_empty());
    let original_name = original_name.unwrap_or_else(|| shown(stored, id));
    // As the database holds times: to the second, in the one form.
    let second = |text: Option<String>| {
        let at = Stamp::from_text(&text?).time()?;
        Some(Stamp::At(chrono::SubsecRound::trunc_subsecs(at, 0)))
    };
    let there = Stamp::At(chrono::SubsecRound::trunc_subsecs(object.last_modified, 0));
    let created_at = second(written.created_at).unwrap_or(there);
    let updated_at = second(written.updated_at).unwrap_or_else(|| created_at.clone());
    Learnt {
        record: FileRecord {
            id: id.to_owned(),
            mime_type: written
                .mime_type
                .unwrap_or_else(|| upload::mime_type(&original_name)),
            original_name,
            stored_filename: stored.to_owned(),
            folder: folder.to_owned(),
            relative_path: key.to_owned(),
            provider_path: provider.mapping.path_of(&object.key).unwrap_or_default(),
            size: i64::try_from(object.size).unwrap_or(i64::MAX),
            description: written.description,
            uploaded_by: written.uploaded_by,
            created_at,
            updated_at,
        },
        from,
        unknown,
        doubt,
        is_whole,
    }
}

/// The stored name without the id: `plan_<uuid>.pdf` was `plan.pdf`, or something like it.
fn shown(stored: &str, id: &str) -> String {
    let (base, extension) = stored.split_once(id).unwrap_or((stored, ""));
    let base = base.strip_suffix(['_', '.']).unwrap_or(base);
    if base.is_empty() {
        stored.to_owned()
    } else {
        format!("{base}{extension}")
    }
}
