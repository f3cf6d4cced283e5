//! A bucket in memory that answers `ListObjectsV2` by the protocol, in an order of the test's choosing, while keys
//! come and go between requests.

use std::cmp::Ordering;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

use wiremock::matchers::any;
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate};

/// How keys are ordered, and what `start-after` means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// As AWS has it.
    Bytes,
    /// Directory by directory, beginning at the place of `start-after` in that order.
    Components,
    /// Directory by directory, leaving out what is smaller than `start-after` byte by byte.
    ComponentsFiltered,
    /// Capitals beside their small letters, as a database's collation may have it.
    Letters,
    /// By bytes, with no regard to `start-after`.
    Deaf,
}

impl Order {
    fn compare(self, a: &str, b: &str) -> Ordering {
        match self {
            Self::Bytes | Self::Deaf => a.cmp(b),
            Self::Letters => (a.to_lowercase(), a).cmp(&(b.to_lowercase(), b)),
            Self::Components | Self::ComponentsFiltered => a.split('/').cmp(b.split('/')),
        }
    }

    fn after(self, key: &str, marker: &str) -> bool {
        match self {
            Self::ComponentsFiltered => key > marker,
            Self::Deaf => true,
            Self::Bytes | Self::Components | Self::Letters => self.compare(key, marker) == Ordering::Greater,
        }
    }
}

#[derive(Debug, Clone)]
pub struct State {
    pub order: Order,
    pub page_size: usize,
    /// Whole keys that are there all the time.
    pub stable: BTreeSet<String>,
    /// Whole keys that are there at every other request, each in a rhythm of its own.
    pub fleeting: Vec<String>,
    pub requests: usize,
}

#[derive(Clone)]
struct Answers(Arc<Mutex<State>>);

/// The server; its state may be exchanged between listings.
pub struct MemoryBucket {
    pub server: MockServer,
    state: Arc<Mutex<State>>,
}

impl MemoryBucket {
    pub async fn start(state: State) -> Self {
        let server = MockServer::start().await;
        let state = Arc::new(Mutex::new(state));
        Mock::given(any())
            .respond_with(Answers(Arc::clone(&state)))
            .mount(&server)
            .await;
        Self { server, state }
    }

    pub fn set(&self, state: State) {
        *self.state.lock().unwrap() = state;
    }

    pub fn requests(&self) -> usize {
        self.state.lock().unwrap().requests
    }
}

impl Respond for Answers {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let query: HashMap<String, String> = request.url.query_pairs().into_owned().collect();
        let mut state = self.0.lock().unwrap();
        state.requests += 1;
        ResponseTemplate::new(200).set_body_string(page(&state, &query))
    }
}

fn present(state: &State) -> Vec<String> {
    let fleeting = state.fleeting.iter().enumerate();
    let now = fleeting.filter(|(at, _)| (state.requests / (at % 3 + 1)).is_multiple_of(2));
    let mut keys: Vec<String> = state.stable.iter().cloned().collect();
    keys.extend(now.map(|(_, key)| key.clone()));
    keys.sort_by(|a, b| state.order.compare(a, b));
    keys.dedup();
    keys
}

fn page(state: &State, query: &HashMap<String, String>) -> String {
    let get = |name: &str| query.get(name).map_or("", String::as_str);
    let prefix = get("prefix");
    let mut objects = Vec::new();
    let mut folders = BTreeSet::new();
    let mut more = None;
    for key in present(state) {
        let started = |name: &str, after: &dyn Fn(&str) -> bool| query.get(name).is_none_or(|m| after(m));
        if !key.starts_with(prefix)
            || !started("start-after", &|marker| state.order.after(&key, marker))
            || !started("continuation-token", &|marker| {
                state.order.compare(&key, marker) == Ordering::Greater
            })
        {
            continue;
        }
        if query.contains_key("delimiter")
            && let Some((folder, _)) = key[prefix.len()..].split_once('/')
        {
            folders.insert(format!("{prefix}{folder}/"));
            continue;
        }
        if objects.len() == state.page_size {
            more = objects.last().cloned();
            break;
        }
        objects.push(key);
    }
    render(&objects, &folders, more.as_deref())
}

/// A page with these keys, which are written as they are.
pub fn render(objects: &[String], folders: &BTreeSet<String>, more: Option<&str>) -> String {
    use std::fmt::Write as _;
    let mut xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><ListBucketResult><KeyCount>{}</KeyCount><IsTruncated>{}</IsTruncated>",
        objects.len() + folders.len(),
        more.is_some()
    );
    if let Some(token) = more {
        write!(xml, "<NextContinuationToken>{token}</NextContinuationToken>").unwrap();
    }
    for key in objects {
        write!(
            xml,
            "<Contents><Key>{key}</Key><LastModified>2025-01-02T03:04:05Z</LastModified>\
             <ETag>\"e\"</ETag><Size>1</Size></Contents>"
        )
        .unwrap();
    }
    for folder in folders {
        write!(xml, "<CommonPrefixes><Prefix>{folder}</Prefix></CommonPrefixes>").unwrap();
    }
    xml.push_str("</ListBucketResult>");
    xml
}
