//! SHA-256, of two at once where two are to be had. Each round of it waits for the one before, so a processor that has instructions
//! for it is idle half of the time: the blocks of another, in turn with the first one's, take less than both alone.

use std::fmt::Write as _;
use std::slice;

use sha2::Sha256;
use sha2::digest::core_api::{Block, Buffer, CoreProxy, FixedOutputCore, UpdateCore};
use sha2::digest::generic_array::GenericArray;

type Core = <Sha256 as CoreProxy>::Core;

/// Bytes that SHA-256 takes at a time.
const BLOCK: usize = 64;

/// The hash of what has come so far.
#[derive(Default)]
pub(in crate::engine) struct Hash {
    core: Core,
    /// What is no whole block yet.
    rest: Buffer<Core>,
}

impl Hash {
    pub(in crate::engine) fn update(&mut self, bytes: &[u8]) {
        let core = &mut self.core;
        self.rest
            .digest_blocks(bytes, |blocks| core.update_blocks(blocks));
    }

    pub(in crate::engine) fn finish(mut self) -> [u8; 32] {
        let mut digest = GenericArray::default();
        self.core.finalize_fixed_core(&mut self.rest, &mut digest);
        digest.into()
    }

    /// Takes the bytes that fill the block that was begun, and gives the rest.
    fn fill<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let begun = self.rest.get_pos();
        let missing = if begun == 0 { 0 } else { BLOCK - begun };
        let (fills, rest) = bytes.split_at(missing.min(bytes.len()));
        self.update(fills);
        rest
    }
}

/// Takes each its bytes.
pub(in crate::engine) fn both((one, of_one): (&mut Hash, &[u8]), (other, of_other): (&mut Hash, &[u8])) {
    let (of_one, of_other) = (one.fill(of_one), other.fill(of_other));
    let together = of_one.len().min(of_other.len()) / BLOCK * BLOCK;
    let (of_one, rest_of_one) = of_one.split_at(together);
    let (of_other, rest_of_other) = of_other.split_at(together);
    // One of each in turn, and no more: only what is near is looked at ahead.
    for (ours, theirs) in of_one.chunks_exact(BLOCK).zip(of_other.chunks_exact(BLOCK)) {
        one.core.update_blocks(block(ours));
        other.core.update_blocks(block(theirs));
    }
    one.update(rest_of_one);
    other.update(rest_of_other);
}

fn block(bytes: &[u8]) -> &[Block<Core>] {
    slice::from_ref(Block::<Core>::from_slice(bytes))
}

/// Lower-case hex.
pub(in crate::engine) fn hex(digest: impl AsRef<[u8]>) -> String {
    digest.as_ref().iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use sha2::Digest;

    use super::*;

    #[test]
    fn a_hash_is_what_the_standard_says() {
        // FIPS 180-4's examples, as NIST publishes them.
        let mut hash = Hash::default();
        hash.update(b"abc");
        assert_eq!(
            hex(hash.finish()),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(
            hex(Hash::default().finish()),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
    }

    proptest! {
        #[test]
        fn two_at_once_are_what_each_is_alone(turns in vec((vec(any::<u8>(), 0..400), vec(any::<u8>(), 0..400)), 0..6)) {
            let (mut one, mut other) = (Hash::default(), Hash::default());
            for (of_one, of_other) in &turns {
                both((&mut one, of_one), (&mut other, of_other));
            }
            let (ones, others): (Vec<_>, Vec<_>) = turns.into_iter().unzip();
            prop_assert_eq!(one.finish(), <[u8; 32]>::from(Sha256::digest(ones.concat())));
            prop_assert_eq!(other.finish(), <[u8; 32]>::from(Sha256::digest(others.concat())));
        }
    }
}
