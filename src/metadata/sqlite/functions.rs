//! What SQL cannot say by itself: letter case beyond ASCII, and times in whatever form they were written.
//!
//! A schema cannot call these (`DIRECTONLY`): only statements of this program can.

use rusqlite::Connection;
use rusqlite::functions::FunctionFlags;

use super::rows;

/// - `civic_fold(text)`: equal for texts that differ in letter case only; NULL stays NULL.
/// - `civic_moment(stamp)`: milliseconds since 1970, NULL where the stamp is no time.
pub(super) fn register(connection: &Connection) -> rusqlite::Result<()> {
    let flags =
        FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC | FunctionFlags::SQLITE_DIRECTONLY;
    connection.create_scalar_function("civic_fold", 1, flags, |context| {
        Ok(rows::lossy(context.get_raw(0)).map(|text| fold(&text)))
    })?;
    connection.create_scalar_function("civic_moment", 1, flags, |context| {
        Ok(rows::stamp(context.get_raw(0))
            .time()
            .map(|time| time.timestamp_millis()))
    })
}

/// Up and down again, so that `ß` equals `ss`, and `ς` equals `σ`.
pub(super) fn fold(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    text.chars()
        .flat_map(char::to_uppercase)
        .flat_map(char::to_lowercase)
        .collect()
}
