//! The script for fish: conditions on the command that was typed, in either spelling.

use super::{Flag, Grammar, Value};

const PARSE: &str = r"
# The command typed so far, joined by ':'; a first line says whether it is whole.
function __civic_command
    set -l tokens (commandline -opc)
    set -l stem ''
    set -l skip 0
    for word in $tokens[2..-1]
        if test $skip = 1
            set skip 0
            continue
        end
        if string match -q -- '-*' $word
            contains -- $word $__civic_valued; and set skip 1
            continue
        end
        test -n $stem; and set stem $stem:$word; or set stem $word
        if contains -- $stem $__civic_commands
            echo whole:$stem
            return
        end
    end
    echo stem:$stem
end
";

pub fn render(grammar: &Grammar) -> String {
    let valued = grammar.all_flags().filter(|(_, flag)| flag.value.is_some());
    let valued: Vec<String> = valued.flat_map(|(_, flag)| flag.spellings()).collect();
    let names: Vec<&str> = grammar.commands.iter().map(|verb| verb.name.as_str()).collect();
    let mut out = format!(
        "# fish completion for civic\nset -g __civic_valued {}\nset -g __civic_commands {}\n{PARSE}\ncomplete -c civic -f\n",
        valued.join(" "),
        names.join(" ")
    );
    for verb in &grammar.commands {
        word(&mut out, "stem:", (&verb.name, &verb.about));
    }
    for (next, about) in grammar.next_words(&[]) {
        if !names.contains(&next.as_str()) {
            word(&mut out, "stem:", (&next, &about));
        }
    }
    for stem in grammar.stems() {
        for (next, about) in grammar.next_words(&stem) {
            word(&mut out, &format!("stem:{}", stem.join(":")), (&next, &about));
        }
    }
    for flag in &grammar.globals {
        option(&mut out, None, flag);
    }
    for verb in &grammar.commands {
        let state = format!("whole:{}", verb.name);
        for flag in &verb.flags {
            option(&mut out, Some(&state), flag);
        }
        operand(&mut out, &state, &verb.operands);
    }
    out
}

fn condition(state: &str) -> String {
    format!("-n 'test (__civic_command) = {state}'")
}

fn word(out: &mut String, state: &str, (name, about): (&str, &str)) {
    line(
        out,
        &format!(
            "complete -c civic {} -a {} -d {}",
            condition(state),
            quoted(name),
            quoted(about)
        ),
    );
}

fn option(out: &mut String, state: Option<&str>, flag: &Flag) {
    let condition = state.map(|state| condition(state) + " ").unwrap_or_default();
    let short = flag.short.map(|short| format!(" -s {short}")).unwrap_or_default();
    let value = match &flag.value {
        None => String::new(),
        Some(Value::Words(words)) => format!(" -x -a {}", quoted(&words.join(" "))),
        Some(Value::File) => " -r -F".to_owned(),
        Some(Value::Directory) => " -x -a '(__fish_complete_directories)'".to_owned(),
        Some(Value::Opaque) => " -x".to_owned(),
    };
    line(
        out,
        &format!(
            "complete -c civic {condition}-l {}{short}{value} -d {}",
            flag.long,
            quoted(&flag.help)
        ),
    );
}

fn operand(out: &mut String, state: &str, value: &Value) {
    let what = match value {
        Value::Words(words) => format!("-a {}", quoted(&words.join(" "))),
        Value::File => "-F".to_owned(),
        Value::Directory => "-a '(__fish_complete_directories)'".to_owned(),
        Value::Opaque => return,
    };
    line(out, &format!("complete -c civic {} {what}", condition(state)));
}

/// fish reads `\` and `'` between single quotes.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

fn line(out: &mut String, text: &str) {
    out.push_str(text);
    out.push('\n');
}
