//! Every way into an Azure account: key, connection string, emulator, signature, managed identity, an application's
//! secret, a workload's token.

use std::process::Command;

use civic_storage::config::{AzureConfig, ProviderConfig, ProviderKind};
use civic_storage::providers::{Key, ListRequest, ProviderError, build};
use object_store::{ObjectStoreExt, PutPayload};
use wiremock::matchers::{body_string_contains, header, method, path, path_regex};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::{azure, block_on, global, keys, listed};
use crate::common::deployment::{Deployment, Run};
use crate::common::{ACCOUNT, ACCOUNT_KEY, Bucket, Remote, TestEnv};

/// The provider with these changes to its account.
fn with(endpoint: &str, container: &str, change: impl FnOnce(&mut AzureConfig)) -> ProviderConfig {
    let mut config = azure(endpoint, container, "town/");
    let ProviderKind::Azure(settings) = &mut config.kind else {
        unreachable!("it is one")
    };
    settings.account_key = None;
    change(settings);
    config
}

/// A signature for the account's blobs, with these permissions.
fn signature(permissions: &str) -> String {
    let script = "import base64, hashlib, hmac, sys, urllib.parse as u
account, key, sp = sys.argv[1:]
sv, ss, srt, se = '2022-11-02', 'b', 'co', '2099-01-01T00:00:00Z'
text = '\\n'.join([account, sp, ss, srt, '', se, '', 'https,http', sv, '', ''])
sig = base64.b64encode(hmac.new(base64.b64decode(key), text.encode(), hashlib.sha256).digest()).decode()
print(u.urlencode(dict(sv=sv, ss=ss, srt=srt, sp=sp, se=se, spr='https,http', sig=sig)))";
    let output = Command::new("python3")
        .args(["-c", script, ACCOUNT, ACCOUNT_KEY, permissions])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Bytes in, a copy, a look, a listing and both away, in one request and alone.
fn is_a_way_in(config: &ProviderConfig) {
    block_on(async {
        let provider = build(config, &global()).unwrap();
        let [at, copy, third] =
            ["permits/a b", "permits/copy", "third"].map(|key| provider.location(&Key::from(key)).unwrap());
        provider
            .store
            .put(&at, PutPayload::from_static(b"hello"))
            .await
            .unwrap();
        provider.store.copy(&at, &copy).await.unwrap();
        provider.store.copy(&copy, &third).await.unwrap();
        let found = provider.store.get(&third).await.unwrap().bytes().await.unwrap();
        assert_eq!(found.as_ref(), b"hello");
        let seen = keys(&provider, ListRequest::default()).await;
        assert_eq!(seen, ["permits/a b", "permits/copy", "third"]);
        provider.store.delete(&third).await.unwrap();
        let both = [Key::from("permits/a b"), Key::from("permits/copy")];
        let gone = civic_storage::engine::objects::purge_all(&provider, &both).await;
        assert!(gone.iter().all(Result::is_ok), "{gone:?}");
        assert!(provider.probe().await.unwrap().bare);
    });
}

/// A double that takes only what this token opens, and gives the token to whoever asks as a machine with an identity does.
async fn identity(answers: &MockServer) {
    Mock::given(method("GET"))
        .and(path("/token"))
        .and(header("x-identity-header", "who-i-am"))
        .respond_with(ResponseTemplate::new(200).set_body_string(
            "{\"access_token\":\"opensesame\",\"expires_on\":\"4102444800\",\"token_type\":\"Bearer\",\
             \"resource\":\"https://storage.azure.com\"}",
        ))
        .mount(answers)
        .await;
    opened_by_the_token(answers).await;
}

async fn opened_by_the_token(answers: &MockServer) {
    Mock::given(path_regex("/[.]civic/"))
        .and(header("authorization", "Bearer opensesame"))
        .respond_with(ResponseTemplate::new(404).insert_header("x-ms-error-code", "BlobNotFound"))
        .mount(answers)
        .await;
    let empty = "<EnumerationResults><Blobs /><NextMarker /></EnumerationResults>";
    Mock::given(method("GET"))
        .and(header("authorization", "Bearer opensesame"))
        .respond_with(
            ResponseTemplate::new(200)
                .set_body_string(empty)
                .insert_header("date", chrono::Utc::now().to_rfc2822().as_str()),
        )
        .mount(answers)
        .await;
    Mock::given(method("HEAD"))
        .and(header("authorization", "Bearer opensesame"))
        .respond_with(ResponseTemplate::new(404).insert_header("x-ms-error-code", "BlobNotFound"))
        .mount(answers)
        .await;
}

/// A double of Microsoft's authority, that gives the token to whoever proves to be this application with these pairs of
/// a form, and of the account.
///
/// Source: Microsoft Learn, "OAuth 2.0 client credentials flow on the Microsoft identity platform".
async fn authority(answers: &MockServer, proof: &[&'static str]) {
    let mut asked = Mock::given(method("POST"))
        .and(path("/our-tenant/oauth2/v2.0/token"))
        .and(header("content-type", "application/x-www-form-urlencoded"))
        .and(body_string_contains("grant_type=client_credentials"))
        .and(body_string_contains("client_id=our-app"))
        .and(body_string_contains(
            "scope=https%3A%2F%2Fstorage.azure.com%2F.default",
        ));
    for pair in proof {
        asked = asked.and(body_string_contains(*pair));
    }
    asked
        .respond_with(ResponseTemplate::new(200).set_body_string(
            "{\"access_token\":\"opensesame\",\"expires_in\":3599,\"token_type\":\"Bearer\"}",
        ))
        .mount(answers)
        .await;
    opened_by_the_token(answers).await;
}

/// Asks what an account at this double has, as the platform's variables say.
fn look(answers: &MockServer, town: &Deployment, variables: &[(&str, &str)]) -> Run {
    town.providers(&format!(
        "  azure: {{ type: azure, account_name: town, container_name: files, endpoint: '{}' }}",
        answers.uri()
    ));
    let mut process = town.process();
    process.args(["storage:cleanup", "--json"]);
    process.envs(variables.iter().copied());
    let output = process.output().unwrap();
    Run {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

#[test]
fn where_nothing_is_set_the_machines_identity_opens_the_account() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let server = runtime.block_on(MockServer::start());
    runtime.block_on(identity(&server));
    let town = Deployment::new();
    let with_identity = |endpoint: &str| {
        let endpoint = format!("{}/{endpoint}", server.uri());
        let variables = [
            ("IDENTITY_ENDPOINT", endpoint.as_str()),
            ("IDENTITY_HEADER", "who-i-am"),
        ];
        look(&server, &town, &variables)
    };
    assert_open(&with_identity("token"));
    assert_shut(&with_identity("nowhere"));
}

#[track_caller]
fn assert_open(run: &Run) {
    assert_eq!(run.code, 0, "{run:?}");
    assert!(run.stdout.contains("\"complete\":true"), "{run:?}");
    assert!(!format!("{run:?}").contains("hunter"), "{run:?}");
}

#[track_caller]
fn assert_shut(run: &Run) {
    assert_eq!(run.code, 2, "{run:?}");
    assert!(run.stdout.contains("no credentials are set"), "{run:?}");
    assert!(!format!("{run:?}").contains("hunter"), "{run:?}");
}

#[test]
fn the_secret_of_an_application_opens_the_account_and_is_not_shown() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let server = runtime.block_on(MockServer::start());
    runtime.block_on(authority(&server, &["client_secret=hunter2"]));
    let (town, host) = (Deployment::new(), server.uri());
    let with_secret = |secret: &str| {
        let variables = [
            ("AZURE_AUTHORITY_HOST", host.as_str()),
            ("AZURE_TENANT_ID", "our-tenant"),
            ("AZURE_CLIENT_ID", "our-app"),
            ("AZURE_CLIENT_SECRET", secret),
        ];
        look(&server, &town, &variables)
    };
    assert_open(&with_secret("hunter2"));
    assert_shut(&with_secret("hunter3"));
}

#[test]
fn the_token_of_a_workload_opens_the_account_and_is_not_shown() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let server = runtime.block_on(MockServer::start());
    let proof = [
        "client_assertion=hunter2",
        "client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer",
    ];
    runtime.block_on(authority(&server, &proof));
    let (town, host) = (Deployment::new(), server.uri());
    let file = town.env().tmp().join("token");
    let with_token = |token: &str| {
        std::fs::write(&file, token).unwrap();
        let variables = [
            ("AZURE_AUTHORITY_HOST", host.as_str()),
            ("AZURE_TENANT_ID", "our-tenant"),
            ("AZURE_CLIENT_ID", "our-app"),
            ("AZURE_FEDERATED_TOKEN_FILE", file.to_str().unwrap()),
        ];
        look(&server, &town, &variables)
    };
    assert_open(&with_token("hunter2"));
    assert_shut(&with_token("hunter3"));
}

mod needs_server {
    use super::*;

    fn string(bucket: &Bucket) -> String {
        let url = format!("{}/{ACCOUNT}", bucket.endpoint);
        format!(
            "DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={ACCOUNT_KEY};BlobEndpoint={url};"
        )
    }

    #[test]
    fn a_connection_string() {
        let Some(bucket) = TestEnv::azurite() else { return };
        is_a_way_in(&with("", &bucket.name, |azure| {
            azure.endpoint = None;
            azure.connection_string = Some(string(&bucket).into());
        }));
    }

    #[test]
    fn the_emulator_at_another_place() {
        let Some(bucket) = TestEnv::azurite() else { return };
        is_a_way_in(&with(&bucket.endpoint, &bucket.name, |azure| {
            azure.connection_string = Some("UseDevelopmentStorage=true".to_owned().into());
        }));
        is_a_way_in(&with("", &bucket.name, |azure| {
            let text = format!(
                "UseDevelopmentStorage=true;DevelopmentStorageProxyUri={}",
                bucket.endpoint
            );
            azure.endpoint = None;
            azure.connection_string = Some(text.into());
        }));
    }

    #[test]
    fn a_signature() {
        let Some(bucket) = TestEnv::azurite() else { return };
        for start in ["", "?"] {
            is_a_way_in(&with(&bucket.endpoint, &bucket.name, |azure| {
                azure.sas_token = Some(format!("{start}{}", signature("rwdlac")).into());
            }));
        }
    }

    #[test]
    fn a_signature_that_may_not_is_a_refusal_without_a_word_of_it() {
        let Some(bucket) = TestEnv::azurite() else { return };
        let token = signature("r");
        let secret = token.split("sig=").nth(1).unwrap().to_owned();
        let config = with(&bucket.endpoint, &bucket.name, |azure| {
            azure.sas_token = Some(token.into());
        });
        block_on(async {
            let provider = build(&config, &global()).unwrap();
            let (_, listing) = listed(&provider, ListRequest::default()).await;
            let at = provider.location(&Key::from("a")).unwrap();
            let put = provider.store.put(&at, PutPayload::from_static(b"x")).await;
            for error in [listing.unwrap(), provider.store_error("put", put.unwrap_err())] {
                assert!(matches!(error, ProviderError::Denied { .. }), "{error:?}");
                assert!(!error.to_string().contains(&secret), "{error}");
            }
        });
    }

    /// Azurite says of a blob that it is Hot where nobody said so.
    #[test]
    fn what_is_written_whole_in_blocks_or_as_a_copy_gets_the_tier() {
        let Some(bucket) = TestEnv::azurite() else { return };
        for tier in ["Hot", "Cool"] {
            let config = with(&bucket.endpoint, &bucket.name, |azure| {
                azure.account_key = Some(ACCOUNT_KEY.to_owned().into());
                azure.access_tier = Some(tier.into());
            });
            block_on(async {
                let provider = build(&config, &global()).unwrap();
                let [whole, blocks, copy] =
                    ["whole", "blocks", "copy"].map(|key| provider.location(&Key::from(key)).unwrap());
                let bytes = PutPayload::from_static(b"hello");
                provider.store.put(&whole, bytes.clone()).await.unwrap();
                let mut upload = provider.store.put_multipart(&blocks).await.unwrap();
                upload.put_part(bytes).await.unwrap();
                upload.complete().await.unwrap();
                provider.store.copy(&whole, &copy).await.unwrap();
            });
            for key in ["whole", "blocks", "copy"] {
                let head = bucket.head(&format!("town/{key}"));
                let line = format!("x-ms-access-tier: {}\r\n", tier.to_lowercase());
                assert!(head.contains(&line), "{key}: {head}");
            }
        }
    }
}
