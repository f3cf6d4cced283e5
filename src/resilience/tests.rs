//! The HTTP client under faults, in virtual time: no test here sleeps.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ::http::{Method, Response};
use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use object_store::client::{
    HttpClient, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody, HttpResponse, HttpResponseBody,
    HttpService,
};
use tokio::time::Instant;

use super::wire::Wire;
use super::*;

#[derive(Debug, Clone)]
enum Step {
    Answer(u16, Vec<(&'static str, &'static str)>),
    Break(HttpErrorKind),
    Silence,
}

/// Does as it is told, and then answers 200; notes when it was asked.
#[derive(Debug, Default)]
struct Server {
    steps: Mutex<VecDeque<Step>>,
    asked: Mutex<Vec<Instant>>,
    at_once: AtomicUsize,
    most_at_once: AtomicUsize,
    /// Pools that were made.
    pools: AtomicUsize,
}

#[derive(Debug)]
struct Connection(Arc<Server>);

#[async_trait]
impl HttpService for Connection {
    async fn call(&self, _request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let server = &self.0;
        server.asked.lock().unwrap().push(Instant::now());
        let now = server.at_once.fetch_add(1, Ordering::SeqCst) + 1;
        server.most_at_once.fetch_max(now, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(1)).await;
        let step = server.steps.lock().unwrap().pop_front();
        if matches!(step, Some(Step::Silence)) {
            tokio::time::sleep(Duration::from_secs(86_400)).await;
        }
        server.at_once.fetch_sub(1, Ordering::SeqCst);
        match step.unwrap_or(Step::Answer(200, vec![])) {
            Step::Break(kind) => Err(HttpError::new(kind, std::io::Error::other("broken"))),
            Step::Answer(status, headers) => {
                let answer = headers
                    .into_iter()
                    .fold(Response::builder().status(status), |answer, (name, value)| {
                        answer.header(name, value)
                    });
                Ok(answer.body(HttpResponseBody::from(Vec::new())).unwrap())
            }
            Step::Silence => unreachable!("nobody waits for so long"),
        }
    }
}

impl Server {
    fn told(steps: impl IntoIterator<Item = Step>) -> Arc<Self> {
        Arc::new(Self {
            steps: Mutex::new(steps.into_iter().collect()),
            ..Self::default()
        })
    }

    /// Seconds between one request and the next.
    fn gaps(&self) -> Vec<f64> {
        let asked = self.asked.lock().unwrap();
        asked
            .windows(2)
            .map(|pair| (pair[1] - pair[0]).as_secs_f64())
            .collect()
    }

