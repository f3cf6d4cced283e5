//! The HTTP client of a provider, made resilient: each request goes out when the circuit lets it, with a connection of
//! its own, within its time, and again after a fault that may pass.
//!
//! What is retried: broken connections, timeouts, 408, 429 and 5xx, whatever the method. All that this program sends may be
//! sent twice: a put writes the same bytes to the same key, a deletion of what is gone is done, and a condition that the
//! first of the two fulfilled is judged by whoever set it. What an upload in parts came to whose last answer was lost is
//! found out by [`Resuming`](super::Resuming). The answer of all but a download is read to its end inside the attempt.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::BytesMut;
use futures::TryStreamExt as _;
use http::{Method, StatusCode};
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody,
    HttpService,
};

use super::circuit::Admission;
use super::fault::{Fault, Stop};
use super::shield::Shield;
use super::wire::Wire;

/// A page holds 5,000 keys of 1,024 bytes at most, and little else; what is far beyond that is no page.
const MAX_BODY: usize = 16 << 20;

/// What a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A listing's page, a HEAD, or another question with a short answer.
    Ask,
    Download,
    Upload,
    Copy,
    Delete,
    /// To whoever gives tokens, who is not the provider.
    Credential,
}

/// Goes with requests of our own, in their extensions; those of `object_store` tell theirs by their form.
#[derive(Debug, Clone, Copy)]
pub struct Purpose {
    pub kind: Kind,
    pub operation: &'static str,
    /// Whether the provider takes such a request at all is being found out: a 500 is an answer to that.
    pub is_trial: bool,
}

impl Purpose {
    #[must_use]
    pub const fn new(kind: Kind, operation: &'static str) -> Self {
        Self {
            kind,
            operation,
            is_trial: false,
        }
    }

    fn of(request: &HttpRequest, authority: &str) -> Self {
        if let Some(purpose) = request.extensions().get::<Self>() {
            return *purpose;
        }
        let is_elsewhere = request
            .uri()
            .authority()
            .is_none_or(|there| there.as_str() != authority);
        let query = request.uri().query().unwrap_or_default();
        let (kind, operation) = match *request.method() {
            _ if is_elsewhere => (Kind::Credential, "authenticate"),
            Method::GET => (Kind::Download, "download"),
            Method::HEAD => (Kind::Ask, "head"),
            Method::DELETE => (Kind::Delete, "delete"),
            Method::POST if query.starts_with("delete") => (Kind::Delete, "delete"),
            _ if request
                .headers()
                .keys()
                .any(|name| name.as_str().ends_with("-copy-source")) =>
            {
                (Kind::Copy, "copy")
            }
            _ => (Kind::Upload, "upload"),
        };
        Self::new(kind, operation)
    }
}

/// See the module.
pub struct Resilient {
    shield: Arc<Shield>,
    wire: Wire,
    /// Host and port of the provider.
    authority: String,
}

impl fmt::Debug for Resilient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resilient")
            .field("authority", &self.authority)
            .finish_non_exhaustive()
    }
}

impl Resilient {
    /// A client for the provider at this URL.
    ///
    /// # Errors
    /// Why none can be made, as the end of a sentence.
    pub fn client(shield: &Arc<Shield>, url: &str) -> Result<HttpClient, String> {
        let uri: http::Uri = url.parse().map_err(|_| "the endpoint is not a URL".to_owned())?;
        let wire = Wire::new(
            shield.policy.timeouts,
            uri.scheme_str() == Some("http"),
            shield.policy.connections,
        )?;
        Ok(HttpClient::new(Self {
            shield: Arc::clone(shield),
            wire,
            authority: uri.authority().map(ToString::to_string).unwrap_or_default(),
        }))
    }

    /// The same over connections that are made so.
    #[cfg(test)]
    pub(super) fn over(wire: Wire, shield: &Arc<Shield>, authority: &str) -> HttpClient {
        HttpClient::new(Self {
            shield: Arc::clone(shield),
            wire,
            authority: authority.to_owned(),
        })
    }

    /// One try: a connection, the request, and its answer, to its end where it is short.
    async fn attempt(
        &self,
        request: HttpRequest,
        kind: Kind,
        is_retry: bool,
    ) -> Result<HttpResponse, HttpError> {
        let _connection = self.shield.connection().await;
        let (limit, key) = self.shield.limit(kind, is_retry);
        let work = async {
            let response = self.wire.send(request).await?;
            if kind == Kind::Download && response.status().is_success() {
                return Ok(response);
            }
            whole(response).await.map_err(|error| self.wire.typed(error))
        };
        match tokio::time::timeout(limit, work).await {
            Ok(answer) => answer,
            Err(_) => Err(Stop::TimedOut { limit, key }.into_http()),
        }
    }

