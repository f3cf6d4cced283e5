//! The memory of a download in parts. What is next to be hashed comes first: others may take memory as long as there is plenty,
//! and wait where there is not, or all of it might be full of what waits for a piece that finds none.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::disk::Block;

/// Bytes.
pub(super) const BLOCK: usize = 1 << 20;
/// Blocks that only the next part takes.
const RESERVED: usize = 8;

#[derive(Debug)]
pub(super) struct Blocks {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug)]
struct State {
    free: Vec<Block>,
    /// The file is hashed up to here, in bytes.
    hashed: u64,
}

/// A block that goes back when it is dropped.
#[derive(Debug)]
pub(super) struct Lent {
    block: Block,
    blocks: Arc<Blocks>,
}

impl Blocks {
    pub(super) fn new(count: usize) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                free: (0..count.max(RESERVED)).map(|_| Block::new(BLOCK)).collect(),
                hashed: 0,
            }),
            changed: Notify::new(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A block for the part that begins there, once it may have one.
    ///
    /// # Cancellation
    /// Takes none.
    pub(super) async fn take(self: &Arc<Self>, start: u64) -> Lent {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // From here on it hears of what changes while it looks.
            changed.as_mut().enable();
            if let Some(block) = self.state().give(start) {
                let blocks = Arc::clone(self);
                return Lent { block, blocks };
            }
            changed.await;
        }
    }

    /// The file is hashed up to there.
    pub(super) fn hashed(&self, bytes: u64) {
        self.state().hashed = bytes;
        self.changed.notify_waiters();
    }
}

impl State {
    fn give(&mut self, start: u64) -> Option<Block> {
        let is_next = start <= self.hashed;
        if is_next || self.free.len() > RESERVED {
            self.free.pop()
        } else {
            None
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
        self.blocks.state().free.push(block);
        self.blocks.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    async fn is_given(blocks: &Arc<Blocks>, start: u64) -> Option<Lent> {
        tokio::time::timeout(Duration::from_millis(20), blocks.take(start))
            .await
            .ok()
    }

    #[tokio::test]
    async fn only_the_next_part_takes_the_last_blocks() {
        let blocks = Blocks::new(RESERVED + 1);
        let far = is_given(&blocks, 100).await;
        assert!(far.is_some());
        assert!(is_given(&blocks, 100).await.is_none());
        let mut next = Vec::new();
        for _ in 0..RESERVED {
            next.push(is_given(&blocks, 0).await.unwrap());
        }
        assert!(is_given(&blocks, 0).await.is_none(), "all are taken");
        next.pop();
        assert!(is_given(&blocks, 100).await.is_none());
        assert!(is_given(&blocks, 0).await.is_some());
    }

    #[tokio::test]
    async fn who_waits_hears_of_a_block_and_of_being_next() {
        let blocks = Blocks::new(RESERVED);
        let mut waiting = Box::pin(blocks.take(100));
        assert!(futures::poll!(&mut waiting).is_pending());
        blocks.hashed(100);
        waiting.await;
        let taken = [(); RESERVED].map(|()| blocks.state().give(0).unwrap());
        let mut waiting = Box::pin(blocks.take(0));
        assert!(futures::poll!(&mut waiting).is_pending());
        let [block, ..] = taken;
        let blocks = Arc::clone(&blocks);
        drop(Lent { block, blocks });
        waiting.await;
    }
}
