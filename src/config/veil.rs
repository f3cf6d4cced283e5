//! Hiding what may be a secret in the lines of a `storage.yml`, known keys or not, whatever the style it is written in:
//! a diff shows lines as they stand, so they are judged as they stand. It hides too much rather than too little.

use super::yaml::{Document, Mapping, Value};

const MASK: &str = "********";
/// What a key that holds a secret has in its name, in lower case.
const TELLING: [&str; 11] = [
    "credential",
    "secret",
    "password",
    "passwd",
    "token",
    "apikey",
    "_key",
    "sas",
    "connection_string",
    "connectionstring",
    "webhook",
];

/// The lines, their ends cut off, with a mask where a secret may stand.
pub fn veiled(lines: &[&str]) -> Vec<String> {
    let known = Document::parse(lines.concat()).map_or(Vec::new(), |document| secrets(document.root()));
    // Indentation of the key that everything indented deeper belongs to.
    let mut hidden: Option<usize> = None;
    let mut out = Vec::with_capacity(lines.len());
    for line in lines {
        let line = line.trim_end();
        let indent = line.len() - line.trim_start().len();
        if !line.is_empty() && hidden.is_some_and(|above| indent <= above) {
            hidden = None;
        }
        let line = known
            .iter()
            .fold(line.to_owned(), |line, secret| line.replace(secret, MASK));
        out.push(match (hidden, first_secret(&line)) {
            (Some(_), _) => inside(&line, indent),
            (None, Some(end)) => {
                let (key, rest) = line.split_at(end);
                let section = key
                    .trim_end_matches([':', ' ', '"', '\''])
                    .ends_with("credentials");
                hidden = (section || !rest.trim().is_empty()).then_some(indent);
                format!("{key}{}", mask_of(rest))
            }
            (None, None) => line,
        });
    }
    out
}

/// A line that belongs to a secret: no more than a key is shown, unless what it holds is none.
fn inside(line: &str, indent: usize) -> String {
    let Some((key, rest)) = line.split_once(": ").filter(|(key, _)| is_word(key.trim())) else {
        let is_key = line.trim().strip_suffix(':').is_some_and(is_word);
        return match line.trim() {
            "" => String::new(),
            _ if is_key => line.to_owned(),
            _ => format!("{}{MASK}", &line[..indent]),
        };
    };
    if is_open(key.trim()) {
        return line.to_owned();
    }
    format!("{key}:{}", mask_of(rest))
}

fn mask_of(rest: &str) -> String {
    match rest.trim() {
        "" => String::new(),
        comment if comment.starts_with('#') => rest.to_owned(),
        _ => format!(" {MASK}"),
    }
}

/// Where the first key of a line that may hold a secret ends, its colon included.
fn first_secret(line: &str) -> Option<usize> {
    let mut start = 0;
    for (at, _) in line.match_indices(':') {
        let before = line[start..at].trim_end_matches(['"', '\'', ' ']);
        let word = before
            .rsplit(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '_' | '-'))
            .next();
        if word.is_some_and(is_secret) {
            return Some(at + 1);
        }
        start = at + 1;
    }
    None
}

fn is_secret(key: &str) -> bool {
    let lower = key.to_lowercase();
    !is_open(key) && TELLING.iter().any(|part| lower.contains(part))
}

fn is_open(key: &str) -> bool {
    key.ends_with("_file") || key == "project_id"
}

fn is_word(text: &str) -> bool {
    text.bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
}

/// Every value that stands under `credentials`, and the webhook, whose URL may hold one; the longest first, so that
/// one inside another leaves nothing behind.
fn secrets(root: &Mapping) -> Vec<String> {
    let mut found = Vec::new();
    gather(&Value::Mapping(root.clone()), false, &mut found);
    found.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    found
}

fn gather(value: &Value, secret: bool, found: &mut Vec<String>) {
    match value {
        Value::Mapping(entries) => {
            for (key, value) in entries {
                let key = key.as_str().unwrap_or_default();
                let named = matches!(key, "credentials" | "webhook");
                gather(value, (secret || named) && !is_open(key), found);
            }
        }
        Value::Sequence(values) => values.iter().for_each(|value| gather(value, secret, found)),
        Value::String(text) if secret && !text.is_empty() => found.push(text.clone()),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn veil(text: &str) -> String {
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        veiled(&lines).join("\n")
    }

    #[test]
    fn a_secret_in_a_block_an_escape_or_a_number_was_shown() {
        let text = "providers:\n  gcs:\n    bucket: b\n    credentials:\n      project_id: p\n      service_account_key: |\n        \
                    {\n        \"private_key\": \"hunter2\"\n        }\n      account_key: 4711\n      sas_token: \
                    \"hun\\x74er2\"\n      secret_access_key_file: /run/secret\n    prefix: x\n";
        let shown = veil(text);
        assert!(
            !shown.contains("hunter") && !shown.contains("4711") && !shown.contains("x74"),
            "{shown}"
        );
        for kept in [
            "bucket: b",
            "project_id: p",
            "account_key: ********",
            "/run/secret",
            "prefix: x",
        ] {
            assert!(shown.contains(kept), "{kept}: {shown}");
        }
    }

    #[test]
    fn a_secret_under_an_unknown_key_was_shown() {
        for text in [
            "apiToken: hunter2\nfolders:\n",
            "a: { b: c, secret_key: hunter2, d: e }\n",
            "client_secret:\n  value_secret: [\n    hunter2 ]\n",
            "\"db-password\" : 'hunter2'\n",
            "private_key: >-\n  hunter2\n\n  hunter2\n",
        ] {
            let shown = veil(text);
            assert!(!shown.contains("hunter2") && shown.contains(MASK), "{shown}");
        }
    }

    #[test]
    fn what_is_no_secret_stays() {
        let text = "folders:\n  permits: { path: permits, access: public }\n  secrets:\n    path: secrets\n# a comment";
        assert_eq!(veil(text), text);
    }
}
