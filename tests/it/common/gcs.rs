//! Buckets on the double of Google Cloud Storage that `make test` starts (tests/servers/gcs). Requests go over a plain
//! socket, with a token of the double's metadata server.

use std::fmt::Write as _;
use std::io::{self, Read, Write as _};
use std::net::TcpStream;

use serde_json::Value;

use super::bucket::{encode, fresh_name, leave_out};
use super::remote::Remote;

const METADATA_SERVER: &str = "/computeMetadata/v1/instance/service-accounts/default/token";

/// A bucket of one test's own.
#[derive(Debug, Clone)]
pub struct GcsBucket {
    /// `http://127.0.0.1:PORT`
    pub endpoint: String,
    pub name: String,
    token: String,
}

/// An answer, its head in lower case.
#[derive(Debug)]
pub struct GcsAnswer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl GcsBucket {
    /// A new, empty bucket on the server that `CIVIC_TEST_GCS` names.
    pub(super) fn fresh() -> Option<Self> {
        const VARIABLE: &str = "CIVIC_TEST_GCS";
        let Ok(endpoint) = std::env::var(VARIABLE) else {
            leave_out(VARIABLE);
            return None;
        };
        let mut bucket = Self {
            endpoint,
            name: fresh_name(),
            token: String::new(),
        };
        let answer = bucket.ask("GET", METADATA_SERVER, b"");
        let token: Value = serde_json::from_slice(&answer.body).unwrap();
        token["access_token"]
            .as_str()
            .unwrap()
            .clone_into(&mut bucket.token);
        let body = format!(r#"{{"name":"{}"}}"#, bucket.name);
        let made = bucket.ask("POST", "/storage/v1/b?project=civic-test", body.as_bytes());
        assert_eq!(made.status, 200, "no bucket could be made at {}", bucket.endpoint);
        Some(bucket)
    }

    /// The same bucket, asked with another token.
    pub fn with_token(&self, token: &str) -> Self {
        Self {
            token: token.to_owned(),
            ..self.clone()
        }
    }

    /// What `gcloud iam service-accounts keys create` would write.
    pub fn key_file(&self) -> String {
        let answer = self.ask("GET", "/double/service-account.json", b"");
        String::from_utf8(answer.body).unwrap()
    }

    /// What `gcloud auth application-default login` would leave.
    pub fn user_file(&self) -> String {
        let answer = self.ask("GET", "/double/user.json", b"");
        String::from_utf8(answer.body).unwrap()
    }

    /// The certificate of Google's token service, to which the double is the proxy.
    pub fn tokens_certificate(&self) -> String {
        let answer = self.ask("GET", "/double/tokens.pem", b"");
        String::from_utf8(answer.body).unwrap()
    }

    /// Puts an object where the server takes its name; says whether it did.
    pub fn try_put(&self, key: &str, body: &[u8]) -> bool {
        let status = self.object("PUT", key, body).status;
        assert!(matches!(status, 200 | 400), "PUT {key:?} answered {status}");
        status == 200
    }

    /// Any request about an object, to the XML API.
    pub fn object(&self, method: &str, key: &str, body: &[u8]) -> GcsAnswer {
        let path = format!("/{}/{}", self.name, encode(key.as_bytes()));
        self.ask(method, &path, body)
    }

    /// From now on requests fail as these faults say; see `fault` in tests/servers/gcs.
    pub fn faults(&self, faults: &Value) {
        let path = format!("/double/faults/{}", self.name);
        assert_eq!(self.ask("POST", &path, faults.to_string().as_bytes()).status, 204);
    }

    /// `clockAhead` in seconds, `rewriteStep` in bytes.
    pub fn settings(&self, settings: &Value) {
        let path = format!("/double/settings/{}", self.name);
        assert_eq!(
            self.ask("POST", &path, settings.to_string().as_bytes()).status,
            204
        );
    }

    /// Method and target of every request that came for this bucket.
    pub fn requests(&self) -> Vec<String> {
        let answer = self.ask("GET", &format!("/double/requests/{}", self.name), b"");
        serde_json::from_slice(&answer.body).unwrap()
    }

    /// What the JSON API says of an object.
    pub fn resource(&self, key: &str) -> Value {
        let key = encode(key.as_bytes()).replace('/', "%2F");
        let answer = self.ask("GET", &format!("/storage/v1/b/{}/o/{key}", self.name), b"");
        serde_json::from_slice(&answer.body).unwrap()
    }

    /// The names of all objects, at most 1,000.
    pub fn names(&self) -> Vec<String> {
        let answer = self.ask("GET", &format!("/storage/v1/b/{}/o", self.name), b"");
        let page: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(page["nextPageToken"], Value::Null, "more than a page");
        let items = page["items"].as_array().cloned().unwrap_or_default();
        let names = items.iter().map(|item| item["name"].as_str().unwrap().to_owned());
        names.collect()
    }

    /// How many uploads in parts are neither complete nor aborted.
    pub fn uploads(&self) -> usize {
        let answer = self.ask("GET", &format!("/{}?uploads", self.name), b"");
        assert_eq!(answer.status, 200);
        String::from_utf8(answer.body)
            .unwrap()
            .matches("<UploadId>")
            .count()
    }

    fn ask(&self, method: &str, target: &str, body: &[u8]) -> GcsAnswer {
        let host = self.endpoint.trim_start_matches("http://");
        let mut head = format!("{method} {target} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n");
        if !self.token.is_empty() {
            write!(head, "authorization: Bearer {}\r\n", self.token).unwrap();
        }
        write!(
            head,
            "metadata-flavor: Google\r\ncontent-length: {}\r\n\r\n",
            body.len()
        )
        .unwrap();
        let mut socket = TcpStream::connect(host).unwrap();
        socket.write_all(&[head.as_bytes(), body].concat()).unwrap();
        read_answer(socket).unwrap()
    }
}

fn read_answer(mut socket: TcpStream) -> io::Result<GcsAnswer> {
    let mut whole = Vec::new();
    socket.read_to_end(&mut whole)?;
    let end = whole.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    let head = String::from_utf8_lossy(&whole[..end]).to_lowercase();
    Ok(GcsAnswer {
        status: head[9..12].parse().unwrap(),
        head,
        body: whole.split_off(end),
    })
}

impl Remote for GcsBucket {
    fn endpoint(&self) -> &str {
        &self.endpoint
    }

    fn kind(&self) -> &'static str {
        "gcs"
    }

    fn root(&self) -> String {
        format!("gs://{}", self.name)
    }

    fn provider_yaml(&self, name: &str, prefix: &str) -> String {
        let key = self.key_file().replace('\'', "''");
        format!(
            "  {name}:\n    type: gcs\n    enabled: true\n    bucket: {}\n    endpoint: {}\n    \
             prefix: \"{prefix}\"\n    credentials:\n      service_account_key: '{key}'\n",
            self.name, self.endpoint
        )
    }

    fn put(&self, key: &str, body: &[u8]) {
        assert!(self.try_put(key, body), "PUT {key:?}");
    }

    fn get(&self, key: &str) -> Option<Vec<u8>> {
        let answer = self.object("GET", key, b"");
        (answer.status == 200).then_some(answer.body)
    }

    fn head(&self, key: &str) -> String {
        self.object("HEAD", key, b"").head
    }

    fn metadata_header(&self, name: &str) -> String {
        format!("x-goog-meta-{name}")
    }
}
