//! What is put is compared with what arrived, whatever the wire made of it.
//!
//! S3 is told a SHA-256 of each body by object_store. Google compares the MD5 that it is sent. What Azure takes is signed
//! before it comes here, so its answer, which says what arrived, is compared instead.
//!
//! # Source
//! Cloud Storage XML API reference, "Content-MD5"; Azure Blob Storage REST API, "Put Blob" and "Put Block", and its CRC: a
//! CRC-64/NVME, least byte first.

use std::future::poll_fn;
use std::pin::Pin;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method};
use http_body::Body as _;
use md5::{Digest as _, Md5};
use object_store::client::{
    HttpClient, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody, HttpResponse, HttpService,
};

const MD5: HeaderName = HeaderName::from_static("content-md5");
const CRC64: HeaderName = HeaderName::from_static("x-ms-content-crc64");
/// Bytes above which hashing would hold up what else runs on this thread.
const LONG: usize = 64 << 10;

/// How the error of bytes that changed on their way begins.
pub(super) const DAMAGED: &str = "other bytes arrived than were sent";

/// Who compares.
#[derive(Debug, Clone, Copy)]
pub(super) enum Comparison {
    /// The service, with the header that it is sent.
    Theirs,
    /// We, with the header of the answer, where it has one.
    Ours,
}

/// The same client, its puts compared.
pub(super) fn compared(http: HttpClient, by: Comparison) -> HttpClient {
    HttpClient::new(Compared { http, by })
}

#[derive(Debug)]
struct Compared {
    http: HttpClient,
    by: Comparison,
}

/// What came is not what was sent. Not to be tried again as it is: the object is no good.
#[derive(Debug, thiserror::Error)]
#[error("{DAMAGED} (checksum {arrived}, not {sent})")]
struct Damaged {
    sent: String,
    arrived: String,
}

#[async_trait]
impl HttpService for Compared {
    async fn call(&self, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
        if request.method() != Method::PUT || request.body().content_length() == 0 {
            return self.http.execute(request).await;
        }
        let body = request.body().clone();
        match self.by {
            Comparison::Theirs => {
                let sent = of(body, Sum::Md5).await?;
                if let Ok(value) = HeaderValue::try_from(sent) {
                    request.headers_mut().insert(MD5, value);
                }
                self.http.execute(request).await
            }
            Comparison::Ours => {
                let answer = self.http.execute(request).await?;
                if answer.status().is_success() {
                    hold(&answer, body).await?;
                }
                Ok(answer)
            }
        }
    }
}

/// Holds what the service says has arrived against what was sent. A block's MD5 is not told, a blob's may be.
async fn hold(answer: &HttpResponse, body: HttpRequestBody) -> Result<(), HttpError> {
    let said = |name| answer.headers().get(name)?.to_str().ok().map(str::to_owned);
    let (sum, arrived) = match (said(CRC64), said(MD5)) {
        (Some(arrived), _) => (Sum::Crc64, arrived),
        (None, Some(arrived)) => (Sum::Md5, arrived),
        (None, None) => return Ok(()),
    };
    let sent = of(body, sum).await?;
    if sent == arrived {
        return Ok(());
    }
    Err(HttpError::new(HttpErrorKind::Unknown, Damaged { sent, arrived }))
}

#[derive(Debug, Clone, Copy)]
enum Sum {
    Md5,
    Crc64,
}

impl Sum {
    /// In base64, as headers have it.
    fn of(self, chunks: &[Bytes]) -> String {
        match self {
            Self::Md5 => {
                let mut hash = Md5::new();
                for chunk in chunks {
                    hash.update(chunk);
                }
                STANDARD.encode(hash.finalize())
            }
            Self::Crc64 => {
                let mut crc = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc64Nvme);
                for chunk in chunks {
                    crc.update(chunk);
                }
                STANDARD.encode(crc.finalize().to_le_bytes())
            }
        }
    }
}

