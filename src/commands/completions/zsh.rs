//! The script for zsh. `compadd` throughout: it takes words as they are, colons included.

use super::{Flag, Grammar, Value, quoted};

const HEAD: &str = r#"#compdef civic
_civic() {
    local stem="" command="" word prev="" cur=${words[CURRENT]}
    local -i i skip=0
    local -a valued commands names texts
"#;

const PARSE: &str = r#"    for ((i = 2; i < CURRENT; i++)); do
        word=${words[i]}
        if ((skip)); then skip=0; continue; fi
        case $word in
            -*) ((${valued[(Ie)$word]})) && skip=1 ;;
            *) if [[ -z $command ]]; then
                   stem=${stem:+$stem:}$word
                   ((${commands[(Ie)$stem]})) && command=$stem
               fi ;;
        esac
    done
    prev=${words[CURRENT-1]}
    if [[ $cur == --*=* ]]; then
        prev=${cur%%=*}
        compset -P '*='
        skip=1
    fi
    if ((skip)); then
        case "$command $prev" in
"#;

pub fn render(grammar: &Grammar) -> String {
    let mut out = String::from(HEAD);
    let valued = grammar.all_flags().filter(|(_, flag)| flag.value.is_some());
    let valued: Vec<String> = valued.flat_map(|(_, flag)| flag.spellings()).collect();
    let names: Vec<String> = grammar.commands.iter().map(|verb| quoted(&verb.name)).collect();
    line(&mut out, &format!("    valued=({})", valued.join(" ")));
    line(&mut out, &format!("    commands=({})", names.join(" ")));
    out.push_str(PARSE);
    for (verb, flag) in grammar.all_flags() {
        let Some(value) = &flag.value else { continue };
        let command = verb.map_or("*", |verb| verb.name.as_str());
        let patterns: Vec<String> = flag
            .spellings()
            .iter()
            .map(|s| format!("{command}\\ {s}"))
            .collect();
        line(
            &mut out,
            &format!("            {}) {} ;;", patterns.join("|"), candidates(value)),
        );
    }
    line(
        &mut out,
        "        esac\n        return\n    fi\n    case $command in",
    );
    line(
        &mut out,
        &format!(
            "        '') if [[ $cur == -* ]]; then\n{}        else case $stem in",
            flags(&grammar.globals)
        ),
    );
    let mut top: Vec<(String, String)> = grammar
        .commands
        .iter()
        .map(|verb| (verb.name.clone(), verb.about.clone()))
        .collect();
    for (word, about) in grammar.next_words(&[]) {
        if !top.iter().any(|(known, _)| *known == word) {
            top.push((word, about));
        }
    }
    line(
        &mut out,
        &format!("            '')\n{}            ;;", described(&top)),
    );
    for stem in grammar.stems() {
        let next = described(&grammar.next_words(&stem));
        line(
            &mut out,
            &format!("            {})\n{next}            ;;", stem.join(":")),
        );
    }
    line(&mut out, "        esac; fi ;;");
    for verb in &grammar.commands {
        let own = flags(verb.flags.iter().chain(&grammar.globals));
        let operands = candidates(&verb.operands);
        let both = format!("if [[ $cur == -* ]]; then\n{own}        else {operands}; fi");
        line(&mut out, &format!("        {}) {both} ;;", verb.name));
    }
    line(
        &mut out,
        "    esac\n}\nif [[ $funcstack[1] == _civic ]]; then _civic \"$@\"; else compdef _civic civic; fi",
    );
    out
}

fn flags<'a>(flags: impl IntoIterator<Item = &'a Flag>) -> String {
    let pairs: Vec<_> = flags
        .into_iter()
        .map(|f| (format!("--{}", f.long), f.help.clone()))
        .collect();
    described(&pairs)
}

/// Words with what they mean beside them.
fn described(pairs: &[(String, String)]) -> String {
    let names: Vec<String> = pairs.iter().map(|(name, _)| quoted(name)).collect();
    let text = |(name, about): &(String, String)| {
        quoted(&if about.is_empty() {
            name.clone()
        } else {
            format!("{name}  -- {about}")
        })
    };
    let texts: Vec<String> = pairs.iter().map(text).collect();
    format!(
        "            names=({})\n            texts=({})\n            compadd -l -d texts -a names\n",
        names.join(" "),
        texts.join(" ")
    )
}

fn candidates(value: &Value) -> String {
    match value {
        Value::Words(words) => {
            let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
            format!("compadd -- {}", words.join(" "))
        }
        Value::File => "_files".to_owned(),
        Value::Directory => "_files -/".to_owned(),
        Value::Opaque => ":".to_owned(),
    }
}

fn line(out: &mut String, text: &str) {
    out.push_str(text);
    out.push('\n');
}
