//! The memory of a download in parts. What is next to be hashed comes first: others may take memory as long as there is plenty,
//! and wait where there is not, or all of it might be full of what waits for a piece that finds none.

use std::collections::BTreeMap;
use std::io;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::disk::Block;

/// Bytes: a large page.
pub(super) const BLOCK: usize = 2 << 20;
/// Blocks that only the next part takes.
const RESERVED: usize = 4;

#[derive(Debug)]
pub(super) struct Blocks(Mutex<State>);

#[derive(Debug)]
struct State {
    free: Vec<Block>,
    /// The file is hashed up to here, in bytes.
    hashed: u64,
    /// Who waits for a block, by where its part begins.
    waiting: BTreeMap<u64, oneshot::Sender<Block>>,
}

/// A block that goes back when it is dropped.
#[derive(Debug)]
pub(super) struct Lent {
    block: Block,
    blocks: Arc<Blocks>,
}

impl Blocks {
    /// # Errors
    /// There is no memory.
    pub(super) fn new(count: usize) -> io::Result<Arc<Self>> {
        let free: io::Result<_> = (0..count.max(RESERVED)).map(|_| Block::new(BLOCK)).collect();
        Ok(Arc::new(Self(Mutex::new(State {
            free: free?,
            hashed: 0,
            waiting: BTreeMap::new(),
        }))))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A block for the part that begins there, once it may have one; `None` where the same part asks once more meanwhile.
    ///
    /// # Cancellation
    /// May lose a block: whoever stops waiting is to stop it all.
    pub(super) async fn take(self: &Arc<Self>, start: u64) -> Option<Lent> {
        let (sender, given) = oneshot::channel();
        {
            let mut state = self.state();
            state.waiting.insert(start, sender);
            state.give();
        }
        let blocks = Arc::clone(self);
        given.await.ok().map(|block| Lent { block, blocks })
    }

    /// The file is hashed up to there.
    pub(super) fn hashed(&self, bytes: u64) {
        let mut state = self.state();
        state.hashed = bytes;
        state.give();
    }
}

impl State {
    /// Gives blocks to those that may have one, the part that is nearest to its turn first.
    fn give(&mut self) {
        while let Some(first) = self.waiting.first_entry()
            && (*first.key() <= self.hashed || self.free.len() > RESERVED)
            && let Some(block) = self.free.pop()
        {
            if let Err(unwanted) = first.remove().send(block) {
                self.free.push(unwanted);
            }
        }
    }
}

impl Deref for Lent {
    type Target = Block;

    fn deref(&self) -> &Block {
        &self.block
    }
}

impl DerefMut for Lent {
    fn deref_mut(&mut self) -> &mut Block {
        &mut self.block
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let block = self.block.reuse();
        let mut state = self.blocks.state();
        state.free.push(block);
        state.give();
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn is_given(blocks: &Arc<Blocks>, start: u64) -> Option<Lent> {
        blocks.take(start).now_or_never().flatten()
    }

    #[test]
    fn only_the_next_part_takes_the_last_blocks() {
        let blocks = Blocks::new(RESERVED + 1).unwrap();
        let far = is_given(&blocks, 100);
        assert!(far.is_some());
        assert!(is_given(&blocks, 100).is_none());
        let mut next: Vec<Lent> = (0..RESERVED).map(|_| is_given(&blocks, 0).unwrap()).collect();
        assert!(is_given(&blocks, 0).is_none(), "all are taken");
        next.pop();
        assert!(is_given(&blocks, 100).is_none());
        assert!(is_given(&blocks, 0).is_some());
    }

    #[tokio::test]
    async fn who_waits_is_given_a_block_that_comes_back_and_the_nearest_first() {
        let blocks = Blocks::new(RESERVED).unwrap();
        let mut taken: Vec<Lent> = (0..RESERVED).map(|_| is_given(&blocks, 0).unwrap()).collect();
        let mut far = Box::pin(blocks.take(200));
        let mut near = Box::pin(blocks.take(100));
        assert!(futures::poll!(&mut far).is_pending() && futures::poll!(&mut near).is_pending());
        taken.pop();
        assert!(futures::poll!(&mut near).is_pending(), "neither is next");
        blocks.hashed(200);
        assert!(futures::poll!(&mut far).is_pending());
        taken.push(near.await.unwrap());
        taken.clear();
        assert!(far.await.is_some());
    }
}
