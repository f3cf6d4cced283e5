//! What tests that run on every remote provider ask of a bucket or container of their own.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::{ACCOUNT, Bucket, Service};

/// A bucket or container, past the provider under test.
pub trait Remote {
    /// `http://127.0.0.1:PORT`
    fn endpoint(&self) -> &str;

    /// `s3`, `azure`, `gcs`; also the name of its provider in these tests.
    fn kind(&self) -> &'static str;

    /// As a `provider_path` begins, without a `/` at its end.
    fn root(&self) -> String;

    /// An entry for `providers:` in `storage.yml`; `prefix` may be empty.
    fn provider_yaml(&self, name: &str, prefix: &str) -> String;

    fn put(&self, key: &str, body: &[u8]);

    /// What is there, if anything is.
    fn get(&self, key: &str) -> Option<Vec<u8>>;

    /// Status line and headers of a HEAD, in lower case.
    fn head(&self, key: &str) -> String;

    /// The header that holds this of an object's own metadata.
    fn metadata_header(&self, name: &str) -> String;
}

impl Remote for Bucket {
    fn endpoint(&self) -> &str {
        &self.endpoint
    }

    fn kind(&self) -> &'static str {
        match self.service {
            Service::S3 => "s3",
            Service::Azure => "azure",
        }
    }

    fn root(&self) -> String {
        match self.service {
            Service::S3 => format!("s3://{}", self.name),
            Service::Azure => format!("azure://{ACCOUNT}/{}", self.name),
        }
    }

    fn provider_yaml(&self, name: &str, prefix: &str) -> String {
        Self::provider_yaml(self, name, prefix)
    }

    fn put(&self, key: &str, body: &[u8]) {
        Self::put(self, key, body);
    }

    fn get(&self, key: &str) -> Option<Vec<u8>> {
        Self::get(self, key)
    }

    fn head(&self, key: &str) -> String {
        let mut socket = TcpStream::connect(self.endpoint.trim_start_matches("http://")).unwrap();
        socket.write_all(self.request("HEAD", key).as_bytes()).unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        answer.to_lowercase()
    }

    fn metadata_header(&self, name: &str) -> String {
        match self.service {
            Service::S3 => format!("x-amz-meta-{name}"),
            Service::Azure => format!("x-ms-meta-{}", name.replace('-', "_")),
        }
    }
}
