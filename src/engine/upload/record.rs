//! The record of a new file, and the headers that carry it on an object of a bucket.

use chrono::{DateTime, SubsecRound, Utc};
use object_store::{Attribute, Attributes};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::super::sidecar::millis;
use super::{UploadRequest, name};
use crate::metadata::{FileRecord, Stamp};
use crate::providers::{Key, Provider};

/// What a header may hold as it is; all else becomes `%XX` of its UTF-8, so that any Unicode passes.
const HEADER: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');
/// Names and values of an object's own metadata together, in bytes.
///
/// # Source
/// Amazon S3 User Guide, "Working with object metadata": 2 KB.
const BUDGET: usize = 2048;

/// Key and record of a file that is about to be stored; `None` where no path can name it.
pub(super) fn new(
    (request, provider): (&UploadRequest, &Provider),
    original: &str,
    size: u64,
    now: DateTime<Utc>,
) -> Option<(Key, FileRecord)> {
    let id = uuid::Uuid::new_v4().to_string();
    let stored_filename = name::stored(original, &id);
    let relative_path = format!("{}/{stored_filename}", request.folder.name);
    let key = Key::from(relative_path.as_str());
    let provider_path = provider.mapping.path_of(&key)?;
    // The database holds whole seconds; the sidecar must not say another time.
    let at = Stamp::At(now.trunc_subsecs(0));
    let record = FileRecord {
        id,
        original_name: original.to_owned(),
        stored_filename,
        folder: request.folder.name.clone(),
        relative_path,
        provider_path,
        size: i64::try_from(size).ok()?,
        mime_type: name::mime_type(original),
        description: request.description.clone(),
        uploaded_by: request.uploaded_by.clone(),
        created_at: at.clone(),
        updated_at: at,
    };
    key.is_addressable().then_some((key, record))
}

/// The content type and the record as an object's own metadata; whether all of it fitted. What did not fit is left to
/// a sidecar. Headers tell how the file came: of one that was moved since, the key tells the folder, and of one whose
/// description was changed since, a sidecar tells that, since new headers would make it another object.
pub(in crate::engine) fn attributes(record: &FileRecord) -> (Attributes, bool) {
    let whole = [
        ("civic-id", Some(record.id.as_str())),
        ("civic-folder", Some(record.folder.as_str())),
        ("civic-original-name", Some(record.original_name.as_str())),
        ("civic-description", record.description.as_deref()),
        ("civic-uploaded-by", record.uploaded_by.as_deref()),
    ];
    let created = millis(&record.created_at);
    let fields: Vec<(&'static str, String)> = whole
        .into_iter()
        .chain([("civic-created-at", created.as_deref())])
        .filter_map(|(name, value)| Some((name, utf8_percent_encode(value?, HEADER).to_string())))
        .collect();
    let taken: usize = fields.iter().map(|(name, value)| name.len() + value.len()).sum();
    let fits = taken <= BUDGET;
    let mut attributes = Attributes::new();
    attributes.insert(Attribute::ContentType, record.mime_type.clone().into());
    for (name, value) in fields.into_iter().take(if fits { usize::MAX } else { 1 }) {
        attributes.insert(Attribute::Metadata(name.into()), value.into());
    }
    (attributes, fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(name: &str, description: Option<String>) -> FileRecord {
        let at = Stamp::from_text("2026-11-23 18:39:15");
        FileRecord {
            id: "1c9be456-9019-4123-86c2-b2a304657661".into(),
            original_name: name.into(),
            stored_filename: "in-camera_1c9be456-9019-4123-86c2-b2a304657661.m4a".into(),
            folder: "recordings_raw".into(),
            relative_path: "recordings_raw/in-camera_1c9be456-9019-4123-86c2-b2a304657661.m4a".into(),
            provider_path: "/srv/storage/recordings_raw/in-camera_1c9be456-9019-4123-86c2-b2a304657661.m4a"
                .into(),
            size: 4096,
            mime_type: "audio/mp4".into(),
            description,
            uploaded_by: Some("clerk1".into()),
            created_at: at.clone(),
            updated_at: at,
        }
    }

    #[test]
    fn headers_carry_any_unicode_as_plain_ascii() {
        let name = "Procès 会議録 🏛️ \u{202e}\"\r\n.pdf";
        let (attributes, fits) = attributes(&record(name, None));
        assert!(fits);
        let value = attributes
            .get(&Attribute::Metadata("civic-original-name".into()))
            .unwrap();
        assert!(value.bytes().all(|b| b.is_ascii_graphic()), "{value:?}");
        let back = percent_encoding::percent_decode_str(value).decode_utf8().unwrap();
        assert_eq!(back, name);
    }

    #[test]
    fn what_exceeds_the_budget_of_headers_leaves_only_the_id() {
        let (attributes, fits) = attributes(&record("a.pdf", Some("é".repeat(400))));
        assert!(!fits);
        assert_eq!(attributes.len(), 2, "{attributes:?}");
        assert!(attributes.get(&Attribute::Metadata("civic-id".into())).is_some());
    }
}
