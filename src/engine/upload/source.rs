//! Where the bytes of an upload come from, hashed as they are read.

use std::fs::File;
use std::io::{self, Read};
use std::mem;
use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use futures::stream::BoxStream;
use object_store::ObjectStoreExt;

use super::put::PutError;
use crate::engine::hash::{Hash, both};
use crate::providers::{Key, Provider, ProviderError};

/// Bytes to be read from their beginning to their end, and the hash of those that were.
pub(in crate::engine) struct Source {
    bytes: Origin,
    hash: Hash,
}

enum Origin {
    File(Arc<File>),
    Object {
        provider: Arc<Provider>,
        pieces: BoxStream<'static, object_store::Result<Bytes>>,
        /// What has come and was not asked for yet.
        piece: Bytes,
    },
}

impl Source {
    pub(super) fn of_file(file: File) -> Self {
        Self {
            bytes: Origin::File(Arc::new(file)),
            hash: Hash::default(),
        }
    }

    /// The object at the key; `None` where there is none.
    ///
    /// # Errors
    /// Where the provider does not answer clearly.
    pub(in crate::engine) async fn of_object(
        provider: &Arc<Provider>,
        key: &Key,
    ) -> Result<Option<Self>, ProviderError> {
        let pieces = match provider.store.get(&provider.location(key)?).await {
            Ok(found) => found.into_stream(),
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(provider.store_error("read", error)),
        };
        Ok(Some(Self {
            bytes: Origin::Object {
                provider: Arc::clone(provider),
                pieces,
                piece: Bytes::new(),
            },
            hash: Hash::default(),
        }))
    }

    /// Up to `most` bytes, in the buffer that was given, fewer only at the end; and the SHA-256 of these alone, where it is wished.
    pub(super) async fn next(
        &mut self,
        most: u64,
        mut buffer: Vec<u8>,
        with_sum: bool,
    ) -> Result<(Bytes, Option<[u8; 32]>), PutError> {
        // At once, since growing would hold it twice.
        buffer.reserve_exact(usize::try_from(most).unwrap_or(0));
        let mut hash = mem::take(&mut self.hash);
        let file = match &mut self.bytes {
            Origin::File(file) => Some(Arc::clone(file)),
            Origin::Object {
                provider,
                pieces,
                piece,
            } => {
                while (buffer.len() as u64) < most {
                    if piece.is_empty() {
                        let failed = |error| PutError::Source(provider.store_error("read", error));
                        match pieces.try_next().await.map_err(failed)? {
                            Some(next) => *piece = next,
                            None => break,
                        }
                    }
                    let room = usize::try_from(most - buffer.len() as u64).unwrap_or(usize::MAX);
                    buffer.extend_from_slice(&piece.split_to(piece.len().min(room)));
                }
                None
            }
        };
        let hashing = tokio::task::spawn_blocking(move || {
            if let Some(file) = file {
                (&*file).take(most).read_to_end(&mut buffer)?;
            }
            let mut part = with_sum.then(Hash::default);
            match &mut part {
                Some(part) => both((&mut hash, &buffer), (part, &buffer)),
                None => hash.update(&buffer),
            }
            Ok((buffer, hash, part.map(Hash::finish)))
        });
        let read: io::Result<_> = hashing.await.unwrap_or_else(|lost| Err(io::Error::other(lost)));
        let (buffer, hash, sum) = read.map_err(PutError::Read)?;
        self.hash = hash;
        Ok((buffer.into(), sum))
    }

    /// Of all that was read.
    pub(super) fn sha256(self) -> [u8; 32] {
        self.hash.finish()
    }
}
