//! What S3 answers when it is not well: every such answer is an error of the right kind, after what came before
//! it, and no error's text holds a secret.

use std::collections::BTreeSet;
use std::time::Duration;

use civic_storage::config::{ProviderConfig, ProviderKind};
use civic_storage::providers::{Key, ListRequest, Listed, Provider, ProviderError, build, mapping_of};
use wiremock::matchers::{header, method, path, query_param, query_param_is_missing};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::bucket::render;
use super::{block_on, gcs, global, keys, listed, s3};

fn provider(server: &MockServer) -> Provider {
    build(&s3(&server.uri(), "bucket", "town/"), &global()).unwrap()
}

fn body(names: &[&str], more: Option<&str>) -> String {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    render(&names, &BTreeSet::new(), more)
}

fn page(names: &[&str], more: Option<&str>) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_string(body(names, more))
}

fn error(status: u16, code: &str) -> ResponseTemplate {
    ResponseTemplate::new(status).set_body_string(format!(
        "<Error><Code>{code}</Code><Message>Signature=0123 of civic-test-secret</Message><RequestId>REQ1</RequestId></Error>"
    ))
}

/// Answers the first page with the one template, and the page after `token` with the other.
async fn first(server: &MockServer, answer: ResponseTemplate) {
    Mock::given(method("GET"))
        .and(query_param_is_missing("continuation-token"))
        .respond_with(answer)
        .mount(server)
        .await;
}

async fn after(server: &MockServer, token: &str, answer: ResponseTemplate) {
    Mock::given(method("GET"))
        .and(query_param("continuation-token", token))
        .respond_with(answer)
        .mount(server)
        .await;
}

/// Lists a bucket whose only answer is this one.
fn listing_of(answer: ResponseTemplate) -> (Vec<Listed>, Option<ProviderError>) {
    block_on(async {
        let server = MockServer::start().await;
        first(&server, answer).await;
        listed(&provider(&server), ListRequest::default()).await
    })
}

fn failure_of(answer: ResponseTemplate) -> ProviderError {
    let (entries, error) = listing_of(answer);
    assert_eq!(entries, [], "nothing may be shown of a page that failed");
    let error = error.expect("an error");
    let text = format!("{error} {error:?}");
    assert!(!text.contains("secret") && !text.contains("Signature="), "{text}");
    error
}

#[test]
fn a_listing_that_fails_on_page_three_of_five_ends_with_an_error_after_two_pages() {
    block_on(async {
        let server = MockServer::start().await;
        first(&server, page(&["town/a"], Some("t1"))).await;
        after(&server, "t1", page(&["town/b"], Some("t2"))).await;
        after(&server, "t2", error(500, "InternalError")).await;
        let (entries, error) = listed(&provider(&server), ListRequest::default()).await;
        assert_eq!(
            entries.iter().map(|e| e.key.clone()).collect::<Vec<_>>(),
            [Key::from("a"), Key::from("b")]
        );
        let error = error.unwrap();
        assert!(matches!(error, ProviderError::Unavailable { .. }), "{error:?}");
        assert_eq!(
            error.to_string(),
            "town: list failed: HTTP 500 InternalError (request id REQ1)"
        );
    });
}

#[test]
fn a_refusal_is_no_outage_and_an_outage_no_refusal() {
    for status in [401, 403] {
        let error = failure_of(error(status, "AccessDenied"));
        assert!(matches!(error, ProviderError::Denied { .. }), "{error:?}");
    }
    for status in [408, 429, 500, 502, 503, 504] {
        let error = failure_of(error(status, "SlowDown"));
        assert!(matches!(error, ProviderError::Unavailable { .. }), "{error:?}");
    }
    let error = failure_of(error(400, "InvalidArgument"));
    assert!(matches!(error, ProviderError::Invalid { .. }), "{error:?}");
}

#[test]
fn a_missing_bucket_is_a_missing_root_and_any_other_404_is_not() {
    let missing = failure_of(error(404, "NoSuchBucket"));
    assert_eq!(missing.to_string(), "town: s3://bucket does not exist");
    let other = failure_of(ResponseTemplate::new(404).set_body_string("not here"));
    assert!(matches!(other, ProviderError::Invalid { .. }), "{other:?}");
}

