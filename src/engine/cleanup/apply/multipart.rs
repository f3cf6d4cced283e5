//! Uploads in parts that nobody will end are ended here. No step is written down: what goes was never a file, nothing
//! brings it back, and what a crash leaves is found by the next run as it was found by this one.

use futures::{StreamExt, stream};

use super::super::finding::StaleUpload;
use super::super::under_way::UnderWay;
use super::IN_FLIGHT;
use super::session::{ApplyError, Work};
use crate::providers::{Key, UnfinishedUpload, uuids_in};

/// Judges a batch anew and ends what is still nobody's.
///
/// # Errors
/// Where the database fails; a provider's error is the item's.
pub async fn batch(work: &mut Work<'_>, items: Vec<StaleUpload>) -> Result<(), ApplyError> {
    let going: Vec<StaleUpload> = items.into_iter().filter(StaleUpload::may_go).collect();
    let under_way = UnderWay::beside(work.desk.metadata, work.run.id()).await?;
    let mut ends = Vec::new();
    for item in going {
        let key = Key::from(item.key.as_str());
        let claimed = under_way.contains(&item.provider, &uuids_in(key.as_bytes()), &key);
        let Some(provider) = work.provider(&item.provider).filter(|_| !claimed) else {
            work.outcome.skipped.uploads += 1;
            continue;
        };
        let upload = UnfinishedUpload {
            key,
            id: item.upload_id,
            begun: item.initiated,
        };
        ends.push(async move { (provider.abort_upload(&upload).await, item.key) });
    }
    let mut ended = stream::iter(ends).buffered(IN_FLIGHT);
    while let Some((answer, key)) = ended.next().await {
        match answer {
            Ok(true) => work.outcome.cleaned.uploads += 1,
            Ok(false) => work.outcome.skipped.uploads += 1,
            Err(error) => work.failed(&key, &error)?,
        }
    }
    Ok(())
}
