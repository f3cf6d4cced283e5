//! The merge of two streams ordered by key: objects on one side, records on the other. It looks at each once and
//! holds one of each.

use std::cmp::Ordering;
use std::mem;

use super::ScanError;
use super::ordered::OrderedListing;
use super::records::{KeyedRecord, RecordItem, RecordMerge};
use crate::metadata::ScannedRecord;
use crate::providers::Listed;

/// What the merge says of one object, one record, or the two together.
#[derive(Debug)]
pub enum Pair {
    /// Two records may name one object: each comes as a pair of its own, `first` only with the first.
    Both {
        object: Listed,
        keyed: KeyedRecord,
        first: bool,
    },
    ObjectOnly(Listed),
    RecordOnly(KeyedRecord),
    /// See [`RecordItem::Unaddressable`].
    Unaddressable(ScannedRecord),
}

/// The merge, one pair at a time.
pub struct MergeJoin {
    listing: OrderedListing,
    records: RecordMerge,
    object: Option<Listed>,
    /// Some record has named the object at the head.
    claimed: bool,
    record: Option<RecordItem>,
}

impl MergeJoin {
    /// Reads the first of each side.
    ///
    /// # Errors
    /// The first error of either side.
    pub async fn open(mut listing: OrderedListing, mut records: RecordMerge) -> Result<Self, ScanError> {
        // Records first: what is uploaded after their snapshot was taken shows as a young object, which the
        // minimum age protects; the other way round it would show as a record without an object.
        let record = records.next().await?;
        let object = listing.next().await?;
        Ok(Self {
            listing,
            records,
            object,
            claimed: false,
            record,
        })
    }

    /// The next pair in key order; `None` when both sides have reached their end.
    ///
    /// # Errors
    /// The first error of either side; what came before it is not the whole.
    pub async fn next(&mut self) -> Result<Option<Pair>, ScanError> {
        loop {
            let order = match (&self.object, &self.record) {
                (None, None) => return Ok(None),
                (Some(_), None) => Ordering::Less,
                (Some(object), Some(RecordItem::Keyed(keyed))) => object.key.cmp(&keyed.key),
                (None, Some(_)) | (Some(_), Some(RecordItem::Unaddressable(_))) => Ordering::Greater,
            };
            let pair = match order {
                Ordering::Less => self.pass_object().await?,
                Ordering::Equal => self.pass_claimed_record().await?,
                Ordering::Greater => self.pass_record().await?,
            };
            if pair.is_some() {
                return Ok(pair);
            }
        }
    }

    async fn pass_object(&mut self) -> Result<Option<Pair>, ScanError> {
        let next = self.listing.next().await?;
        let object = mem::replace(&mut self.object, next);
        let claimed = mem::take(&mut self.claimed);
        Ok(object.filter(|_| !claimed).map(Pair::ObjectOnly))
    }

    async fn pass_record(&mut self) -> Result<Option<Pair>, ScanError> {
        let next = self.records.next().await?;
        Ok(mem::replace(&mut self.record, next).map(|item| match item {
            RecordItem::Keyed(keyed) => Pair::RecordOnly(keyed),
            RecordItem::Unaddressable(record) => Pair::Unaddressable(record),
        }))
    }

    /// The object stays at the head: the next record may name it too.
    async fn pass_claimed_record(&mut self) -> Result<Option<Pair>, ScanError> {
        let first = !mem::replace(&mut self.claimed, true);
        let object = self.object.clone();
        Ok(match (object, self.pass_record().await?) {
            (Some(object), Some(Pair::RecordOnly(keyed))) => Some(Pair::Both { object, keyed, first }),
            (_, other) => other,
        })
    }
}
