//! README's table of error codes is the program's own.

use std::fmt::Write as _;

use civic_storage::error::CATALOGUE;

#[test]
fn the_readme_lists_every_code_as_the_program_has_it() {
    let mut table = "| error code | try again | what it means | what to do |\n|---|---|---|---|\n".to_owned();
    for entry in &CATALOGUE {
        let again = if entry.retryable { "yes" } else { "no" };
        let _ = writeln!(
            table,
            "| `{}` | {again} | {} | {} |",
            entry.name, entry.meaning, entry.remedy
        );
    }
    let readme = include_str!("../../README.md");
    assert!(
        readme.contains(&table),
        "README.md should have this table:\n{table}"
    );
}
