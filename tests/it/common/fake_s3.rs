//! An S3 endpoint that lies on request: it lists what it is told, in the order and pages it is told, and fails
//! where it is told. For faults that no healthy server shows; everything else is tested on real servers.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate};

pub const BUCKET: &str = "civic";

/// One object as the listing shows it.
#[derive(Debug, Clone)]
pub struct FakeObject {
    pub key: String,
    pub size: u64,
    pub last_modified: DateTime<Utc>,
}

/// How the endpoint behaves.
#[derive(Debug, Clone)]
pub struct Behaviour {
    /// In the order they are listed.
    pub objects: Vec<FakeObject>,
    pub page_size: usize,
    /// The listing's n-th page (from 1) answers with this status.
    pub fail_page: Option<(usize, u16)>,
    /// Keys that exist, though no listing shows them.
    pub hidden: Vec<FakeObject>,
    /// HEAD of these keys answers with this status.
    pub head_status: HashMap<String, u16>,
    /// Seconds that the endpoint's clock is ahead.
    pub clock_ahead: i64,
    pub delay: Duration,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            objects: Vec::new(),
            page_size: 1000,
            fail_page: None,
            hidden: Vec::new(),
            head_status: HashMap::new(),
            clock_ahead: 0,
            delay: Duration::ZERO,
        }
    }
}

/// The running endpoint; it ends when dropped.
pub struct FakeS3 {
    server: MockServer,
    heads: Arc<AtomicUsize>,
    runtime: tokio::runtime::Runtime,
}

impl FakeS3 {
    pub fn start(behaviour: Behaviour) -> Self {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let heads = Arc::new(AtomicUsize::new(0));
        let responder = Responder {
            behaviour,
            pages: AtomicUsize::new(0),
            heads: heads.clone(),
        };
        let server = runtime.block_on(async {
            let server = MockServer::start().await;
            Mock::given(any()).respond_with(responder).mount(&server).await;
            server
        });
        Self {
            server,
            heads,
            runtime,
        }
    }

    pub fn endpoint(&self) -> String {
        self.server.uri()
    }

    /// HEAD requests answered so far.
    pub fn heads(&self) -> usize {
        self.heads.load(Ordering::SeqCst)
    }

    /// A header of the first request of this method whose path holds the text.
    pub fn header_of(&self, method: &str, path: &str, name: &str) -> Option<String> {
        let requests = self.runtime.block_on(self.server.received_requests())?;
        let mut asked = requests
            .iter()
            .filter(|request| request.method.as_str() == method);
        let request = asked.find(|request| request.url.path().contains(path))?;
        Some(request.headers.get(name)?.to_str().ok()?.to_owned())
    }

    /// Methods of all requests that would have changed something.
    pub fn writes(&self) -> Vec<String> {
        let requests = self
            .runtime
            .block_on(self.server.received_requests())
            .unwrap_or_default();
        let methods = requests.iter().map(|request| request.method.to_string());
        methods
            .filter(|method| !matches!(method.as_str(), "GET" | "HEAD"))
            .collect()
    }
}

struct Responder {
    behaviour: Behaviour,
    pages: AtomicUsize,
    heads: Arc<AtomicUsize>,
}

impl Respond for Responder {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let now = Utc::now() + chrono::TimeDelta::seconds(self.behaviour.clock_ahead);
        let answer = match request.method.as_str() {
            // It holds no bytes of any object.
            "GET" if request.url.path().trim_matches('/') != BUCKET => {
                ResponseTemplate::new(404).set_body_string("<Error><Code>NoSuchKey</Code></Error>")
            }
            "GET" => self.list(request),
            "HEAD" => self.head(request),
            _ => ResponseTemplate::new(405),
        };
        answer
            .insert_header(
                "Date",
                now.format("%a, %d %b %Y %H:%M:%S GMT").to_string().as_str(),
            )
            .set_delay(self.behaviour.delay)
    }
}

impl Responder {
    fn list(&self, request: &Request) -> ResponseTemplate {
        let query: HashMap<String, String> = request.url.query_pairs().into_owned().collect();
        let max: usize = query.get("max-keys").and_then(|n| n.parse().ok()).unwrap_or(1000);
        // The probe asks for a single key: it is no page of the listing.
        if max > 1 {
            let page = self.pages.fetch_add(1, Ordering::SeqCst) + 1;
            if let Some((_, status)) = self.behaviour.fail_page.filter(|(at, _)| *at == page) {
                return ResponseTemplate::new(status).set_body_string("<Error><Code>Injected</Code></Error>");
            }
        }
        let prefix = query.get("prefix").map_or("", String::as_str);
        let from: usize = query
            .get("continuation-token")
            .and_then(|t| t.parse().ok())
            .unwrap_or(0);
        let after = query.get("start-after").map_or("", String::as_str);
        let all: Vec<&FakeObject> = self
            .behaviour
            .objects
            .iter()
            .filter(|o| o.key.starts_with(prefix) && (after.is_empty() || o.key.as_str() > after))
            .collect();
        let end = (from + max.min(self.behaviour.page_size)).min(all.len());
        let page = &all[from.min(end)..end];
        ResponseTemplate::new(200)
            .set_body_raw(listing(page, (end < all.len()).then_some(end)), "application/xml")
    }

    fn head(&self, request: &Request) -> ResponseTemplate {
        self.heads.fetch_add(1, Ordering::SeqCst);
        let path = request.url.path().trim_start_matches('/');
        let key = path.strip_prefix(BUCKET).unwrap_or(path).trim_start_matches('/');
        if let Some(status) = self.behaviour.head_status.get(key) {
            return ResponseTemplate::new(*status);
        }
        let mut all = self.behaviour.objects.iter().chain(&self.behaviour.hidden);
        all.find(|o| o.key == key).map_or_else(
            || ResponseTemplate::new(404),
            |o| {
                ResponseTemplate::new(200)
                    .insert_header("ETag", "\"0\"")
                    .insert_header("Content-Length", o.size.to_string().as_str())
                    .insert_header(
                        "Last-Modified",
                        o.last_modified
                            .format("%a, %d %b %Y %H:%M:%S GMT")
                            .to_string()
                            .as_str(),
                    )
                    .set_body_bytes(vec![0; usize::try_from(o.size).unwrap_or(0)])
            },
        )
    }
}

fn listing(page: &[&FakeObject], next: Option<usize>) -> String {
    use std::fmt::Write as _;
    let mut xml = format!(
        "<ListBucketResult><Name>{BUCKET}</Name><KeyCount>{}</KeyCount><IsTruncated>{}</IsTruncated>",
        page.len(),
        next.is_some()
    );
    for object in page {
        let at = object
            .last_modified
            .to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
        write!(
            xml,
            "<Contents><Key>{}</Key><LastModified>{at}</LastModified><ETag>\"0\"</ETag><Size>{}</Size></Contents>",
            object.key.replace('&', "&amp;").replace('<', "&lt;"),
            object.size
        )
        .expect("writing to a string");
    }
    if let Some(next) = next {
        write!(xml, "<NextContinuationToken>{next}</NextContinuationToken>").expect("writing to a string");
    }
    xml + "</ListBucketResult>"
}
