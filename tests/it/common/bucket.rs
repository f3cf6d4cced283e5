//! Buckets on the S3 servers that `make test` starts, and containers on Azurite, which are buckets here too. Requests
//! are signed by `object_store` and sent over a plain socket, so that a test can put any key, and needs no runtime.

use std::fmt::Write as _;
use std::io::{self, Read, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use object_store::aws::{AwsAuthorizer, AwsCredential};
use object_store::azure::{AzureAccessKey, AzureAuthorizer, AzureCredential};
use object_store::client::{HttpRequest, HttpRequestBody};

/// Keys that every test server accepts.
pub const ACCESS_KEY: &str = "civic-test";
pub const SECRET_KEY: &str = "civic-test-secret";
pub const REGION: &str = "us-east-1";
/// Azurite's account, the same everywhere and no secret: Microsoft publishes it.
pub const ACCOUNT: &str = "devstoreaccount1";
pub const ACCOUNT_KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// What a bucket's server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    S3,
    Azure,
}

/// A bucket of one test's own.
#[derive(Debug, Clone)]
pub struct Bucket {
    pub service: Service,
    /// `http://127.0.0.1:PORT`
    pub endpoint: String,
    pub name: String,
}

impl Bucket {
    /// A new, empty bucket on the server that `variable` names.
    pub(super) fn fresh(service: Service, variable: &str) -> Option<Self> {
        let Ok(endpoint) = std::env::var(variable) else {
            leave_out(variable);
            return None;
        };
        let bucket = Self {
            service,
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            name: fresh_name(),
        };
        let query = match service {
            Service::S3 => "",
            Service::Azure => "?restype=container",
        };
        let status = bucket.send("PUT", query, b"");
        assert!(
            matches!(status, 200 | 201),
            "{variable}: no bucket could be made at {}: {status}",
            bucket.endpoint
        );
        Some(bucket)
    }

    /// Puts an object where the server takes its key; says whether it did.
    pub fn try_put(&self, key: impl AsRef<[u8]>, body: impl AsRef<[u8]>) -> bool {
        let status = self.send("PUT", &format!("/{}", encode(key.as_ref())), body.as_ref());
        assert!(
            matches!(status, 200 | 201 | 400 | 403),
            "PUT {} answered {status}",
            key.as_ref().escape_ascii()
        );
        status < 300
    }

    /// Puts an object; the key is taken byte by byte.
    pub fn put(&self, key: impl AsRef<[u8]>, body: impl AsRef<[u8]>) {
        let key = key.as_ref();
        let status = self.send("PUT", &format!("/{}", encode(key)), body.as_ref());
        assert!(
            matches!(status, 200 | 201),
            "PUT {}: {status}",
            key.escape_ascii()
        );
    }

    /// Deletes an object.
    pub fn delete(&self, key: impl AsRef<[u8]>) {
        let status = self.send("DELETE", &format!("/{}", encode(key.as_ref())), b"");
        assert!((200..300).contains(&status), "DELETE answered {status}");
    }

    /// An object's bytes; `None` where there is none.
    pub fn get(&self, key: &str) -> Option<Vec<u8>> {
        let mut answer = self.answer(&self.request("GET", key));
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
        match &answer[9..12] {
            b"200" => Some(answer.split_off(end + 4)),
            b"404" => None,
            _ => panic!("GET {key}: {}", answer.escape_ascii()),
        }
    }

    /// Every name in a container of Azure's, those included of what has blocks and is no blob yet.
    pub fn names(&self) -> Vec<String> {
        let query = "?restype=container&comp=list&include=uncommittedblobs";
        let request = self.head_of("GET", &format!("{}{query}", self.path()), b"");
        let answer = String::from_utf8(self.answer(&request)).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        let names = answer.split("<Name>").skip(1);
        names
            .map(|rest| rest.split("</Name>").next().unwrap().to_owned())
            .collect()
    }

