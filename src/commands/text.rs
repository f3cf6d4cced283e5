//! An answer that is a text made for another program: a shell's script, a manual page. In a table it is the text
//! alone.

use std::io::{self, Write};

use serde_json::{Value, json};

use crate::output::{Human, View};

pub struct TextView {
    pub operation: &'static str,
    pub text: String,
}

impl View for TextView {
    fn operation(&self) -> &'static str {
        self.operation
    }

    fn message(&self) -> String {
        format!("{} lines", self.text.lines().count())
    }

    fn json(&self, out: &mut dyn Write) -> serde_json::Result<()> {
        serde_json::to_writer(out, &json!({ "text": self.text }))
    }

    fn items(&self, emit: &mut dyn FnMut(Value) -> io::Result<()>) -> io::Result<()> {
        emit(json!({ "text": self.text }))
    }

    fn summary(&self) -> Value {
        json!({ "lines": self.text.lines().count() })
    }

    fn columns(&self) -> &'static [&'static str] {
        &["text"]
    }

    fn table(&self, out: &mut Human<'_>) -> io::Result<()> {
        out.out.write_all(self.text.as_bytes())
    }
}