async fn of(mut body: HttpRequestBody, sum: Sum) -> Result<String, HttpError> {
    let length = body.content_length();
    let mut chunks: Vec<Bytes> = Vec::new();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        chunks.extend(frame?.into_data());
    }
    if length <= LONG {
        return Ok(sum.of(&chunks));
    }
    let hashed = tokio::task::spawn_blocking(move || sum.of(&chunks)).await;
    hashed.map_err(|lost| HttpError::new(HttpErrorKind::Unknown, lost))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_those_of_the_catalogues_and_do_not_mind_where_a_body_is_cut() {
        let whole = [Bytes::from_static(b"123456789")];
        let cut = [Bytes::from_static(b"1234"), Bytes::from_static(b"56789")];
        // RFC 1321's digest of these digits; the check value of CRC-64/NVME is ae8b14860a799888.
        for (sum, known) in [
            (Sum::Md5, "JfnnlDI7RTiF9RgfG2JNCw=="),
            (Sum::Crc64, "iJh5CoYUi64="),
        ] {
            assert_eq!(
                (sum.of(&whole), sum.of(&cut)),
                (known.to_owned(), known.to_owned())
            );
        }
    }

    const DIGITS: &[u8] = b"123456789";
    const MD5_OF_THEM: &str = "JfnnlDI7RTiF9RgfG2JNCw==";
    const CRC64_OF_THEM: &str = "iJh5CoYUi64=";
    /// Of nothing at all.
    const OTHER_MD5: &str = "1B2M2Y8AsgTpgAmY7PhCfg==";
    const OTHER_CRC64: &str = "AAAAAAAAAAA=";

    /// Takes everything, and answers with this status and these headers.
    #[derive(Debug)]
    struct Service(u16, Vec<(HeaderName, &'static str)>);

    #[async_trait]
    impl HttpService for Service {
        async fn call(&self, _request: HttpRequest) -> Result<HttpResponse, HttpError> {
            let answer = http::Response::builder().status(self.0);
            let answer = self
                .1
                .iter()
                .fold(answer, |answer, (name, value)| answer.header(name, *value));
            Ok(answer.body(Vec::new().into()).unwrap())
        }
    }

    /// What becomes of a put of the digits that is answered so.
    async fn put(status: u16, headers: &[(HeaderName, &'static str)]) -> Result<(), String> {
        let service = HttpClient::new(Service(status, headers.to_vec()));
        let mut request = HttpRequest::new(HttpRequestBody::from(DIGITS.to_vec()));
        *request.method_mut() = Method::PUT;
        let answer = compared(service, Comparison::Ours).execute(request).await;
        answer.map(drop).map_err(|error| crate::resilience::chain(&error))
    }

    #[tokio::test]
    async fn an_answer_that_says_other_bytes_arrived_is_an_error_and_no_success() {
        for headers in [
            &[(CRC64, OTHER_CRC64)][..],
            &[(MD5, OTHER_MD5)],
            &[(CRC64, OTHER_CRC64), (MD5, MD5_OF_THEM)],
        ] {
            for status in [200, 201] {
                let error = put(status, headers).await.unwrap_err();
                assert!(error.contains(DAMAGED), "{headers:?}: {error}");
            }
        }
    }

    #[tokio::test]
    async fn an_answer_that_says_these_bytes_arrived_or_nothing_of_them_is_taken() {
        for headers in [
            &[(CRC64, CRC64_OF_THEM)][..],
            &[(MD5, MD5_OF_THEM)],
            &[(CRC64, CRC64_OF_THEM), (MD5, MD5_OF_THEM)],
            &[],
        ] {
            assert_eq!(put(201, headers).await, Ok(()), "{headers:?}");
        }
        // What was refused has not arrived, whatever is said of it.
        assert_eq!(put(503, &[(MD5, OTHER_MD5)]).await, Ok(()));
    }
}