#[test]
fn a_wrong_region_is_a_configuration_error_that_names_the_right_one() {
    let moved = ResponseTemplate::new(301).insert_header("x-amz-bucket-region", "eu-west-1");
    let malformed = ResponseTemplate::new(400).set_body_string(
        "<Error><Code>AuthorizationHeaderMalformed</Code><Region>eu-west-1</Region></Error>",
    );
    for answer in [moved, malformed] {
        let error = failure_of(answer);
        assert!(matches!(error, ProviderError::Configuration { .. }), "{error:?}");
        assert!(
            error.to_string().contains("in region eu-west-1, not us-east-1"),
            "{error}"
        );
    }
}

#[test]
fn an_answer_that_is_no_whole_listing_is_an_error() {
    let whole = body(&["town/a", "town/b"], None);
    for answer in [
        whole[..whole.len() / 2].to_owned(),
        whole.replace("</Contents>", "</Content>"),
        "<!DOCTYPE html><html><body>Please sign in</body></html>".to_owned(),
        String::new(),
        whole.replace("<KeyCount>2<", "<KeyCount>3<"),
        whole.replace("<IsTruncated>false<", "<IsTruncated>true<"),
        whole.replace("town/b", "townhall/b"),
    ] {
        let error = failure_of(ResponseTemplate::new(200).set_body_string(answer));
        assert!(matches!(error, ProviderError::Invalid { .. }), "{error:?}");
    }
}

#[test]
fn a_connection_that_breaks_within_a_page_is_an_outage() {
    use std::io::{Read, Write};
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", socket.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        let (mut client, _) = socket.accept().unwrap();
        let mut request = [0; 4096];
        let _length = client.read(&mut request).unwrap();
        let page = body(&["town/a"], None);
        write!(
            client,
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{}",
            page.len() + 9,
            page
        )
        .unwrap();
    });
    let provider = build(&s3(&endpoint, "bucket", "town/"), &global()).unwrap();
    let (entries, error) = block_on(listed(&provider, ListRequest::default()));
    server.join().unwrap();
    assert_eq!(entries, [], "even though what came could be read");
    assert!(
        matches!(error, Some(ProviderError::Unavailable { .. })),
        "{error:?}"
    );
}

#[test]
fn nobody_listening_is_an_outage_that_does_not_tell_what_was_sent() {
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let provider = build(&s3(&format!("http://{free}"), "bucket", "town/"), &global()).unwrap();
    let error = block_on(provider.probe()).unwrap_err();
    let text = format!("{error} {error:?}");
    assert!(matches!(error, ProviderError::Unavailable { .. }), "{text}");
    assert!(
        text.contains("refused") && !text.contains("list-type") && !text.contains("secret"),
        "{text}"
    );
}

#[test]
fn a_page_that_comes_too_slowly_is_an_outage() {
    block_on(async {
        let server = MockServer::start().await;
        first(&server, page(&["town/a"], None).set_delay(Duration::from_secs(5))).await;
        let mut global = global();
        global.list_timeout = Duration::from_millis(200);
        let provider = build(&s3(&server.uri(), "bucket", "town/"), &global).unwrap();
        let (_, error) = listed(&provider, ListRequest::default()).await;
        let error = error.unwrap();
        assert_eq!(
            error.to_string(),
            "town: list timed out: no whole answer within 200 ms (list_timeout)"
        );
    });
}

#[test]
fn a_listing_that_goes_in_circles_ends_with_an_error() {
    let cases: [[(&str, &[&str], &str); 3]; 2] = [
        [
            ("", &["town/a"], "t1"),
            ("t1", &["town/b"], "t2"),
            ("t2", &["town/c"], "t1"),
        ],
        [
            ("", &["town/a"], "t1"),
            ("t1", &["town/b"], "t2"),
            ("t2", &["town/a"], "t3"),
        ],
    ];
    for case in cases {
        block_on(async {
            let server = MockServer::start().await;
            for (token, names, more) in case {
                match token {
                    "" => first(&server, page(names, Some(more))).await,
                    token => after(&server, token, page(names, Some(more))).await,
                }
            }
            let (entries, error) = listed(&provider(&server), ListRequest::default()).await;
            assert_eq!(entries.len(), 2);
            assert!(matches!(error, Some(ProviderError::Invalid { .. })), "{error:?}");
        });
    }
}

