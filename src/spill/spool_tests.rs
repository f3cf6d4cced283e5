use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn read(spool: &Spool) -> Vec<Vec<u8>> {
    spool.iter().map(Result::unwrap).collect()
}

proptest! {
    #[test]
    fn records_come_back_as_they_went_in_any_number_of_times(
        records in vec(vec(any::<u8>(), 0..60), 0..100),
        most in 1_usize..500,
    ) {
        let mut spool = Spool::in_dir(most, TempDir::from_env());
        for record in &records {
            spool.push(record).unwrap();
        }
        prop_assert_eq!(spool.len(), records.len() as u64);
        prop_assert_eq!(&read(&spool), &records);
        prop_assert_eq!(&read(&spool), &records);
    }
}

#[test]
fn two_readers_do_not_disturb_each_other() {
    let mut spool = Spool::in_dir(10, TempDir::from_env());
    for i in 0..100_u8 {
        spool.push(&[i; 7]).unwrap();
    }
    assert!(spool.file.is_some());
    for (a, b) in spool.iter().zip(&spool) {
        assert_eq!(a.unwrap(), b.unwrap());
    }
}

#[test]
fn what_was_read_before_may_be_added_to() {
    let mut spool = Spool::in_dir(10, TempDir::from_env());
    spool.push(b"first").unwrap();
    assert_eq!(read(&spool), [b"first"]);
    spool.push(b"other").unwrap();
    assert_eq!(read(&spool), [b"first", b"other"]);
}

#[test]
fn a_small_one_needs_no_temporary_directory() {
    let mut spool = Spool::in_dir(TAIL, TempDir("/nonexistent/for/civic".into()));
    spool.push(b"small").unwrap();
    assert_eq!(read(&spool), [b"small"]);
}

#[test]
fn an_unusable_temporary_directory_is_named_and_the_record_not_half_kept() {
    let mut spool = Spool::in_dir(8, TempDir("/nonexistent/for/civic".into()));
    spool.push(b"kept").unwrap();
    let error = spool.push(b"refused").unwrap_err().to_string();
    assert!(error.contains("/nonexistent/for/civic"), "{error}");
    assert_eq!(read(&spool), [b"kept"]);
}
