//! How `--explain` is shown: question by question.

use std::io::{self, Write};

use serde_json::Value;

use crate::engine::cleanup::Explanation;
use crate::output::{Human, View};

/// Explanations of one item, one per provider that it may mean.
pub struct ExplainView {
    pub explanations: Vec<Explanation>,
}

impl View for ExplainView {
    fn operation(&self) -> &'static str {
        "storage:cleanup"
    }

    fn message(&self) -> String {
        let verdicts: Vec<&str> = self.explanations.iter().map(|told| told.verdict).collect();
        format!("Verdict: {}", verdicts.join(", "))
    }

    fn json(&self, out: &mut dyn Write) -> serde_json::Result<()> {
        serde_json::to_writer(out, &serde_json::json!({ "explanations": self.explanations }))
    }

    fn items(&self, emit: &mut dyn FnMut(Value) -> io::Result<()>) -> io::Result<()> {
        self.explanations
            .iter()
            .try_for_each(|told| emit(serde_json::to_value(told)?))
    }

    fn summary(&self) -> Value {
        serde_json::json!({ "explanations": self.explanations.len() })
    }

    fn columns(&self) -> &'static [&'static str] {
        &["subject", "item", "provider", "verdict"]
    }

    fn table(&self, out: &mut Human<'_>) -> io::Result<()> {
        for told in &self.explanations {
            let at = told
                .provider
                .as_deref()
                .map(|name| format!(" on {}", Human::name(name)))
                .unwrap_or_default();
            out.heading(&format!("{}{at}", Human::name(&told.item)))?;
            for step in &told.steps {
                out.line(&format!("  {}", step.question))?;
                out.line(&format!("    {}", Human::name(&step.answer)))?;
            }
            out.line(&format!("  Verdict: {}", told.verdict))?;
        }
        Ok(())
    }
}
