//! The sidecar: a file's record as JSON beside its bytes, as CivicPress writes it beside local files. It is derived from
//! the row, which is the truth, and written anew whenever a run changes the row. What it holds under names that this
//! program does not know is kept. Sidecars in the trash are [`objects`](super::objects)' business.

use chrono::SecondsFormat;
use object_store::{ObjectStoreExt, PutPayload};
use serde::Serialize;
use serde_json::{Map, Value};

use super::objects::sidecar_key;
use crate::metadata::{FileRecord, MetadataError, MetadataStore, Stamp};
use crate::providers::{EntryKind, Key, Provider, ProviderError};

/// No sidecar is larger; what is, is none and holds nothing to be kept.
const LARGEST: u64 = 1 << 20;
/// Bytes of a name, on every file system that matters.
const NAME_MAX: usize = 255;
/// How often a row is followed that changes while its sidecar is written.
const FOLLOWED: usize = 5;

/// Why a sidecar may not agree with its row.
#[derive(Debug, thiserror::Error)]
pub enum SidecarError {
    #[error(transparent)]
    Provider(#[from] ProviderError),
    #[error(transparent)]
    Metadata(#[from] MetadataError),
}

/// Where none stands yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absent {
    /// None is written: nothing tells otherwise than the row.
    Left,
    /// One is written, since an object's headers tell otherwise by now.
    Written,
}

impl Absent {
    /// After a row was changed from one to the other. Headers tell a description, and the object itself tells the size.
    pub(super) fn after(before: &FileRecord, after: &FileRecord) -> Self {
        if before.description == after.description {
            Self::Left
        } else {
            Self::Written
        }
    }
}

/// In the order of CivicPress's own sidecars.
#[derive(Serialize)]
struct Sidecar<'a> {
    id: &'a str,
    original_name: &'a str,
    stored_filename: &'a str,
    folder: &'a str,
    relative_path: &'a str,
    provider_path: &'a str,
    size: i64,
    mime_type: &'a str,
    description: Option<&'a str>,
    uploaded_by: Option<&'a str>,
    created_at: Option<String>,
    updated_at: Option<String>,
    #[serde(flatten)]
    unknown: Map<String, Value>,
}

const KNOWN: [&str; 12] = [
    "id",
    "original_name",
    "stored_filename",
    "folder",
    "relative_path",
    "provider_path",
    "size",
    "mime_type",
    "description",
    "uploaded_by",
    "created_at",
    "updated_at",
];

/// The sidecar's bytes; `found` is the one that it replaces, which may hold what no row does.
pub(super) fn render(record: &FileRecord, found: Option<&[u8]>) -> serde_json::Result<Vec<u8>> {
    let found: Option<Map<String, Value>> = found.and_then(|found| serde_json::from_slice(found).ok());
    let mut unknown = found.unwrap_or_default();
    let told = |column: &str, stamp: &Stamp| {
        let told = unknown.get(column).and_then(Value::as_str);
        let exact = told.filter(|told| is_second_of(told, stamp));
        exact.map(str::to_owned).or_else(|| millis(stamp))
    };
    let (created_at, updated_at) = (
        told("created_at", &record.created_at),
        told("updated_at", &record.updated_at),
    );
    unknown.retain(|name, _| !KNOWN.contains(&name.as_str()));
    serde_json::to_vec_pretty(&Sidecar {
        id: &record.id,
        original_name: &record.original_name,
        stored_filename: &record.stored_filename,
        folder: &record.folder,
        relative_path: &record.relative_path,
        provider_path: &record.provider_path,
        size: record.size,
        mime_type: &record.mime_type,
        description: record.description.as_deref(),
        uploaded_by: record.uploaded_by.as_deref(),
        created_at,
        updated_at,
        unknown,
    })
}

/// Whether the sidecar tells the row's time, only more exactly: CivicPress's own have milliseconds, its rows seconds.
fn is_second_of(told: &str, stamp: &Stamp) -> bool {
    let exact = Stamp::from_text(told).time();
    exact.zip(stamp.time()).is_some_and(|(exact, recorded)| {
        exact.timestamp() == recorded.timestamp() && recorded.timestamp_subsec_nanos() == 0
    })
}

/// As JavaScript writes times: `2026-11-23T18:39:15.000Z`.
pub(super) fn millis(stamp: &Stamp) -> Option<String> {
    let at = stamp.time()?;
    Some(at.to_rfc3339_opts(SecondsFormat::Millis, true))
}

/// The sidecar of the object at the key, where there is one that can be read as such.
///
/// # Errors
/// Where the provider does not answer clearly.
pub(super) async fn read(provider: &Provider, key: &Key) -> Result<Option<Vec<u8>>, ProviderError> {
    let key = sidecar_key(key);
    match provider.head(&key).await? {
        Some(found) if found.kind == EntryKind::Object && found.size <= LARGEST => {}
        _ => return Ok(None),
    }
    let failed = |error| provider.store_error("read", error);
    match provider.store.get(&provider.location(&key)?).await {
        Err(object_store::Error::NotFound { .. }) => Ok(None),
        found => Ok(Some(
            found.map_err(failed)?.bytes().await.map_err(failed)?.to_vec(),
        )),
    }
}

