//! stdout carries the answer and nothing else; everything else goes to stderr. Which of the two, in which
//! format, with colour or without, is decided here and nowhere else.

use std::io::{self, Write};

use serde_json::Value;

/// One answer, rendered four ways. A command builds it, the printer picks the rendering.
pub trait View {
    /// `storage:usage` and the like.
    fn operation(&self) -> &'static str;

    /// One sentence that sums up the answer.
    fn message(&self) -> String;

    /// The envelope's `data`, streamed: long lists must not be held.
    ///
    /// # Errors
    /// Where writing fails, or where findings kept on disk cannot be read back.
    fn json(&self, out: &mut dyn Write) -> serde_json::Result<()>;

    /// One call per item, each an object; NDJSON prints it with `"type"` in front where it has none.
    ///
    /// # Errors
    /// Whatever `emit` returned, or where findings kept on disk cannot be read back.
    fn items(&self, emit: &mut dyn FnMut(Value) -> io::Result<()>) -> io::Result<()>;

    /// The last NDJSON line: all that is not an item.
    fn summary(&self) -> Value;

    /// CSV columns: keys of the item objects, in order; `a.b` reaches into an object.
    fn columns(&self) -> &'static [&'static str];

    /// For people.
    ///
    /// # Errors
    /// Where writing fails, or where findings kept on disk cannot be read back.
    fn table(&self, out: &mut Human<'_>) -> io::Result<()>;
}

/// Where a table goes. Names from users pass through [`Human::name`] on their way.
#[expect(missing_debug_implementations, reason = "holds a writer")]
pub struct Human<'a> {
    pub out: &'a mut dyn Write,
    pub color: bool,
    /// Columns of the terminal; `None` where there is none.
    pub width: Option<u16>,
}
