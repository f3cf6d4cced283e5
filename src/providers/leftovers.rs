//! Small objects below the reserved prefix that were made to try something out, and whose programs were killed before they
//! removed them.

use chrono::TimeDelta;
use futures::TryStreamExt;
use object_store::ObjectStoreExt;

use super::{ListRequest, Listed, Provider, ProviderError};

/// Longer than anything is tried out.
const OVER_BY_NOW: TimeDelta = TimeDelta::hours(1);

impl Provider {
    /// Removes those whose keys begin so, which must be below `.civic/`, once they are an hour old by the provider's clock.
    /// What fails here harms nothing: it takes the right to list, which uploads do not need.
    pub async fn collect(&self, beginning: &str) {
        if let Err(error) = self.try_collect(beginning).await {
            tracing::debug!(
                provider = self.name,
                "trials of dead programs may be left: {error}"
            );
        }
    }

    async fn try_collect(&self, beginning: &str) -> Result<(), ProviderError> {
        let within = ListRequest {
            prefix: ".civic/".to_owned(),
            ..ListRequest::default()
        };
        let is_one = |entry: &Listed| entry.key.as_bytes().starts_with(beginning.as_bytes());
        let found = self
            .list(within)
            .try_filter(|entry| std::future::ready(is_one(entry)));
        let found: Vec<Listed> = found.try_collect().await?;
        if found.is_empty() {
            return Ok(());
        }
        let now = self.probe().await?.now;
        for left in found.iter().filter(|left| now - left.last_modified > OVER_BY_NOW) {
            let gone = self.store.delete(&self.location(&left.key)?).await;
            gone.map_err(|error| self.store_error("delete", error))?;
        }
        Ok(())
    }
}
