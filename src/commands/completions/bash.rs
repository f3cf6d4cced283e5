//! The script for bash 4 and later, with or without the bash-completion package.

use std::fmt::Write as _;

use super::{Flag, Grammar, Value};

const HEAD: &str = r#"# bash completion for civic
_civic() {
    # bash splits words at ':' and '=': take the line apart at blanks only
    local line=${COMP_LINE:0:COMP_POINT}
    local -a words
    read -ra words <<<"$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    local cur=${words[${#words[@]} - 1]} prev="" stem="" command="" i word
    local skip=0
@LISTS@    for ((i = 1; i < ${#words[@]} - 1; i++)); do
        word=${words[i]}
        if ((skip)); then skip=0; continue; fi
        case $word in
            -*) case $valued in *" $word "*) skip=1 ;; esac ;;
            *) if [[ -z $command ]]; then
                   stem=${stem:+$stem:}$word
                   case $commands in *" $stem "*) command=$stem ;; esac
               fi ;;
        esac
    done
    ((${#words[@]} > 2)) && prev=${words[${#words[@]} - 2]}
    local lead=""
    if [[ $cur == --*=* ]]; then
        prev=${cur%%=*} lead=$prev= cur=${cur#*=}
    fi
    local IFS=$'\n'
    COMPREPLY=()
    if ((skip)) || [[ -n $lead ]]; then
        case "$command $prev" in
"#;

const TAIL: &str = r#"    # bash replaces only what stands behind the last ':' of the word
    if [[ $cur == *:* && $COMP_WORDBREAKS == *:* ]]; then
        local behind=${cur%"${cur##*:}"}
        COMPREPLY=("${COMPREPLY[@]#"$behind"}")
    fi
}
complete -F _civic civic
"#;

pub fn render(grammar: &Grammar) -> String {
    let mut out = HEAD.replace("@LISTS@", &lists(grammar));
    for (verb, flag) in grammar.all_flags() {
        let Some(value) = flag.value.as_ref().filter(|value| **value != Value::Opaque) else {
            continue;
        };
        let command = verb.map_or("*", |verb| verb.name.as_str());
        let spelled = flag.spellings();
        let patterns: Vec<String> = spelled.iter().map(|s| format!("{command}\\ {s}")).collect();
        line(
            &mut out,
            &format!("            {}) {} ;;", patterns.join("|"), candidates(value)),
        );
    }
    line(&mut out, "        esac");
    line(&mut out, "        return");
    line(&mut out, "    fi");
    line(&mut out, "    case $command in");
    line(&mut out, &format!("        '') {} ;;", stems(grammar)));
    for verb in &grammar.commands {
        let flags = words(verb.flags.iter().chain(&grammar.globals));
        let operands = candidates(&verb.operands);
        let both = format!("if [[ $cur == -* ]]; then {flags}; else {operands}; fi");
        line(&mut out, &format!("        {}) {both} ;;", verb.name));
    }
    line(&mut out, "    esac");
    out.push_str(TAIL);
    out
}

/// What may follow while no command is complete.
fn stems(grammar: &Grammar) -> String {
    let flags = words(grammar.globals.iter());
    let mut text = format!("if [[ $cur == -* ]]; then {flags}; else case $stem in");
    let names = grammar.commands.iter().map(|verb| verb.name.clone());
    let firsts = grammar.next_words(&[]).into_iter().map(|(word, _)| word);
    let mut top: Vec<String> = names.chain(firsts).collect();
    top.sort();
    top.dedup();
    let _ = write!(text, " '') {} ;;", compgen(&top));
    for stem in grammar.stems() {
        let next: Vec<String> = grammar
            .next_words(&stem)
            .into_iter()
            .map(|(word, _)| word)
            .collect();
        let _ = write!(text, " {}) {} ;;", stem.join(":"), compgen(&next));
    }
    text + " esac; fi"
}

fn words<'a>(flags: impl Iterator<Item = &'a Flag>) -> String {
    compgen(&flags.map(|flag| format!("--{}", flag.long)).collect::<Vec<_>>())
}

fn compgen(words: &[String]) -> String {
    format!("COMPREPLY=($(compgen -W $'{}' -- \"$cur\"))", words.join("\\n"))
}

fn candidates(value: &Value) -> String {
    match value {
        Value::Words(all) => compgen(all),
        Value::File => "compopt -o filenames; COMPREPLY=($(compgen -f -- \"$cur\"))".to_owned(),
        Value::Directory => "compopt -o filenames; COMPREPLY=($(compgen -d -- \"$cur\"))".to_owned(),
        Value::Opaque => ":".to_owned(),
    }
}

/// The words that the parser asks for, each between blanks.
fn lists(grammar: &Grammar) -> String {
    let mut valued: Vec<String> = grammar
        .all_flags()
        .filter(|(_, flag)| flag.value.is_some())
        .flat_map(|(_, flag)| flag.spellings())
        .collect();
    valued.sort();
    valued.dedup();
    let names: Vec<&str> = grammar.commands.iter().map(|verb| verb.name.as_str()).collect();
    format!(
        "    local valued=' {} '\n    local commands=' {} '\n",
        valued.join(" "),
        names.join(" ")
    )
}

fn line(out: &mut String, text: &str) {
    out.push_str(text);
    out.push('\n');
}