    fn answer(&self, request: &str) -> Vec<u8> {
        let mut socket = TcpStream::connect(self.endpoint.trim_start_matches("http://")).unwrap();
        socket.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer).unwrap();
        answer
    }

    /// An entry for `providers:` in `storage.yml`; `prefix` may be empty.
    pub fn provider_yaml(&self, name: &str, prefix: &str) -> String {
        if self.service == Service::Azure {
            return format!(
                "  {name}:\n    type: azure\n    enabled: true\n    account_name: {ACCOUNT}\n    container_name: {}\n    \
                 endpoint: {}\n    prefix: \"{prefix}\"\n    credentials:\n      account_key: {ACCOUNT_KEY}\n",
                self.name, self.endpoint
            );
        }
        format!(
            "  {name}:\n    type: s3\n    enabled: true\n    region: {REGION}\n    bucket: {}\n    endpoint: {}\n    \
             prefix: \"{prefix}\"\n    credentials:\n      access_key_id: {ACCESS_KEY}\n      \
             secret_access_key: {SECRET_KEY}\n    options:\n      force_path_style: true\n",
            self.name, self.endpoint
        )
    }

    /// A signed request without a body for an object, as it goes over the wire.
    pub fn request(&self, method: &str, key: &str) -> String {
        let target = format!("{}/{}", self.path(), encode(key.as_bytes()));
        self.head_of(method, &target, b"")
    }

    /// Sends a signed request to `/<bucket><path>` and returns the status; `path` is percent-encoded already.
    ///
    /// Again where the server stumbled: rclone answers 500 when two puts make one directory, and may close a
    /// connection before its answer was read. Every request here may be repeated.
    pub fn send(&self, method: &str, path: &str, body: &[u8]) -> u16 {
        let mut last = self.send_once(method, path, body);
        for _ in 0..5 {
            if matches!(last, Ok(status) if status < 500) {
                break;
            }
            std::thread::sleep(Duration::from_millis(100));
            last = self.send_once(method, path, body);
        }
        last.unwrap()
    }

    fn send_once(&self, method: &str, path: &str, body: &[u8]) -> io::Result<u16> {
        let target = format!("{}{path}", self.path());
        let head = self.head_of(method, &target, body);
        let host = self.endpoint.trim_start_matches("http://");
        let mut socket = TcpStream::connect(host)?;
        socket.write_all(&[head.as_bytes(), body].concat())?;
        let mut status_line = [0; 12];
        socket.read_exact(&mut status_line)?;
        // The rest is read so that the server is done when we are; a reset after the status changes nothing.
        let _ = io::copy(&mut socket, &mut io::sink());
        Ok(std::str::from_utf8(&status_line[9..]).unwrap().parse().unwrap())
    }

    /// The bucket in a URL.
    fn path(&self) -> String {
        match self.service {
            Service::S3 => format!("/{}", self.name),
            Service::Azure => format!("/{ACCOUNT}/{}", self.name),
        }
    }

    fn head_of(&self, method: &str, target: &str, body: &[u8]) -> String {
        let request = self.signed(method, target, body);
        let host = self.endpoint.trim_start_matches("http://");
        let mut head = format!("{method} {target} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n");
        for (name, value) in request.headers() {
            write!(head, "{name}: {}\r\n", value.to_str().unwrap()).unwrap();
        }
        head.push_str("\r\n");
        head
    }

    fn signed(&self, method: &str, target: &str, body: &[u8]) -> HttpRequest {
        let mut request = HttpRequest::new(HttpRequestBody::from(body.to_vec()));
        *request.method_mut() = method.parse().unwrap();
        *request.uri_mut() = format!("{}{target}", self.endpoint).parse().unwrap();
        let length = body.len().into();
        match self.service {
            Service::S3 => {
                let credential = AwsCredential {
                    key_id: ACCESS_KEY.to_owned(),
                    secret_key: SECRET_KEY.to_owned(),
                    token: None,
                };
                AwsAuthorizer::new(&credential, "s3", REGION)
                    .try_authorize(&mut request, None)
                    .unwrap();
                request.headers_mut().insert("content-length", length);
            }
            Service::Azure => {
                let headers = request.headers_mut();
                headers.insert("content-length", length);
                headers.insert("x-ms-blob-type", "BlockBlob".parse().unwrap());
                let credential = AzureCredential::AccessKey(AzureAccessKey::try_new(ACCOUNT_KEY).unwrap());
                AzureAuthorizer::new(&credential, ACCOUNT)
                    .try_authorize(&mut request)
                    .unwrap();
            }
        }
        request
    }
}

/// Unlike any other test's, in this process, beside it or before it.
pub(super) fn fresh_name() -> String {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let nanos = UNIX_EPOCH.elapsed().unwrap().as_nanos();
    format!("test-{nanos}-{}-{count}", std::process::id())
}

/// Percent-encodes as SigV4 wants it: everything but unreserved characters and `/`.
pub(super) fn encode(key: &[u8]) -> String {
    let mut out = String::new();
    for &byte in key {
        if byte.is_ascii_alphanumeric() || b"-_.~/".contains(&byte) {
            out.push(byte.into());
        } else {
            write!(out, "%{byte:02X}").unwrap();
        }
    }
    out
}

/// Says on the real stderr, past the test runner's capture, that the running test is left out, and how many were.
pub(super) fn leave_out(variable: &str) {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed) + 1;
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    let line =
        format!("\nleft out: {test} needs {variable}; `make test` starts it ({count} left out so far)\n");
    io::stderr().write_all(line.as_bytes()).unwrap();
}
