//! Order and ranges against a plain model: sort the byte strings, keep those that begin with the prefix.

use futures::StreamExt;
use proptest::prelude::*;

use super::Town;
use crate::metadata::contract::Seed;
use crate::metadata::{MetadataStore, ScanScope};

/// Few characters, so that prefixes meet; each is at some edge of UTF-8's order, of LIKE or of a collation.
fn hostile() -> impl Strategy<Value = String> {
    let character = prop::sample::select(vec![
        'a',
        'A',
        '/',
        '_',
        '%',
        ' ',
        '\u{1}',
        '\u{7f}',
        '\u{80}',
        'é',
        'É',
        '\u{7ff}',
        '\u{800}',
        '\u{d7ff}',
        '\u{e000}',
        '\u{ffff}',
        '\u{10000}',
        '\u{10ffff}',
    ]);
    prop::collection::vec(character, 0..5).prop_map(String::from_iter)
}

async fn scanned(town: &Town, scope: ScanScope) -> Vec<String> {
    town.store()
        .scan(scope)
        .map(|record| record.unwrap().provider_path)
        .collect()
        .await
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn scans_agree_with_a_sorted_list(
        paths in prop::collection::vec(hostile(), 0..40),
        prefixes in prop::collection::vec(hostile(), 1..4),
    ) {
        let seeds: Vec<_> = (0..).zip(&paths).map(|(number, path)| Seed::at(number, path)).collect();
        let town = Town::with("DELETE", &seeds);
        let mut sorted = paths;
        sorted.sort_by(|a, b| a.as_bytes().cmp(b.as_bytes()));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            for prefix in &prefixes {
                let under: Vec<_> = sorted.iter().filter(|path| path.starts_with(prefix.as_str())).cloned().collect();
                prop_assert_eq!(scanned(&town, ScanScope::Under(prefix.clone())).await, under);
            }
            let outside: Vec<_> = sorted
                .iter()
                .filter(|path| !prefixes.iter().any(|prefix| path.starts_with(prefix.as_str())))
                .cloned()
                .collect();
            prop_assert_eq!(scanned(&town, ScanScope::Outside(prefixes.clone())).await, outside);
            Ok(())
        })?;
    }
}
