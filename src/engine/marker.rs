//! The ownership marker: a small object under the reserved prefix that says which installation, with which database,
//! manages what is stored there. A bucket of somebody else's, or a copy of the database on another host, is told by it
//! before anything is deleted.
//!
//! It is written once, by the first command that destroys something or by the one that makes the deployment. Only
//! [`take_over`] puts another in its place, for an operator who said so. Who asks before changing anything is
//! [`super::ownership`].

use object_store::{Error, ObjectStoreExt, PutMode, PutOptions, PutPayload};
use serde::{Deserialize, Serialize};

use crate::providers::{Key, Provider, ProviderError};

/// Where it stands, below the root or prefix.
pub const MARKER_KEY: &str = ".civic/installation.json";

/// Who asks. Only where all three agree with the marker is it the same: a cloned database has the same installation, and
/// a staging host often the same path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The id that the database was given when it was first written to; `None` where it has none yet, so that no marker
    /// can be its own.
    pub installation: Option<String>,
    /// As the operator would name it, without any password.
    pub database: String,
    /// The host that the database is on, by a name that it keeps.
    pub host: String,
}

/// What the marker says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Marker {
    installation: String,
    database: String,
    host: String,
}

impl Marker {
    fn of(claim: &Claim) -> Option<Self> {
        Some(Self {
            installation: claim.installation.clone()?,
            database: claim.database.clone(),
            host: claim.host.clone(),
        })
    }

    fn is_of(&self, claim: &Claim) -> bool {
        self.database == claim.database && self.host == claim.host && self.has_installation(claim)
    }

    fn has_installation(&self, claim: &Claim) -> bool {
        claim.installation.as_ref() == Some(&self.installation)
    }
}

/// What stands at the marker's place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ownership {
    /// Nobody has claimed the provider yet.
    Unclaimed,
    Ours,
    /// The text says whose it is.
    Foreign(String),
}

/// Reads the marker and compares it; where there is none, whatever should hold it is there.
///
/// # Errors
/// Where the provider does not answer clearly.
pub async fn look(provider: &Provider, ours: &Claim) -> Result<Ownership, ProviderError> {
    match glance(provider, ours).await? {
        // Of a bucket or root that is gone a HEAD tells; there are servers that make a bucket for whoever writes to it.
        Ownership::Unclaimed if provider.head(&Key::from(MARKER_KEY)).await?.is_some() => {
            glance(provider, ours).await
        }
        found => Ok(found),
    }
}

/// The same in one request: of a bucket or root that is gone, too, it says that nobody has claimed it.
async fn glance(provider: &Provider, ours: &Claim) -> Result<Ownership, ProviderError> {
    let failed = |error| provider.store_error("read the marker", error);
    let at = provider.location(&Key::from(MARKER_KEY))?;
    let found = match provider.store.get(&at).await {
        Err(Error::NotFound { .. }) => return Ok(Ownership::Unclaimed),
        found => found.map_err(failed)?,
    };
    let bytes = found.bytes().await.map_err(failed)?;
    Ok(match serde_json::from_slice::<Marker>(&bytes) {
        Ok(marker) if marker.is_of(ours) => Ownership::Ours,
        Ok(marker) => Ownership::Foreign(difference(&marker, ours)),
        Err(_) => Ownership::Foreign("its marker cannot be read".to_owned()),
    })
}

/// Writes the marker where a look has just found none, and looks who came first. A claim without installation writes nothing.
///
/// # Errors
/// Where the provider does not take it, or does not answer clearly.
///
/// # Cancellation
/// Safe: the marker is there or is not.
pub async fn claim(provider: &Provider, ours: &Claim) -> Result<Ownership, ProviderError> {
    put(provider, ours, PutMode::Create).await
}

/// Puts our marker where another's stands. Of several who do so at once the last one has it, and the look after it tells
/// the others.
///
/// # Errors
/// As [`claim`].
///
/// # Cancellation
/// As [`claim`].
pub async fn take_over(provider: &Provider, ours: &Claim) -> Result<Ownership, ProviderError> {
    put(provider, ours, PutMode::Overwrite).await
}

async fn put(provider: &Provider, ours: &Claim, mode: PutMode) -> Result<Ownership, ProviderError> {
    let Some(marker) = Marker::of(ours) else {
        return look(provider, ours).await;
    };
    let at = provider.location(&Key::from(MARKER_KEY))?;
    let text = serde_json::to_vec_pretty(&marker).unwrap_or_default();
    let put = provider
        .store
        .put_opts(&at, PutPayload::from(text.clone()), PutOptions::from(mode))
        .await;
    let put = match put {
        // A server that knows no conditional put: what came first shows in the look below.
        Err(Error::NotImplemented { .. } | Error::NotSupported { .. }) => {
            provider.store.put(&at, PutPayload::from(text)).await
        }
        other => other,
    };
    match put {
        Ok(_) | Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => glance(provider, ours).await,
        Err(error) => Err(provider.store_error("write the marker", error)),
    }
}

/// In what the marker differs, for people.
fn difference(found: &Marker, ours: &Claim) -> String {
    let of = format!("{} on {}", found.database, found.host);
    if found.has_installation(ours) {
        format!(
            "its marker {MARKER_KEY} names the database {of}, and this one, {} on {}, is a copy of it or was moved",
            ours.database, ours.host
        )
    } else {
        format!("its marker {MARKER_KEY} names another installation, with the database {of}")
    }
}