    fn count(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

fn answers(status: u16, count: usize) -> Vec<Step> {
    vec![Step::Answer(status, vec![]); count]
}

fn policy() -> Policy {
    Policy {
        retry: RetryPolicy {
            retries: 3,
            first_wait: Duration::from_secs(1),
            longest_wait: Duration::from_secs(10),
            multiplier: 2.0,
            budget: None,
        },
        timeouts: Timeouts {
            connect: Duration::from_secs(10),
            list: Duration::from_secs(30),
            upload: Duration::from_secs(300),
            download: Duration::from_secs(600),
            delete: Duration::from_secs(31),
            stall: Duration::from_secs(60),
        },
        circuit: Some(CircuitPolicy {
            threshold: 5,
            timeout: Duration::from_secs(60),
        }),
        connections: 10,
    }
}

/// Time as the paused clock has it.
fn now() -> DateTime<Utc> {
    thread_local! {
        static BEGAN: Instant = Instant::now();
    }
    let passed = BEGAN.with(|began| Instant::now() - *began);
    DateTime::from_timestamp(1_700_000_000, 0).unwrap() + TimeDelta::from_std(passed).unwrap()
}

fn client(server: &Arc<Server>, policy: Policy, store: Option<Arc<dyn CircuitStore>>) -> HttpClient {
    let circuit = Circuit::new("town", policy.circuit, store, now);
    let shield = Arc::new(Shield::new("town", policy, circuit));
    let (timeouts, server) = (shield.policy.timeouts, Arc::clone(server));
    let make = move || {
        server.pools.fetch_add(1, Ordering::SeqCst);
        Ok(HttpClient::new(Connection(Arc::clone(&server))))
    };
    let wire = Wire::of(timeouts, Box::new(make)).unwrap();
    Resilient::over(wire, &shield, "there:1")
}

fn request(method: &Method) -> HttpRequest {
    let mut request = HttpRequest::new(HttpRequestBody::empty());
    *request.method_mut() = method.clone();
    *request.uri_mut() = "http://there:1/bucket/key".parse().unwrap();
    request
}

async fn ask(client: &HttpClient) -> Result<u16, HttpError> {
    let answer = client.execute(request(&Method::PUT)).await?;
    Ok(answer.status().as_u16())
}

fn near(gaps: &[f64], nominal: &[f64]) -> bool {
    // The server itself takes a millisecond.
    let fits = |(gap, nominal): (&f64, &f64)| *gap >= nominal * 0.8 && *gap <= nominal + 0.002;
    gaps.len() == nominal.len() && gaps.iter().zip(nominal).all(fits)
}

#[tokio::test(start_paused = true)]
async fn a_fault_that_passes_is_absorbed_and_one_that_stays_is_told() {
    let server = Server::told([
        Step::Answer(503, vec![]),
        Step::Break(HttpErrorKind::Connect),
        Step::Break(HttpErrorKind::Interrupted),
    ]);
    assert_eq!(ask(&client(&server, policy(), None)).await.unwrap(), 200);
    assert!(near(&server.gaps(), &[1.0, 2.0, 4.0]), "{:?}", server.gaps());
    let server = Server::told(answers(500, 9));
    assert_eq!(ask(&client(&server, policy(), None)).await.unwrap(), 500);
    assert_eq!(server.count(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_not_tried_again() {
    for status in [301, 400, 401, 403, 404, 405, 409, 411, 412, 416, 501] {
        let server = Server::told(answers(status, 9));
        assert_eq!(ask(&client(&server, policy(), None)).await.unwrap(), status);
        assert_eq!(server.count(), 1, "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_provider_is_left_alone_for_as_long_as_it_asks() {
    let server = Server::told([Step::Answer(429, vec![("retry-after", "7")])]);
    assert_eq!(ask(&client(&server, policy(), None)).await.unwrap(), 200);
    let gap = server.gaps()[0];
    assert!((7.0..=8.5).contains(&gap), "{gap}");
    let server = Server::told([Step::Answer(503, vec![("retry-after", "86400")])]);
    assert_eq!(ask(&client(&server, policy(), None)).await.unwrap(), 503);
    assert_eq!(server.count(), 1, "nobody waits for a day");
}

#[tokio::test(start_paused = true)]
async fn silence_ends_at_the_limit_of_what_is_done() {
    let cases = [
        (Method::HEAD, "list_timeout", 30),
        (Method::PUT, "upload_timeout", 300),
        (Method::DELETE, "delete_timeout", 31),
        (Method::GET, "stall_timeout", 60),
    ];
    for (method, key, seconds) in cases {
        let server = Server::told(vec![Step::Silence; 9]);
        let error = client(&server, policy(), None)
            .execute(request(&method))
            .await
            .unwrap_err();
        let limit = Duration::from_secs(seconds);
        assert_eq!(
            Stop::within(&error),
            Some(Stop::TimedOut { limit, key }),
            "{method}: {error:?}"
        );
        assert_eq!(server.count(), 4);
        assert_eq!(
            server.at_once.load(Ordering::SeqCst),
            4,
            "dropped, so that it never went on"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn while_the_circuit_is_open_nothing_is_sent_and_then_one_probe() {
    let server = Server::told(answers(503, 5 * 4));
    let client = client(&server, policy(), None);
    for _ in 0..5 {
        assert_eq!(ask(&client).await.unwrap(), 503);
    }
    let sent = server.count();
    let error = ask(&client).await.unwrap_err();
    assert!(
        matches!(Stop::within(&error), Some(Stop::CircuitOpen { .. })),
        "{error}"
    );
    assert_eq!(server.count(), sent, "open means no request at all");
    tokio::time::sleep(Duration::from_secs(61)).await;
    server.steps.lock().unwrap().extend(answers(503, 1));
    let several = futures::future::join_all((0..8).map(|_| ask(&client))).await;
    assert_eq!(
        server.count(),
        sent + 1,
        "a single probe, and it is not tried again"
    );
    assert_eq!(several.iter().filter(|answer| answer.is_ok()).count(), 1);
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert_eq!(ask(&client).await.unwrap(), 200);
    assert_eq!(ask(&client).await.unwrap(), 200);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_the_providers_fault_never_opens_the_circuit() {
    for status in [400, 403, 404, 429] {
        let server = Server::told(answers(status, 100));
        let client = client(&server, policy(), None);
        for _ in 0..10 {
            assert_eq!(ask(&client).await.unwrap(), status);
        }
    }
}

/// What processes share.
#[derive(Debug, Default)]
struct Shared(Mutex<HashMap<String, String>>);

#[async_trait]
impl CircuitStore for Shared {
    async fn load(&self, provider: &str) -> Result<Option<String>, String> {
        Ok(self.0.lock().unwrap().get(provider).cloned())
    }

    async fn swap(&self, provider: &str, expected: Option<&str>, state: &str) -> Result<bool, String> {
        let mut all = self.0.lock().unwrap();
        if all.get(provider).map(String::as_str) != expected {
            return Ok(false);
        }
        all.insert(provider.to_owned(), state.to_owned());
        Ok(true)
    }
}

#[tokio::test(start_paused = true)]
async fn processes_count_together_and_send_one_probe_between_them() {
    let shared: Arc<dyn CircuitStore> = Arc::new(Shared::default());
    let server = Server::told(answers(500, 5 * 4));
    let clients: Vec<_> = (0..5)
        .map(|_| client(&server, policy(), Some(Arc::clone(&shared))))
        .collect();
    for client in &clients {
        assert_eq!(ask(client).await.unwrap(), 500);
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let sent = server.count();
    for answer in futures::future::join_all(clients.iter().map(ask)).await {
        assert!(answer.is_err());
    }
    assert_eq!(
        server.count(),
        sent,
        "each had one failure of its own, and all of them five"
    );
    tokio::time::sleep(Duration::from_secs(61)).await;
    let answers = futures::future::join_all(clients.iter().map(ask)).await;
    assert_eq!(server.count(), sent + 1);
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
    tokio::time::sleep(Duration::from_secs(2)).await;
    for answer in futures::future::join_all(clients.iter().map(ask)).await {
        assert_eq!(answer.unwrap(), 200);
    }
}

#[tokio::test(start_paused = true)]
async fn with_somewhere_else_to_go_all_retries_together_end_within_three_seconds() {
    let mut policy = policy();
    policy.circuit = None;
    policy.retry.budget = Some(RETRIES_BEFORE_FAILOVER);
    let server = Server::told(answers(503, 1000));
    let client = client(&server, policy, None);
    let began = Instant::now();
    futures::future::join_all((0..20).map(|_| ask(&client))).await;
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    let sent = server.count();
    assert!(
        (40..=60).contains(&sent),
        "each was tried again once or twice: {sent}"
    );
    tokio::time::sleep(Duration::from_secs(3)).await;
    ask(&client).await.unwrap();
    assert_eq!(
        server.count(),
        sent + 1,
        "the budget is that of the outage, and it is spent"
    );
    tokio::time::sleep(Duration::from_secs(31)).await;
    ask(&client).await.unwrap();
    assert!(server.count() > sent + 2, "a later outage is another");
}

#[tokio::test(start_paused = true)]
async fn a_retry_that_meets_silence_does_not_outlast_the_budget() {
    let mut policy = policy();
    policy.retry.budget = Some(RETRIES_BEFORE_FAILOVER);
    let server = Server::told([Step::Break(HttpErrorKind::Interrupted), Step::Silence]);
    let began = Instant::now();
    assert!(ask(&client(&server, policy, None)).await.is_err());
    assert!(began.elapsed() <= Duration::from_secs(4), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn no_more_requests_are_under_way_than_there_may_be_connections() {
    let mut policy = policy();
    policy.connections = 3;
    let server = Server::told([]);
    let client = client(&server, policy, None);
    for answer in futures::future::join_all((0..20).map(|_| ask(&client))).await {
        assert_eq!(answer.unwrap(), 200);
    }
    assert_eq!(server.most_at_once.load(Ordering::SeqCst), 3);
}

#[tokio::test(start_paused = true)]
async fn connections_that_keep_breaking_are_made_anew_before_the_next_try() {
    let breaks = |count| vec![Step::Break(HttpErrorKind::Interrupted); count];
    let server = Server::told(breaks(3));
    assert_eq!(ask(&client(&server, policy(), None)).await.unwrap(), 200);
    assert_eq!(server.pools.load(Ordering::SeqCst), 2);
    let server = Server::told(breaks(2));
    assert_eq!(ask(&client(&server, policy(), None)).await.unwrap(), 200);
    assert_eq!(server.pools.load(Ordering::SeqCst), 1, "a blip is none");
}