#[test]
fn an_empty_page_is_not_the_end() {
    block_on(async {
        let server = MockServer::start().await;
        first(&server, page(&[], Some("t1"))).await;
        after(&server, "t1", page(&["town/a"], None)).await;
        assert_eq!(keys(&provider(&server), ListRequest::default()).await, ["a"]);
        assert!(!provider(&server).probe().await.unwrap().bare);
    });
}

#[test]
fn a_url_encoded_page_is_decoded() {
    let encoded = body(&["town/a%2Fb", "town/%09%C3%A9+%2B"], None)
        .replace("<IsTruncated>", "<EncodingType>url</EncodingType><IsTruncated>");
    let (entries, error) = listing_of(ResponseTemplate::new(200).set_body_string(encoded));
    assert!(error.is_none(), "{error:?}");
    assert_eq!(entries[0].key, Key::from("a/b"));
    assert_eq!(entries[1].key, Key::from("\té +"));
}

#[test]
fn a_probe_tells_the_providers_time_and_whether_anything_is_there() {
    block_on(async {
        let server = MockServer::start().await;
        let date = "Wed, 01 Jan 2020 00:00:07 GMT";
        first(&server, page(&[], None).insert_header("date", date)).await;
        let probe = provider(&server).probe().await.unwrap();
        assert_eq!(probe.now.to_rfc3339(), "2020-01-01T00:00:07+00:00");
        assert!(probe.bare);
    });
}

#[test]
fn the_session_token_is_sent() {
    block_on(async {
        let server = MockServer::start().await;
        Mock::given(header("x-amz-security-token", "token-of-civic-test"))
            .respond_with(page(&["town/a"], None))
            .mount(&server)
            .await;
        let config = with_token(s3(&server.uri(), "bucket", "town/"), "token-of-civic-test");
        let provider = build(&config, &global()).unwrap();
        assert_eq!(keys(&provider, ListRequest::default()).await, ["a"]);
        let shown = format!("{provider:?}");
        assert!(
            !shown.contains("token-of-civic-test") && !shown.contains("civic-test-secret"),
            "{shown}"
        );
    });
}

fn with_token(mut config: ProviderConfig, token: &str) -> ProviderConfig {
    if let ProviderKind::S3(s3) = &mut config.kind {
        s3.credentials.as_mut().unwrap().session_token = Some(token.to_owned().into());
    }
    config
}

#[test]
fn credentials_that_no_header_can_hold_are_a_configuration_error() {
    let config = with_token(s3("http://127.0.0.1:1", "bucket", ""), "hunter2\n");
    let error = build(&config, &global()).unwrap_err();
    assert!(matches!(error, ProviderError::Configuration { .. }), "{error:?}");
    assert!(!error.to_string().contains("hunter2"), "{error}");
}

#[test]
fn a_head_tells_a_missing_object_from_a_missing_bucket_and_from_an_outage() {
    block_on(async {
        let head = |server: &MockServer| {
            let provider = provider(server);
            async move { provider.head(&Key::from("a")).await }
        };
        let server = MockServer::start().await;
        let object = Mock::given(method("HEAD")).and(path("/bucket/town/a"));
        object
            .respond_with(ResponseTemplate::new(404))
            .mount(&server)
            .await;
        first(&server, error(404, "NoSuchBucket")).await;
        let gone = head(&server).await;
        assert!(matches!(gone, Err(ProviderError::RootMissing { .. })), "{gone:?}");
        server.reset().await;

        let object = Mock::given(method("HEAD")).and(path("/bucket/town/a"));
        object
            .respond_with(ResponseTemplate::new(404))
            .mount(&server)
            .await;
        Mock::given(method("GET"))
            .respond_with(page(&[], None))
            .expect(1)
            .mount(&server)
            .await;
        let provider = provider(&server);
        assert_eq!(provider.head(&Key::from("a")).await.unwrap(), None);
        assert_eq!(
            provider.head(&Key::from("a")).await.unwrap(),
            None,
            "the bucket is asked once"
        );
        server.verify().await;
        server.reset().await;

        for (status, denied) in [(403, true), (500, false), (503, false), (429, false)] {
            Mock::given(method("HEAD"))
                .respond_with(ResponseTemplate::new(status))
                .mount(&server)
                .await;
            let error = head(&server).await.unwrap_err();
            assert_eq!(matches!(error, ProviderError::Denied { .. }), denied, "{error:?}");
            assert_eq!(
                matches!(error, ProviderError::Unavailable { .. }),
                !denied,
                "{error:?}"
            );
            server.reset().await;
        }
    });
}

