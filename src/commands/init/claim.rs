//! The ownership marker of a new installation: looked at before anything is made, written once all is.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::Context;
use crate::commands::ownership::{OwnershipArgs, refusal, tell};
use crate::config::{ProviderConfig, ProviderKind, Starter};
use crate::engine::changes::Sites;
use crate::engine::marker::Claim;
use crate::engine::ownership::Custody;
use crate::error::Failure;
use crate::metadata::MetadataStore;
use crate::metadata::journal::JournalReader;
use crate::metadata::sqlite::SqliteStore;
use crate::providers::{self, Provider, ProviderError};

/// A bucket that does not answer by then is claimed by the first command that destroys something.
const PATIENCE: Duration = Duration::from_secs(10);

/// Storage that can be asked already; a bucket whose credentials are not set yet cannot.
pub struct Storage {
    providers: Vec<Arc<Provider>>,
    overridden: bool,
    /// Nothing was there before: no database, so no record that a disk may be missing for.
    fresh: bool,
}

impl Storage {
    /// Looks whose it is. What does not answer is looked at later.
    ///
    /// # Errors
    /// Exit code 8 where it is another installation's, and nobody said to take it.
    pub fn look(
        context: &Context,
        (starter, database): (&Starter, &Path),
        args: &OwnershipArgs,
    ) -> Result<Self, Failure> {
        let known = |provider: &&ProviderConfig| match &provider.kind {
            ProviderKind::Local(_) => true,
            ProviderKind::S3(s3) => s3.credentials.is_some(),
            ProviderKind::Azure(azure) => {
                let keys = [&azure.connection_string, &azure.account_key, &azure.sas_token];
                keys.iter().any(|key| key.is_some())
            }
            ProviderKind::Gcs(gcs) => gcs.service_account_key.is_some(),
        };
        let config = &starter.config;
        let enabled = config.providers.iter().filter(|p| p.enabled).filter(known);
        let built = enabled.map(|provider| Ok(Arc::new(providers::build(provider, &config.global)?)));
        let this = Self {
            providers: built.collect::<Result<_, ProviderError>>()?,
            overridden: !args.asked().is_empty(),
            fresh: !database.exists(),
        };
        let claim = claim(context, database)?;
        let (_, custody) = context.block_on_all(async { Ok(this.custody(claim).await) })?;
        let foreign = custody.map(|custody| custody.foreign()).unwrap_or_default();
        if foreign.is_empty() || this.overridden {
            return Ok(this);
        }
        Err(refusal(&foreign))
    }

    /// Claims it for the installation that was made. What cannot be claimed now is told of, and claimed by the first
    /// command that destroys something.
    ///
    /// # Errors
    /// Where what was just made cannot be read.
    pub fn claim(self, context: &Context) -> Result<(), Failure> {
        let journal = context.run_journal()?;
        context.block_on_all(async {
            let (mut sites, custody) = self.custody(journal.claim().await?).await;
            if let Some(custody) = custody.filter(|c| self.overridden || c.foreign().is_empty()) {
                tell(&custody.claim(&mut sites, self.fresh).await);
            }
            for why in sites.providers.values().filter_map(|site| site.as_ref().err()) {
                tracing::warn!("the storage is not claimed yet: {}", why.reason);
            }
            Ok(())
        })
    }

    async fn custody(&self, claim: Claim) -> (Sites, Option<Custody>) {
        let site = |provider: &Arc<Provider>| (provider.name.clone(), Ok(Arc::clone(provider)));
        let mut sites = Sites {
            providers: self.providers.iter().map(site).collect(),
            ..Sites::default()
        };
        let names = self.providers.iter().map(|provider| provider.name.as_str());
        let look = Custody::look(claim, &mut sites, names);
        let custody = tokio::time::timeout(PATIENCE, look).await.ok();
        (sites, custody)
    }
}

/// As whom an installation asks whose database may not be there yet.
fn claim(context: &Context, database: &Path) -> Result<Claim, Failure> {
    let host = context.host();
    if !database.exists() {
        let database = database.display().to_string();
        return Ok(Claim {
            installation: None,
            database,
            host,
        });
    }
    let store = SqliteStore::open(database)?;
    Ok(Claim {
        installation: context.block_on(async { Ok(store.known_installation().await?) })?,
        database: store.location(),
        host,
    })
}
