//! Compares an object that arrives in any order with what is kept of it: of each of its parts where that is known, two of which
//! are hashed at once, and else of the whole, from its beginning to its end.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use super::DownloadError;
use super::blocks::Lent;
use crate::engine::hash::{Hash, both, hex};
use crate::metadata::journal::PartSums;

/// What has come of an object, part by part: those that were hashed when it was stored, or one, which is all of it.
pub(super) struct Sums<'a> {
    known: Option<&'a PartSums>,
    /// Bytes of the object, and of each part but the last.
    size: u64,
    part: u64,
    /// Up to where each part is hashed, in bytes of the object.
    upto: Vec<u64>,
    /// All parts before this one are hashed to their ends.
    first: usize,
    /// Of parts that are hashed in part.
    begun: BTreeMap<usize, Hash>,
    /// The hash of the object, where no part is known.
    whole: Option<[u8; 32]>,
    /// What is not hashed yet, by where it belongs; nothing of two parts.
    waiting: BTreeMap<u64, Piece>,
}

/// Bytes of a block.
struct Piece {
    block: Arc<Lent>,
    bytes: Range<usize>,
}

impl<'a> Sums<'a> {
    /// For an object of `size` bytes, which are not none.
    pub(super) fn new(known: Option<&'a PartSums>, size: u64) -> Self {
        // What is of another size is of another content.
        let fits = |known: &&PartSums| {
            known.size > 0 && u64::try_from(known.sha256.len()) == Ok(size.div_ceil(known.size))
        };
        let known = known.filter(fits);
        let part = known.map_or(size, |known| known.size);
        Self {
            known,
            size,
            part,
            upto: (0..size)
                .step_by(usize::try_from(part).unwrap_or(usize::MAX))
                .collect(),
            first: 0,
            begun: BTreeMap::new(),
            whole: None,
            waiting: BTreeMap::new(),
        }
    }

    /// What has arrived, and where it belongs.
    pub(super) fn add(&mut self, at: u64, block: &Arc<Lent>) {
        let (mut from, all) = (0, block.bytes().len());
        while from < all {
            let at = at + from as u64;
            let room = self.end(self.part_at(at)) - at;
            let end = all.min(from.saturating_add(usize::try_from(room).unwrap_or(usize::MAX)));
            let block = Arc::clone(block);
            let bytes = from..end;
            self.waiting.insert(at, Piece { block, bytes });
            from = end;
        }
    }

    /// Hashes some of what can be; the number of bytes. Who is patient waits for a second piece, as long as there is but one.
    ///
    /// # Errors
    /// A part is not what was stored.
    pub(super) fn hash(&mut self, patient: bool) -> Result<usize, DownloadError> {
        if patient && self.waiting.len() < 2 {
            return Ok(0);
        }
        let is_next = |at: &u64| self.upto.get(self.part_at(*at)) == Some(at);
        let mut ready = self.waiting.keys().copied().filter(is_next);
        match (ready.next(), ready.next()) {
            (Some(one), Some(other)) => self.hash_both(one, other),
            (Some(one), None) => self.hash_one(one),
            (None, _) => Ok(0),
        }
    }

    fn hash_one(&mut self, at: u64) -> Result<usize, DownloadError> {
        let Some(Piece { block, bytes }) = self.waiting.remove(&at) else {
            return Ok(0);
        };
        let mut hash = self.begun.remove(&self.part_at(at)).unwrap_or_default();
        hash.update(&block.bytes()[bytes.clone()]);
        self.hashed(at, hash, bytes.len())?;
        Ok(bytes.len())
    }

    /// As many bytes of each as there are of both.
    fn hash_both(&mut self, one: u64, other: u64) -> Result<usize, DownloadError> {
        let (Some(first), Some(second)) = (self.waiting.remove(&one), self.waiting.remove(&other)) else {
            return Ok(0);
        };
        let count = first.bytes.len().min(second.bytes.len());
        let mut hash = self.begun.remove(&self.part_at(one)).unwrap_or_default();
        let mut next = self.begun.remove(&self.part_at(other)).unwrap_or_default();
        both((&mut hash, first.upto(count)), (&mut next, second.upto(count)));
        for (at, hash, mut piece) in [(one, hash, first), (other, next, second)] {
            self.hashed(at, hash, count)?;
            piece.bytes.start += count;
            if !piece.bytes.is_empty() {
                self.waiting.insert(at + count as u64, piece);
            }
        }
        Ok(2 * count)
    }

    /// So many bytes of a part were hashed.
    fn hashed(&mut self, at: u64, hash: Hash, count: usize) -> Result<(), DownloadError> {
        let (part, upto) = (self.part_at(at), at + count as u64);
        self.upto[part] = upto;
        if upto < self.end(part) {
            self.begun.insert(part, hash);
            return Ok(());
        }
        while self.upto.get(self.first).copied() == Some(self.end(self.first)) {
            self.first += 1;
        }
        let digest = hash.finish();
        let Some(known) = self.known else {
            self.whole = Some(digest);
            return Ok(());
        };
        if known.sha256[part] != digest {
            return Err(DownloadError::Integrity(format!(
                "the SHA-256 of its bytes {} to {} is {}, where {} was stored",
                self.part * part as u64,
                upto - 1,
                hex(digest),
                hex(known.sha256[part])
            )));
        }
        Ok(())
    }

