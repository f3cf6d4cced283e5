use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

type Record = (Vec<u8>, Vec<u8>);

fn sorted(budget: usize, records: &[Record]) -> (bool, Vec<Record>) {
    let mut sorter = Sorter::new(budget);
    for (key, payload) in records {
        sorter.push(key, payload).unwrap();
    }
    let spilled = sorter.has_spilled();
    (spilled, sorter.finish().unwrap().map(Result::unwrap).collect())
}

/// Keys from a small alphabet, so that many are equal or prefixes of each other.
fn records() -> impl Strategy<Value = Vec<Record>> {
    let key = vec(prop_oneof![Just(0_u8), Just(b'/'), Just(b'a'), Just(255)], 0..5);
    vec((key, vec(any::<u8>(), 0..40)), 0..400)
}

proptest! {
    #[test]
    fn order_is_that_of_a_plain_stable_sort(records in records(), budget in 1_usize..20_000) {
        let (_, found) = sorted(budget, &records);
        let mut expected = records;
        expected.sort_by(|a, b| a.0.cmp(&b.0));
        prop_assert_eq!(found, expected);
    }
}

#[test]
fn records_larger_than_the_budget_and_every_buffer_survive() {
    let record = |fill: u8| (vec![fill; 300_000], vec![fill; 200_000]);
    let records: Vec<Record> = [3, 1, 2].map(record).into();
    let (spilled, found) = sorted(1000, &records);
    assert!(spilled);
    assert_eq!(found, [1, 2, 3].map(record));
}

#[test]
fn more_runs_than_can_be_merged_at_once_are_merged_in_passes() {
    let records: Vec<Record> = (0_u32..200_000)
        .map(|i| (i.wrapping_mul(2_654_435_761).to_be_bytes().into(), vec![]))
        .collect();
    let (spilled, found) = sorted(20_000, &records);
    assert!(spilled);
    assert_eq!(found.len(), 200_000);
    assert!(found.is_sorted());
}

#[test]
fn what_fits_needs_no_temporary_directory() {
    let mut sorter = Sorter::in_dir(1 << 20, TempDir("/nonexistent/for/civic".into()));
    sorter.push(b"b", b"2").unwrap();
    sorter.push(b"a", b"1").unwrap();
    let keys: Vec<_> = sorter.finish().unwrap().map(|r| r.unwrap().0).collect();
    assert_eq!(keys, [b"a", b"b"]);
}

#[test]
fn an_unusable_temporary_directory_is_named() {
    let mut sorter = Sorter::in_dir(1, TempDir("/nonexistent/for/civic".into()));
    sorter.push(b"b", b"2").unwrap();
    let error = sorter.push(b"a", b"1").unwrap_err().to_string();
    assert!(error.contains("/nonexistent/for/civic"), "{error}");
    assert!(error.contains("TMPDIR"), "{error}");
}

#[test]
fn the_arena_never_outgrows_its_budget() {
    let budget = 100_000;
    let mut sorter = Sorter::new(budget);
    for i in 0_u32..50_000 {
        sorter.push(&i.to_be_bytes(), b"payload").unwrap();
        let chunk = &sorter.chunk;
        assert!(chunk.bytes.len() + chunk.spans.len() * size_of::<Span>() <= budget);
        assert!(chunk.bytes.capacity() <= budget);
        assert!(chunk.spans.capacity() * size_of::<Span>() <= budget);
    }
    assert!(sorter.has_spilled());
}
