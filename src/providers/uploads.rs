//! Uploads in parts that were begun and not ended, as S3 and the XML API of Google Cloud Storage list them. A page that
//! cannot be trusted to its end is an error, as in every listing.
//!
//! # Source
//! Amazon S3 API Reference, "ListMultipartUploads" and "AbortMultipartUpload"; Cloud Storage XML API reference, "List
//! multipart uploads" and "Abort multipart upload".

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};

use super::wire::query_of;
use super::xml::{read, unescape, walk};
use super::{Key, ProviderError};

/// An upload in parts that takes up room and is no object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnfinishedUpload {
    /// Below the root or prefix.
    pub key: Key,
    /// The provider's own name of it; on Azure, where it has none, that of one of its blocks.
    pub id: String,
    /// By the provider's clock; Azure does not say.
    pub begun: Option<DateTime<Utc>>,
}

/// Who can be asked for pages of them.
#[async_trait]
pub(super) trait UploadSource: Send + Sync {
    /// The answer to this query of the bucket.
    async fn uploads(&self, query: &str) -> Result<Page, ProviderError>;

    /// An answer that makes no sense.
    fn invalid(&self, reason: String) -> ProviderError;
}

/// One page, keys whole.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Page {
    uploads: Vec<(Vec<u8>, String, DateTime<Utc>)>,
    next: Option<Marker>,
}

/// After which key, and which upload of that key, the next page begins.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Marker {
    key: String,
    id: String,
}

/// All of them below the prefix, page by page.
pub(super) fn list(
    source: Arc<dyn UploadSource>,
    prefix: Arc<str>,
) -> BoxStream<'static, Result<UnfinishedUpload, ProviderError>> {
    let pages = stream::try_unfold(Some(Marker::default()), move |from| {
        let (source, prefix) = (Arc::clone(&source), Arc::clone(&prefix));
        async move {
            let Some(from) = from else { return Ok(None) };
            let page = source.uploads(&query(&prefix, &from)).await?;
            if page.next.as_ref() == Some(&from) {
                return Err(source.invalid("a page of uploads leads to itself".into()));
            }
            let below = |(key, id, begun): (Vec<u8>, String, DateTime<Utc>)| {
                let key = key
                    .strip_prefix(prefix.as_bytes())
                    .map(|key| Key::new(key.to_vec()));
                let key =
                    key.ok_or_else(|| source.invalid("an upload lies outside of what was asked for".into()))?;
                Ok(UnfinishedUpload {
                    key,
                    id,
                    begun: Some(begun),
                })
            };
            let uploads = page
                .uploads
                .into_iter()
                .map(below)
                .collect::<Result<Vec<_>, _>>()?;
            Ok(Some((stream::iter(uploads).map(Ok), page.next)))
        }
    });
    pages.try_flatten().boxed()
}

fn query(prefix: &str, from: &Marker) -> String {
    let set = |text: &'static str, value: &str| (text, (!value.is_empty()).then(|| value.to_owned()));
    let pairs = [
        ("encoding-type", Some("url".to_owned())),
        set("key-marker", &from.key),
        set("prefix", prefix),
        set("upload-id-marker", &from.id),
        ("uploads", Some(String::new())),
    ];
    let pairs: Vec<(&str, Option<&str>)> = pairs
        .iter()
        .map(|(name, value)| (*name, value.as_deref()))
        .collect();
    query_of(&pairs)
}

/// The page as it was written.
#[derive(Debug, Default)]
struct Draft {
    uploads: Vec<(String, String, DateTime<Utc>)>,
    truncated: Option<bool>,
    next: Marker,
    url_encoded: bool,
    key: Option<String>,
    id: Option<String>,
    begun: Option<DateTime<Utc>>,
}

pub(super) fn parse(body: &[u8]) -> Result<Page, String> {
    let mut draft = Draft::default();
    walk(body, |element| draft.take(element.path, element.text))?;
    draft.finish()
}

