//! Names with `*` for any text and `?` for any character. Everything else is itself, capitals told from small letters.

/// Whether the whole name is of the pattern. Takes no longer than the two lengths multiplied.
#[must_use]
pub fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut at, mut in_name) = (0, 0);
    // The last star, and how far of the name it stands for.
    let mut star: Option<(usize, usize)> = None;
    while in_name < name.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, in_name));
                at += 1;
            }
            Some('?') => (at, in_name) = (at + 1, in_name + 1),
            Some(wanted) if *wanted == name[in_name] => (at, in_name) = (at + 1, in_name + 1),
            _ => match &mut star {
                None => return false,
                Some((starred, taken)) => {
                    *taken += 1;
                    (at, in_name) = (*starred + 1, *taken);
                }
            },
        }
    }
    pattern[at..].iter().all(|rest| *rest == '*')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::matches;

    #[test]
    fn stars_are_any_text_and_question_marks_any_character() {
        for (pattern, name) in [
            ("*", ""),
            ("*", "a.pdf"),
            ("draft-*", "draft-"),
            ("draft-*", "draft-2.pdf"),
            ("*.pdf", "ä ö.pdf"),
            ("*-2026-??.pdf", "minutes-2026-07.pdf"),
            ("a*b*c", "axxbxxbc"),
            ("**", "x"),
            ("?", "é"),
            ("[1].pdf", "[1].pdf"),
        ] {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("", "a"),
            ("?", ""),
            ("draft-*", "Draft-1"),
            ("draft-*", "a draft-1"),
            ("*.pdf", "a.pdf.txt"),
            ("a*b*c", "axxbxxb"),
        ] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }

    /// The rule as it is said, without any cleverness.
    fn plainly(pattern: &[char], name: &[char]) -> bool {
        match pattern.split_first() {
            None => name.is_empty(),
            Some(('*', rest)) => (0..=name.len()).any(|taken| plainly(rest, &name[taken..])),
            Some((wanted, rest)) => name
                .split_first()
                .is_some_and(|(first, tail)| (*wanted == '?' || wanted == first) && plainly(rest, tail)),
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_plain_rule(pattern in "[ab*?]{0,8}", name in "[ab]{0,10}") {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            prop_assert_eq!(matches(&pattern, &name), plainly(&chars(&pattern), &chars(&name)));
        }
    }
}
