//! What every database behind [`MetadataStore`] must answer, as one suite. An implementation gives a function that makes
//! a store holding given rows, and runs all of it with [`contract_suite!`].

pub(crate) mod journal;
mod lists;
mod records;
mod scans;
mod usage;

use std::any::Any;
use std::sync::Arc;

use futures::StreamExt;

use super::{ListQuery, MetadataStore, ScanScope, ScannedRecord};

pub(crate) use lists::*;
pub(crate) use records::*;
pub(crate) use scans::*;
pub(crate) use usage::*;

/// A row as another program would insert it.
#[derive(Debug, Clone)]
pub(crate) struct Seed {
    pub id: String,
    pub original_name: String,
    pub stored_filename: String,
    pub folder: String,
    pub provider_path: String,
    pub size: i64,
    pub mime_type: &'static str,
    pub description: Option<&'static str>,
    pub uploaded_by: Option<&'static str>,
    pub created_at: Option<&'static str>,
}

impl Seed {
    pub(crate) fn new(number: u64, folder: &str, name: &str) -> Self {
        let stored = format!("stored_{}", id(number));
        Self {
            id: id(number),
            original_name: name.to_owned(),
            provider_path: format!("/srv/{folder}/{stored}"),
            stored_filename: stored,
            folder: folder.to_owned(),
            size: 10,
            mime_type: "application/pdf",
            description: None,
            uploaded_by: None,
            created_at: Some("2026-01-02 03:04:05"),
        }
    }

    pub(crate) fn at(number: u64, provider_path: &str) -> Self {
        Self {
            provider_path: provider_path.to_owned(),
            ..Self::new(number, "permits", "x.pdf")
        }
    }
}

pub(crate) fn id(number: u64) -> String {
    format!("{number:08x}-aaaa-4bbb-8ccc-0123456789ab")
}

/// A store and whatever must live as long as it does.
pub(crate) struct Seeded {
    pub store: Arc<dyn MetadataStore>,
    pub _keep: Box<dyn Any + Send>,
}

/// A test for each named function of this module, run on what `$seed` makes.
macro_rules! contract_suite {
    ($seed:path) => {
        crate::metadata::contract::contract_suite! { $seed:
            a_record_comes_back_as_it_was_written
            names_are_found_before_stored_names
            lists_are_paged_in_a_stable_order
            lists_sort_by_every_key
            searches_ignore_letter_case_and_know_no_wildcards
            lists_filter_by_type_folder_and_root
            usage_counts_each_file_once_and_the_longer_root_wins
            usage_counts_negative_sizes_as_nothing_and_does_not_overflow
            usage_breaks_down_by_type_month_and_uploader
            scans_are_ordered_by_bytes
            a_prefix_covers_what_begins_with_it_and_nothing_else
            outside_is_all_that_no_root_covers
            ids_are_known_whatever_their_case
            paths_are_known_byte_by_byte
            more_ids_than_a_statement_takes_are_looked_up
            folders_are_named_and_counted
            samples_are_drawn_from_the_root_in_order
            an_empty_table_has_an_answer_to_everything
        }
    };
    ($seed:path: $($name:ident)*) => {
        $(
            #[tokio::test]
            async fn $name() {
                crate::metadata::contract::$name(&$seed).await;
            }
        )*
    };
}
pub(crate) use contract_suite;

type Make = dyn Fn(Vec<Seed>) -> Seeded + Sync;

async fn scanned(store: &dyn MetadataStore, scope: ScanScope) -> Vec<ScannedRecord> {
    store.scan(scope).map(Result::unwrap).collect().await
}

async fn paths(store: &dyn MetadataStore, scope: ScanScope) -> Vec<String> {
    scanned(store, scope)
        .await
        .into_iter()
        .map(|record| record.provider_path)
        .collect()
}

async fn names(store: &dyn MetadataStore, query: ListQuery) -> Vec<String> {
    let page = store
        .list(&ListQuery {
            limit: query.limit.max(100),
            ..query
        })
        .await
        .unwrap();
    page.records
        .into_iter()
        .map(|record| record.original_name)
        .collect()
}