impl Draft {
    fn take(&mut self, path: &[String], text: String) -> Result<(), String> {
        let names: Vec<&str> = path.iter().map(String::as_str).collect();
        match names[..] {
            [root, ..] if root != "ListMultipartUploadsResult" => {
                return Err("the answer is no listing of uploads".into());
            }
            [_, "IsTruncated"] => self.truncated = Some(read(&text, "IsTruncated")?),
            [_, "NextKeyMarker"] => self.next.key = text,
            [_, "NextUploadIdMarker"] => self.next.id = text,
            [_, "EncodingType"] => self.url_encoded = text == "url",
            [_, "Upload", "Key"] => self.key = Some(text),
            [_, "Upload", "UploadId"] => self.id = Some(text).filter(|id| !id.is_empty()),
            [_, "Upload", "Initiated"] => {
                let begun = DateTime::parse_from_rfc3339(text.trim());
                self.begun = Some(begun.map_err(|_| "Initiated cannot be read")?.to_utc());
            }
            [_, "Upload"] => self.uploads.push((
                self.key.take().ok_or("an upload has no key")?,
                self.id.take().ok_or("an upload has no id")?,
                self.begun.take().ok_or("an upload has no time")?,
            )),
            _ => {}
        }
        Ok(())
    }

    fn finish(self) -> Result<Page, String> {
        let decode = |text: &str| {
            if self.url_encoded {
                unescape(text.replace('+', " ").as_bytes())
            } else {
                Ok(text.as_bytes().to_vec())
            }
        };
        let next = match self.truncated {
            Some(true) if self.next.key.is_empty() => {
                return Err("more is announced, but not where it begins".into());
            }
            Some(true) => Some(Marker {
                key: String::from_utf8(decode(&self.next.key)?).map_err(|_| "a marker is not UTF-8")?,
                id: self.next.id,
            }),
            Some(false) => None,
            None => return Err("the answer does not say whether more follows".into()),
        };
        let uploads = self.uploads.into_iter();
        let uploads = uploads.map(|(key, id, begun)| Ok((decode(&key)?, id, begun)));
        Ok(Page {
            uploads: uploads.collect::<Result<_, String>>()?,
            next,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UPLOAD: &str = "<Upload><Key>a%20b/c</Key><UploadId>7</UploadId><Initiator><ID>no</ID></Initiator>\
                          <Initiated>2025-01-02T03:04:05.678Z</Initiated></Upload>";

    fn page(inside: &str) -> Result<Page, String> {
        let page = format!("<ListMultipartUploadsResult>{inside}</ListMultipartUploadsResult>");
        parse(page.as_bytes())
    }

    #[test]
    fn an_upload_is_read_whole_and_its_key_as_the_page_says() {
        let plain = page(&format!("<IsTruncated>false</IsTruncated>{UPLOAD}")).unwrap();
        assert_eq!(plain.uploads[0].0, b"a%20b/c");
        let encoded = page(&format!(
            "<EncodingType>url</EncodingType><IsTruncated>true</IsTruncated>\
             <NextKeyMarker>a%2Fb</NextKeyMarker><NextUploadIdMarker>9</NextUploadIdMarker>{UPLOAD}"
        ));
        let encoded = encoded.unwrap();
        assert_eq!(encoded.uploads[0].0, b"a b/c");
        assert_eq!(encoded.uploads[0].2.to_rfc3339(), "2025-01-02T03:04:05.678+00:00");
        let next = encoded.next.unwrap();
        assert_eq!((next.key.as_str(), next.id.as_str()), ("a/b", "9"));
        assert_eq!(
            query("town/", &next),
            "encoding-type=url&key-marker=a%2Fb&prefix=town%2F&upload-id-marker=9&uploads="
        );
    }

    #[test]
    fn a_page_that_cannot_be_trusted_is_an_error() {
        let whole = format!(
            "<ListMultipartUploadsResult><IsTruncated>false</IsTruncated>{UPLOAD}</ListMultipartUploadsResult>"
        );
        assert!(parse(whole.as_bytes()).is_ok());
        for cut in 0..whole.len() {
            assert!(parse(&whole.as_bytes()[..cut]).is_err(), "cut at {cut}");
        }
        for bad in [
            UPLOAD.to_owned(),
            format!("<IsTruncated>true</IsTruncated>{UPLOAD}"),
            format!(
                "<IsTruncated>false</IsTruncated>{}",
                UPLOAD.replace("<UploadId>7</UploadId>", "")
            ),
            format!(
                "<IsTruncated>false</IsTruncated>{}",
                UPLOAD.replace("2025-01-02T03:04:05.678Z", "once")
            ),
        ] {
            assert!(page(&bad).is_err(), "{bad}");
        }
        assert!(parse(b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>").is_err());
    }
}