#[test]
fn a_listing_that_is_split_fails_as_a_whole() {
    block_on(async {
        let server = MockServer::start().await;
        let folders = BTreeSet::from(["town/f/".to_owned()]);
        Mock::given(query_param("delimiter", "/"))
            .respond_with(ResponseTemplate::new(200).set_body_string(render(&[], &folders, None)))
            .mount(&server)
            .await;
        Mock::given(query_param("start-after", "town/f/m"))
            .respond_with(error(503, "SlowDown"))
            .mount(&server)
            .await;
        first(&server, page(&["town/f/a", "town/f/z"], None)).await;
        let request = ListRequest {
            split_at: vec![Key::from("f/m")],
            ..ListRequest::default()
        };
        let (entries, error) = listed(&provider(&server), request).await;
        assert!(
            matches!(error, Some(ProviderError::Unavailable { .. })),
            "{error:?}"
        );
        assert_eq!(entries.len(), 1, "what came before it");
    });
}

#[test]
fn a_provider_owns_the_records_below_its_root_and_is_none_without_a_bucket() {
    let gcs = gcs("http://127.0.0.1:1", "hall", "/no/key");
    assert_eq!(mapping_of(&gcs).unwrap().roots(), ["gs://hall/town/"]);
    let empty = s3("http://127.0.0.1:1", "", "town/");
    assert_eq!(mapping_of(&empty), None);
    assert!(
        build(&empty, &global())
            .unwrap_err()
            .to_string()
            .contains("`bucket`")
    );
}

#[test]
fn a_location_is_the_key_byte_for_byte_or_an_error() {
    let provider = build(&s3("http://127.0.0.1:1", "bucket", "town/"), &global()).unwrap();
    for key in ["permits/é x~%41.pdf", "a+b"] {
        assert_eq!(
            provider.location(&Key::from(key)).unwrap().as_ref(),
            format!("town/{key}")
        );
    }
    for key in ["dir/", "a//b", "../b", "", "a\tb"] {
        assert!(provider.location(&Key::from(key)).is_err(), "{key:?}");
    }
    assert!(provider.location(&Key::new(&b"\xff"[..])).is_err());
}

#[test]
fn pages_share_connections() {
    const PAGES: usize = 20;
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", socket.local_addr().unwrap());
    let accepted = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = accepted.clone();
    std::thread::spawn(move || {
        for client in socket.incoming() {
            count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            std::thread::spawn(move || serve_pages(&mut client.unwrap(), PAGES));
        }
    });
    let provider = build(&s3(&endpoint, "bucket", "town/"), &global()).unwrap();
    let expected: Vec<String> = (0..PAGES).map(|n| format!("{n:02}")).collect();
    assert_eq!(block_on(keys(&provider, ListRequest::default())), expected);
    // Not one exactly: a page may be asked for before the connection of the last one is free again.
    let connections = accepted.load(std::sync::atomic::Ordering::SeqCst);
    assert!(
        connections <= PAGES / 2,
        "{connections} connections for {PAGES} pages"
    );
}

/// Answers each request on a connection with the page that its token names, until the client leaves.
fn serve_pages(client: &mut std::net::TcpStream, pages: usize) {
    use std::io::{Read, Write};
    let mut request = Vec::new();
    let mut byte = [0];
    while client.read_exact(&mut byte).is_ok() {
        request.push(byte[0]);
        if !request.ends_with(b"\r\n\r\n") {
            continue;
        }
        let text = String::from_utf8_lossy(&request).into_owned();
        let token = text
            .split("continuation-token=t")
            .nth(1)
            .and_then(|rest| rest.get(..2));
        let page: usize = token.map_or(0, |digits| digits.parse().unwrap());
        let next = format!("t{:02}", page + 1);
        let body = body(
            &[&format!("town/{page:02}")],
            (page + 1 < pages).then_some(next.as_str()),
        );
        write!(
            client,
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        request.clear();
    }
}
