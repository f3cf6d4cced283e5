//! What tests that run on every remote provider ask of a bucket or container of their own.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::Bucket;

/// A bucket or container, past the provider under test.
pub trait Remote {
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

    /// What the headers of an object's own metadata begin with.
    fn metadata_prefix(&self) -> &'static str;
}

impl Remote for Bucket {
    fn kind(&self) -> &'static str {
        "s3"
    }

    fn root(&self) -> String {
        format!("s3://{}", self.name)
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

    fn metadata_prefix(&self) -> &'static str {
        "x-amz-meta-"
    }
}
