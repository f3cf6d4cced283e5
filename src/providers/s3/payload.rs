//! S3 is told the SHA-256 of the bytes of each request. Who sends them has it already: it is not computed again.

use aws_lc_rs::{digest, hmac};
use bytes::Bytes;
use object_store::client::{
    CryptoProvider, DigestAlgorithm, DigestContext, HmacContext, Signer, SigningAlgorithm,
};

tokio::task_local! {
    static KNOWN: Known;
}

/// Bytes that do not change, and their SHA-256.
#[derive(Debug, Clone)]
struct Known {
    bytes: Bytes,
    sha256: [u8; 32],
}

/// Does the work, within which the SHA-256 of these very bytes is known.
///
/// # Cancellation
/// As the work.
pub async fn with_sha256<T>(bytes: Bytes, sha256: [u8; 32], work: impl Future<Output = T>) -> T {
    KNOWN.scope(Known { bytes, sha256 }, work).await
}

/// object_store's own, but for bytes of which the SHA-256 is known.
#[derive(Debug)]
pub(super) struct Crypto;

impl CryptoProvider for Crypto {
    fn digest(&self, algorithm: DigestAlgorithm) -> object_store::Result<Box<dyn DigestContext>> {
        match algorithm {
            DigestAlgorithm::Sha256 => Ok(Box::new(Payload {
                known: KNOWN.try_with(Known::clone).ok(),
                taken: false,
                computed: digest::Context::new(&digest::SHA256),
                sha256: [0; 32],
            })),
            other => Err(unknown(&other)),
        }
    }

    fn hmac(&self, algorithm: DigestAlgorithm, secret: &[u8]) -> object_store::Result<Box<dyn HmacContext>> {
        match algorithm {
            DigestAlgorithm::Sha256 => Ok(Box::new(Keyed {
                computed: hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, secret)),
                tag: [0; 32],
            })),
            other => Err(unknown(&other)),
        }
    }

    fn sign(&self, algorithm: SigningAlgorithm, _: &[u8]) -> object_store::Result<Box<dyn Signer>> {
        Err(unknown(&algorithm))
    }
}

fn unknown(algorithm: &dyn std::fmt::Debug) -> object_store::Error {
    object_store::Error::NotSupported {
        source: format!("S3 has no use for {algorithm:?}").into(),
    }
}

struct Payload {
    known: Option<Known>,
    /// Of what is known all has come, and nothing else.
    taken: bool,
    computed: digest::Context,
    sha256: [u8; 32],
}

impl DigestContext for Payload {
    fn update(&mut self, data: &[u8]) {
        if let Some(known) = self.known.take() {
            if self.taken {
                self.taken = false;
                self.computed.update(&known.bytes);
            } else if std::ptr::eq(&raw const *known.bytes, data) {
                self.taken = true;
                self.known = Some(known);
                return;
            }
        }
        self.computed.update(data);
    }

    fn finish(&mut self) -> object_store::Result<&[u8]> {
        match &self.known {
            Some(known) if self.taken => self.sha256 = known.sha256,
            _ => self
                .sha256
                .copy_from_slice(self.computed.clone().finish().as_ref()),
        }
        Ok(&self.sha256)
    }
}

struct Keyed {
    computed: hmac::Context,
    tag: [u8; 32],
}

impl HmacContext for Keyed {
    fn update(&mut self, data: &[u8]) {
        self.computed.update(data);
    }

    fn finish(&mut self) -> object_store::Result<&[u8]> {
        self.tag.copy_from_slice(self.computed.clone().sign().as_ref());
        Ok(&self.tag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest_of(pieces: &[&[u8]]) -> Vec<u8> {
        let mut context = Crypto.digest(DigestAlgorithm::Sha256).unwrap();
        for piece in pieces {
            context.update(piece);
        }
        context.finish().unwrap().to_vec()
    }

    fn computed(bytes: &[u8]) -> Vec<u8> {
        digest::digest(&digest::SHA256, bytes).as_ref().to_vec()
    }

    /// What is said to be known is wrong here, so that it is seen where it is used.
    #[tokio::test]
    async fn what_is_known_is_said_of_these_very_bytes_alone() {
        let bytes = Bytes::from_static(b"the same bytes");
        let same = bytes.to_vec();
        with_sha256(bytes.clone(), [7; 32], async {
            assert_eq!(digest_of(&[&bytes]), [7; 32]);
            assert_eq!(digest_of(&[&same]), computed(&same), "bytes that may change");
            assert_eq!(digest_of(&[&bytes[1..]]), computed(&same[1..]), "a part");
            assert_eq!(digest_of(&[&bytes, b"!"]), computed(b"the same bytes!"), "more");
            assert_eq!(digest_of(&[b"!", &bytes]), computed(b"!the same bytes"));
            assert_eq!(digest_of(&[]), computed(b""));
        })
        .await;
        assert_eq!(digest_of(&[&bytes]), computed(&same), "later");
    }

    #[test]
    fn a_key_makes_what_the_standard_says() {
        // RFC 4231, test case 2.
        let mut context = Crypto.hmac(DigestAlgorithm::Sha256, b"Jefe").unwrap();
        context.update(b"what do ya want ");
        context.update(b"for nothing?");
        let tag = context.finish().unwrap();
        assert_eq!(tag[..4], [0x5b, 0xdc, 0xc1, 0x46]);
        assert_eq!(tag[28..], [0x64, 0xec, 0x38, 0x43]);
    }
}