    /// Hex SHA-256 of the whole, which is to be compared where no part could be; `None` where all parts were.
    ///
    /// # Errors
    /// Not all of it has come.
    pub(super) fn finish(self) -> io::Result<Option<String>> {
        if self.upto() < self.size {
            return Err(io::Error::other("not all of it was hashed"));
        }
        Ok(self.whole.map(hex))
    }

    /// Bytes from the beginning of the object that are all hashed.
    pub(super) fn upto(&self) -> u64 {
        self.upto.get(self.first).copied().unwrap_or(self.size)
    }

    fn part_at(&self, at: u64) -> usize {
        usize::try_from(at / self.part).unwrap_or(usize::MAX)
    }

    fn end(&self, part: usize) -> u64 {
        self.size
            .min((part as u64).saturating_add(1).saturating_mul(self.part))
    }
}

impl Piece {
    fn upto(&self, count: usize) -> &[u8] {
        &self.block.bytes()[self.bytes.start..self.bytes.start + count]
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;
    use sha2::{Digest, Sha256};

    use super::super::blocks::Blocks;
    use super::*;

    const SIZE: usize = 10_000;

    fn content() -> Bytes {
        (0..SIZE).map(|at| u8::try_from(at % 251).unwrap()).collect()
    }

    fn digest(bytes: &[u8]) -> [u8; 32] {
        Sha256::digest(bytes).into()
    }

    fn known(part: usize) -> PartSums {
        PartSums {
            size: part as u64,
            sha256: content().chunks(part).map(digest).collect(),
        }
    }

    /// Has these blocks arrive in this order, and hashes now and then.
    async fn arrives(
        known: Option<&PartSums>,
        content: &[u8],
        blocks: Vec<(usize, usize)>,
        every: usize,
    ) -> Result<Option<String>, DownloadError> {
        let memory = Blocks::new(blocks.len() + 5).unwrap();
        let mut sums = Sums::new(known, content.len() as u64);
        for (number, (start, end)) in blocks.into_iter().enumerate() {
            let mut block = memory.take(start as u64).await.unwrap();
            block.add(&content[start..end]);
            sums.add(start as u64, &Arc::new(block));
            if number % every == 0 {
                while sums.hash(true)? > 0 {}
            }
        }
        while sums.hash(false)? > 0 {}
        Ok(sums.finish().unwrap())
    }

    /// Blocks of up to so many bytes, in the order of these numbers.
    fn blocks(lengths: &[usize], order: &[u32]) -> Vec<(usize, usize)> {
        let (mut blocks, mut at) = (Vec::new(), 0);
        for length in lengths.iter().cycle() {
            let end = SIZE.min(at + length);
            blocks.push((at, end));
            at = end;
            if at == SIZE {
                break;
            }
        }
        let mut order = order.iter().cycle();
        blocks.sort_by_cached_key(|_| order.next().copied());
        blocks
    }

    proptest! {
        #[test]
        fn in_whatever_order_it_comes_it_is_compared_to_its_last_byte(
            part in prop::option::of(100..=SIZE + 1),
            lengths in prop::collection::vec(300..3000_usize, 1..8),
            order in prop::collection::vec(any::<u32>(), 1..40),
            every in 1..5_usize,
            wrong in 0..SIZE,
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let (known, blocks) = (part.map(known), blocks(&lengths, &order));
            let right = runtime.block_on(arrives(known.as_ref(), &content(), blocks.clone(), every));
            let whole = part.is_none().then(|| hex(digest(&content())));
            prop_assert_eq!(right.unwrap(), whole.clone());
            let mut spoilt = content().to_vec();
            spoilt[wrong] ^= 1;
            let found = runtime.block_on(arrives(known.as_ref(), &spoilt, blocks, every));
            match part {
                Some(_) => prop_assert!(matches!(found, Err(DownloadError::Integrity(_)))),
                None => prop_assert!(found.unwrap() != whole),
            }
        }
    }

    #[tokio::test]
    async fn who_is_patient_waits_for_a_second_piece_and_two_parts_are_hashed_at_once() {
        let (known, memory) = (known(5000), Blocks::new(6).unwrap());
        let content = content();
        let mut sums = Sums::new(Some(&known), SIZE as u64);
        let arrive = async |sums: &mut Sums<'_>, start: usize, end: usize| {
            let mut block = memory.take(start as u64).await.unwrap();
            block.add(&content[start..end]);
            sums.add(start as u64, &Arc::new(block));
        };
        arrive(&mut sums, 0, 2000).await;
        assert_eq!(sums.hash(true).unwrap(), 0);
        arrive(&mut sums, 2000, 3000).await;
        assert_eq!(
            sums.hash(true).unwrap(),
            2000,
            "two of one part, one after the other"
        );
        arrive(&mut sums, 5000, 9000).await;
        assert_eq!(sums.hash(true).unwrap(), 2000, "as many of each");
        assert_eq!(sums.upto(), 3000);
        assert_eq!(sums.hash(true).unwrap(), 0);
        assert_eq!(sums.hash(false).unwrap(), 3000, "the rest of the second");
        arrive(&mut sums, 3000, 5000).await;
        assert_eq!(sums.hash(false).unwrap(), 2000);
        assert_eq!(sums.upto(), 9000);
        arrive(&mut sums, 9000, SIZE).await;
        assert_eq!(sums.hash(false).unwrap(), 1000);
        assert_eq!(sums.upto(), SIZE as u64);
    }
}
