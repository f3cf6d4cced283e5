//! One record and its object: what is there, and what that means.

use futures::TryStreamExt;
use sha2::{Digest, Sha256};

use super::super::Interrupt;
use super::super::changes::{Sites, failed, failed_by};
use super::super::cleanup::ItemError;
use super::super::hash::hex;
use super::{Around, Finding, VerifyRequest, Wrong};
use crate::metadata::{FileRecord, MetadataError};
use crate::providers::{EntryKind, Key, Provider, ProviderError};

/// What a look at one record came to.
pub(super) enum Seen {
    /// Bytes that were read, and whether there was a checksum to compare them with.
    There {
        bytes: u64,
        compared: Option<bool>,
    },
    Wrong(Box<Finding>),
    Unanswered(ItemError),
    /// The record was deleted meanwhile.
    Gone,
    Interrupted,
}

/// A finding holds only where the record is still what it was when it was looked at.
pub(super) async fn settled(
    around: Around<'_>,
    request: &VerifyRequest,
    mut record: FileRecord,
) -> Result<Seen, MetadataError> {
    loop {
        let seen = look(around, request, &record).await?;
        if !matches!(seen, Seen::Wrong(_)) {
            return Ok(seen);
        }
        match around.store.get(&record.id).await? {
            None => return Ok(Seen::Gone),
            Some(now) if now == record => return Ok(seen),
            Some(now) => record = now,
        }
    }
}

async fn look(
    around: Around<'_>,
    request: &VerifyRequest,
    record: &FileRecord,
) -> Result<Seen, MetadataError> {
    let (provider, key) = match around.sites.of_record(record) {
        Ok(place) => place,
        Err(error) => return Ok(Seen::Unanswered(error)),
    };
    let sha256 = if request.checksum {
        around.store.checksum(&record.id).await?
    } else {
        None
    };
    let looked = if request.checksum {
        read(&provider, &key, around.interrupt).await
    } else {
        ask(&provider, &key).await
    };
    Ok(judge(record, &provider, sha256, looked))
}

/// What is at the key.
enum Object {
    Missing,
    Size(u64),
    Content { size: u64, sha256: String },
    Interrupted,
}

async fn ask(provider: &Provider, key: &Key) -> Result<Object, ProviderError> {
    let found = provider.head(key).await?;
    Ok(match found.filter(|found| found.kind == EntryKind::Object) {
        Some(found) => Object::Size(found.size),
        None => Object::Missing,
    })
}

async fn read(provider: &Provider, key: &Key, interrupt: &Interrupt) -> Result<Object, ProviderError> {
    use object_store::ObjectStoreExt as _;
    let location = provider.location(key)?;
    let failed = |error| provider.store_error("read", error);
    let got = match provider.store.get(&location).await {
        Ok(got) => got,
        // A bucket or root that is gone is another matter, and so is an object that is there after all: a HEAD tells.
        Err(object_store::Error::NotFound { .. }) => {
            return match ask(provider, key).await? {
                Object::Missing => Ok(Object::Missing),
                _ => Err(ProviderError::Unavailable {
                    provider: provider.name.clone(),
                    operation: "read",
                    reason: "it was not found, and is there: it may be being replaced".to_owned(),
                }),
            };
        }
        Err(error) => return Err(failed(error)),
    };
    let mut pieces = got.into_stream();
    let (mut hash, mut size) = (Sha256::new(), 0);
    while let Some(piece) = pieces.try_next().await.map_err(failed)? {
        if interrupt.is_requested() {
            return Ok(Object::Interrupted);
        }
        size += piece.len() as u64;
        hash.update(&piece);
    }
    Ok(Object::Content {
        size,
        sha256: hex(hash.finalize()),
    })
}

fn judge(
    record: &FileRecord,
    provider: &Provider,
    kept: Option<String>,
    looked: Result<Object, ProviderError>,
) -> Seen {
    let object = match looked {
        Ok(object) => object,
        Err(error) => return Seen::Unanswered(failed_by(&record.id, &error)),
    };
    let wrong = |finding, actual_size| {
        Box::new(Finding {
            id: record.id.clone(),
            original_name: record.original_name.clone(),
            folder: record.folder.clone(),
            provider: provider.name.clone(),
            path: record.provider_path.clone(),
            finding,
            recorded_size: record.size,
            actual_size,
            recorded_sha256: None,
            actual_sha256: None,
        })
    };
    let fits = |size: u64| u64::try_from(record.size) == Ok(size);
    match object {
        Object::Interrupted => Seen::Interrupted,
        Object::Missing => Seen::Wrong(wrong(Wrong::Missing, None)),
        Object::Size(size) | Object::Content { size, .. } if !fits(size) => {
            Seen::Wrong(wrong(Wrong::SizeMismatch, Some(size)))
        }
        Object::Size(_) => Seen::There {
            bytes: 0,
            compared: None,
        },
        Object::Content { size, sha256 } => match kept {
            Some(kept) if kept != sha256 => {
                let mut finding = wrong(Wrong::ChecksumMismatch, Some(size));
                finding.recorded_sha256 = Some(kept);
                finding.actual_sha256 = Some(sha256);
                Seen::Wrong(finding)
            }
            kept => Seen::There {
                bytes: size,
                compared: Some(kept.is_some()),
            },
        },
    }
}

/// Providers that do not answer at all, each with its error: a verification of their records would be errors alone.
pub async fn silent(sites: &Sites, only: Option<&str>) -> Vec<(String, ItemError)> {
    let mut silent = Vec::new();
    for (name, provider) in &sites.providers {
        if only.is_some_and(|only| only != name) {
            continue;
        }
        let error = match provider {
            // One that is switched off may have no records at all; those that it has are told one by one.
            Err(why) if why.is_unbuilt() && only.is_none() => None,
            Ok(provider) => provider.probe().await.err().map(|error| failed_by(name, &error)),
            Err(why) => Some(failed(name, why.code, &why.reason)),
        };
        silent.extend(error.map(|error| (name.clone(), error)));
    }
    silent
}
