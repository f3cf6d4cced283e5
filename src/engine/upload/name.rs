//! How CivicPress names what it stores, and what it takes a file to be.

/// No name on disk may be longer, in bytes.
const LONGEST: usize = 255;
const UUID: usize = 36;
const SIDECAR: usize = ".meta.json".len();
/// What the base and the extension may have together: a `_`, the UUID and the sidecar's ending come on top.
const ROOM: usize = LONGEST - UUID - 1 - SIDECAR;

/// Types that CivicPress's library of MIME types names otherwise than ours.
///
/// # Source
/// The records of a CivicPress 0.3.1 deployment.
const OTHERWISE: [(&str, &str); 6] = [
    ("ico", "image/vnd.microsoft.icon"),
    ("m4a", "audio/mp4"),
    ("rtf", "application/rtf"),
    ("srt", "application/x-subrip"),
    ("tgz", "application/octet-stream"),
    ("wav", "audio/wave"),
];

/// The name divided into base and extension, the extension with its dot: the last dot divides, unless it is the first
/// character.
pub(in crate::engine) fn divide(name: &str) -> (&str, &str) {
    match name.rfind('.') {
        Some(at) if at > 0 => name.split_at(at),
        _ => (name, ""),
    }
}

/// The extension in lower case without its dot; empty where there is none.
pub(super) fn extension(name: &str) -> String {
    divide(name).1.trim_start_matches('.').to_lowercase()
}

/// `<base>_<uuid><.ext>`: of the base each UTF-16 unit but `[A-Za-z0-9-_]` becomes `_`, of the extension only
/// `[A-Za-z0-9.]` stays. The base is shortened so that the name and that of its sidecar fit a file system.
pub(super) fn stored(name: &str, id: &str) -> String {
    let (base, extension) = divide(name);
    let mut kept: String = extension
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || *c == '.')
        .collect();
    kept.truncate(ROOM - 1);
    let mut plain = String::with_capacity(base.len());
    for unit in base.encode_utf16() {
        let c = u8::try_from(unit).map_or('_', char::from);
        let keep = c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        plain.push(if keep { c } else { '_' });
    }
    plain.truncate(ROOM - kept.len());
    format!("{plain}_{id}{kept}")
}

/// The MIME type by the name.
pub(in crate::engine) fn mime_type(name: &str) -> String {
    let extension = extension(name);
    let other = OTHERWISE.iter().find(|(known, _)| *known == extension);
    other.map_or_else(
        || {
            mime_guess::from_ext(&extension)
                .first_or_octet_stream()
                .to_string()
        },
        |(_, kind)| (*kind).to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::providers::stored_shape;

    const ID: &str = "7a6a9deb-b64d-4f71-a830-476446039c5c";

    #[test]
    fn names_are_made_as_civicpress_made_them() {
        for (original, base, extension) in [
            ("agenda.txt", "agenda", ".txt"),
            (
                "Procès-verbal du 3 février.pdf",
                "Proc_s-verbal_du_3_f_vrier",
                ".pdf",
            ),
            ("会議録.pdf", "___", ".pdf"),
            ("emoji 🏛️ council.md", "emoji_____council", ".md"),
            ("many.dots.in.name.v1.2.txt", "many_dots_in_name_v1_2", ".txt"),
            ("REPORT.PDF", "REPORT", ".PDF"),
            (".hidden.txt", "_hidden", ".txt"),
            ("..txt", "_", ".txt"),
            ("README", "README", ""),
            ("noext.", "noext", "."),
            ("weird.ex t", "weird", ".ext"),
            ("data.meta.json", "data_meta", ".json"),
            ("dos\\path.txt", "dos_path", ".txt"),
            ("e\u{301}te\u{301}.txt", "e_te_", ".txt"),
        ] {
            assert_eq!(
                stored(original, ID),
                format!("{base}_{ID}{extension}"),
                "{original}"
            );
        }
    }

    #[test]
    fn types_are_those_that_civicpress_recorded() {
        for (name, kind) in [
            ("a.pdf", "application/pdf"),
            ("a.WAV", "audio/wave"),
            ("a.m4a", "audio/mp4"),
            ("a.ico", "image/vnd.microsoft.icon"),
            ("a.md", "text/markdown"),
            ("a.vtt", "text/vtt"),
            ("a.svg", "image/svg+xml"),
            ("a.webp", "image/webp"),
            ("a.gz", "application/gzip"),
            ("a.json", "application/json"),
            ("a.mp3", "audio/mpeg"),
            ("a.doc", "application/msword"),
            ("a.ex t", "application/octet-stream"),
            ("README", "application/octet-stream"),
            (".pdf", "application/octet-stream"),
        ] {
            assert_eq!(mime_type(name), kind, "{name}");
        }
    }

    proptest! {
        #[test]
        fn every_name_gets_one_that_fits_with_its_sidecar_and_is_known_again(name in "[^/\0]{1,300}") {
            let stored = stored(&name, ID);
            prop_assert!(stored.len() + SIDECAR <= LONGEST);
            let key = format!("public/{stored}");
            prop_assert_eq!(stored_shape(key.as_bytes()).map(|shape| shape.id), Some(ID));
        }
    }
}