/// Writes the record's sidecar beside the object at `key`. Nothing is written where its name would be longer than a
/// file system takes: no such file ever had one.
///
/// # Errors
/// Where it could not be written.
///
/// # Cancellation
/// Leaves the old one or the new one.
pub(super) async fn write(
    provider: &Provider,
    key: &Key,
    record: &FileRecord,
    found: Option<&[u8]>,
) -> Result<(), ProviderError> {
    let sidecar = sidecar_key(key);
    let name = sidecar.as_bytes().rsplit(|b| *b == b'/').next();
    if provider.type_name == "local" && name.is_some_and(|name| name.len() > NAME_MAX) {
        return Ok(());
    }
    let bytes = render(record, found).map_err(|error| ProviderError::Invalid {
        provider: provider.name.clone(),
        operation: "sidecar",
        reason: error.to_string(),
    })?;
    if found == Some(bytes.as_slice()) {
        return Ok(());
    }
    let at = provider.location(&sidecar)?;
    let put = provider.store.put(&at, PutPayload::from(bytes)).await;
    put.map(|_| ())
        .map_err(|error| provider.store_error("sidecar", error))
}

/// Makes the sidecar agree with the row of this id as it stands, also where the row changes meanwhile. Nothing is
/// written for a row that is gone, that is another provider's, or whose object is missing.
///
/// # Errors
/// Where provider or database fail; calling it again is safe.
///
/// # Cancellation
/// As [`write`].
pub async fn agree(
    provider: &Provider,
    store: &dyn MetadataStore,
    id: &str,
    absent: Absent,
) -> Result<(), SidecarError> {
    let mut written: Option<FileRecord> = None;
    for _ in 0..FOLLOWED {
        let row = store.get(id).await?;
        if row == written {
            return Ok(());
        }
        let Some((key, row)) = row.and_then(|row| Some((provider.mapping.key_of(&row.provider_path)?, row)))
        else {
            return Ok(());
        };
        let object = provider.head(&key).await?;
        if object.is_none_or(|object| object.kind != EntryKind::Object) {
            return Ok(());
        }
        let found = read(provider, &key).await?;
        if found.is_none() && absent == Absent::Left {
            return Ok(());
        }
        write(provider, &key, &row, found.as_deref()).await?;
        written = Some(row);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> FileRecord {
        let at = Stamp::from_text("2026-11-23 18:39:15");
        FileRecord {
            id: "1c9be456-9019-4123-86c2-b2a304657661".into(),
            original_name: "in-camera.m4a".into(),
            stored_filename: "in-camera_1c9be456-9019-4123-86c2-b2a304657661.m4a".into(),
            folder: "recordings_raw".into(),
            relative_path: "recordings_raw/in-camera_1c9be456-9019-4123-86c2-b2a304657661.m4a".into(),
            provider_path: "/srv/storage/recordings_raw/in-camera_1c9be456-9019-4123-86c2-b2a304657661.m4a"
                .into(),
            size: 4096,
            mime_type: "audio/mp4".into(),
            description: None,
            uploaded_by: Some("clerk1".into()),
            created_at: at.clone(),
            updated_at: at,
        }
    }

    const CIVICPRESS: &str = r#"{
  "id": "1c9be456-9019-4123-86c2-b2a304657661",
  "original_name": "in-camera.m4a",
  "stored_filename": "in-camera_1c9be456-9019-4123-86c2-b2a304657661.m4a",
  "folder": "recordings_raw",
  "relative_path": "recordings_raw/in-camera_1c9be456-9019-4123-86c2-b2a304657661.m4a",
  "provider_path": "/srv/storage/recordings_raw/in-camera_1c9be456-9019-4123-86c2-b2a304657661.m4a",
  "size": 4096,
  "mime_type": "audio/mp4",
  "description": null,
  "uploaded_by": "clerk1",
  "created_at": "2026-11-23T18:39:15.000Z",
  "updated_at": "2026-11-23T18:39:15.000Z"
}"#;

    #[test]
    fn a_sidecar_is_byte_for_byte_what_civicpress_would_write() {
        assert_eq!(
            String::from_utf8(render(&record(), None).unwrap()).unwrap(),
            CIVICPRESS
        );
    }

    #[test]
    fn a_sidecar_that_is_written_anew_keeps_what_no_row_holds() {
        let found = CIVICPRESS.replacen("15.000Z", "15.311Z", 1).replace(
            "18:39:15.000Z\"",
            "18:39:14.700Z\",\n  \"retention\": {\n    \"years\": 7\n  }",
        );
        let mut changed = record();
        changed.description = Some("Minutes".into());
        let text = String::from_utf8(render(&changed, Some(found.as_bytes())).unwrap()).unwrap();
        let expected = CIVICPRESS
            .replacen("15.000Z", "15.311Z", 1)
            .replace("null", "\"Minutes\"")
            .replace(
                "18:39:15.000Z\"",
                "18:39:15.000Z\",\n  \"retention\": {\n    \"years\": 7\n  }",
            );
        assert_eq!(text, expected);
        assert_eq!(
            render(&record(), Some(b"no JSON")).unwrap(),
            CIVICPRESS.as_bytes()
        );
    }
}