    /// What the connections and the credentials are to make of it.
    fn learn(&self, answer: &Result<HttpResponse, HttpError>, fault: Option<&Fault>) {
        if fault.is_some_and(|fault| fault.is_network) {
            if self.wire.broke() {
                tracing::info!(provider = self.shield.provider, "connections are made anew");
                self.shield.staleness.doubt();
            }
            return;
        }
        self.wire.works();
        if let Ok(answer) = answer
            && matches!(answer.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
        {
            self.shield.staleness.doubt();
        }
    }

    /// The request is over, for good or ill.
    async fn settle(&self, admission: Option<Admission>, fault: Option<&Fault>) {
        let Some(admission) = admission else { return };
        let circuit = &self.shield.circuit;
        match fault {
            None => {
                self.shield.outage.over();
                circuit.succeeded(admission).await;
            }
            Some(fault) if fault.is_providers => circuit.failed(admission, &fault.cause).await,
            Some(_) => circuit.undecided(admission).await,
        }
    }

    async fn admit(&self, kind: Kind) -> Result<Option<Admission>, HttpError> {
        match kind {
            Kind::Credential => Ok(None),
            _ => self
                .shield
                .circuit
                .admit()
                .await
                .map(Some)
                .map_err(Stop::into_http),
        }
    }
}

#[async_trait]
impl HttpService for Resilient {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let purpose = Purpose::of(&request, &self.authority);
        let Purpose { kind, operation, .. } = purpose;
        let mut tries = 0;
        loop {
            let admission = self.admit(kind).await?;
            let answer = self.attempt(request.clone(), kind, tries > 0).await;
            tries += 1;
            let (answer, fault) = judged(answer, purpose.is_trial).await;
            self.learn(&answer, fault.as_ref());
            let is_probe = admission.is_some_and(Admission::is_probe);
            let wait = fault
                .as_ref()
                .filter(|_| !is_probe)
                .and_then(|fault| self.shield.wait(tries, fault));
            let (Some(wait), Some(fault)) = (wait, &fault) else {
                self.settle(admission, fault.as_ref()).await;
                return answer;
            };
            tracing::warn!(
                provider = self.shield.provider,
                operation,
                attempt = tries,
                wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
                cause = fault.cause,
                request_id = fault.request_id.as_deref().unwrap_or("-"),
                "trying again"
            );
            tokio::time::sleep(wait).await;
        }
    }
}

/// Whether the answer is a fault. What was read to find out is put back.
async fn judged(
    answer: Result<HttpResponse, HttpError>,
    is_trial: bool,
) -> (Result<HttpResponse, HttpError>, Option<Fault>) {
    let response = match answer {
        Ok(response) => response,
        Err(error) => {
            let fault = Fault::of_error(&error);
            return (Err(error), fault);
        }
    };
    if response.extensions().get::<Held>().is_none() {
        return (Ok(response), None);
    }
    let (parts, body) = response.into_parts();
    // It was read to its end before: nothing can fail here.
    let body = body.bytes().await.unwrap_or_default();
    let is_answer = is_trial && parts.status == StatusCode::INTERNAL_SERVER_ERROR;
    let fault = Fault::of_answer(parts.status, &parts.headers, &body).filter(|_| !is_answer);
    (Ok(HttpResponse::from_parts(parts, body.into())), fault)
}

/// Marks an answer whose body is held.
#[derive(Debug, Clone, Copy)]
struct Held;

async fn whole(response: HttpResponse) -> Result<HttpResponse, HttpError> {
    let (mut parts, body) = response.into_parts();
    let mut chunks = body.bytes_stream();
    let mut whole = BytesMut::new();
    while let Some(chunk) = chunks.try_next().await? {
        if whole.len() + chunk.len() > MAX_BODY {
            let long = format!("the answer is longer than {MAX_BODY} bytes");
            return Err(HttpError::new_boxed(HttpErrorKind::Unknown, long.into()));
        }
        whole.extend_from_slice(&chunk);
    }
    parts.extensions.insert(Held);
    Ok(HttpResponse::from_parts(
        parts,
        HttpResponseBody::from(whole.freeze()),
    ))
}

/// Hands a store the client that questions use, so that both share its connections.
#[derive(Debug)]
pub struct Shared(pub HttpClient);

impl HttpConnector for Shared {
    fn connect(&self, _options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(self.0.clone())
    }
}
