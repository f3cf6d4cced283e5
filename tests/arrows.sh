#!/usr/bin/env bash
# Which room may know which: greps the tree for every arrow that points the wrong way and names it.
#   tests/arrows.sh [DIRECTORY]   checks DIRECTORY/src; the repository's own by default
#   tests/arrows.sh --self-test   shows that every rule fails on a tree that breaks it
set -euo pipefail
export LC_ALL=C
cd "$(dirname "$0")/.."

# never MESSAGE PATTERN PATH...: no line of code under the paths matches; comments may say what they like.
never() {
    local message=$1 pattern=$2 path hits paths=()
    shift 2
    for path in "$@"; do [ -e "$path" ] && paths+=("$path"); done
    [ ${#paths[@]} -gt 0 ] || return 0
    hits=$(grep -rHnE --include='*.rs' "$pattern" "${paths[@]}" | grep -vE '^[^:]+:[0-9]+:[[:space:]]*//' || true)
    report "$message" "$hits"
}

# never_but MESSAGE PATTERN ALLOWED-REGEX: the pattern stands nowhere in src but in files that match the regex.
never_but() {
    local others
    mapfile -t others < <(find src -name '*.rs' | grep -vE "^src/($3)" | sort)
    never "$1" "$2" "${others[@]}"
}

report() {
    [ -z "$2" ] && return
    printf 'broken arrow: %s\n%s\n\n' "$1" "$2"
    broken=$((broken + 1))
}

# A use of one of our rooms, however it is spelled: crate::a, crate::{a, b}, super::super::a.
room() { echo "crate::($1)\b|crate::\{([^}]*[ ,])?($1)\b|super::super::($1)\b"; }
# A use of an outside crate.
outside() { echo "\b($1)::|\buse ($1)\b"; }

check() {
    broken=0
    never "engine knows no terminal, no HTTP and no driver" \
        "$(outside 'clap|axum|indicatif|dialoguer|comfy_table|rusqlite|tokio_postgres')" src/engine src/engine.rs
    never "engine sees plain requests, never the rooms above it or the configuration" \
        "$(room 'cli|commands|output|api|config')" src/engine src/engine.rs
    never "providers know neither metadata nor engine nor what is above" \
        "$(room 'metadata|engine|cli|commands|output|api')" src/providers src/providers.rs
    never "resilience knows none of what it guards, nor what is above" \
        "$(room 'providers|metadata|engine|cli|commands|output|api')" src/resilience src/resilience.rs
    never_but "only providers put resilience around a store" '\b(Resilient|Resuming|Shield)::' 'providers/|resilience/'
    never "metadata knows neither providers nor engine, configuration or what is above" \
        "$(room 'providers|engine|config|cli|commands|output|api')" src/metadata src/metadata.rs
    never "config knows none of the rooms it configures" \
        "$(room 'engine|providers|metadata|cli|commands|output|api')" src/config src/config.rs
    never "output shows what it is given and asks nobody (engine's Progress aside)" \
        "$(room 'providers|metadata|config|cli|commands|api')" src/output src/output.rs
    never_but "only output writes to the terminal" '\b(e?print|e?println|dbg)!' 'output/|output\.rs'
    never_but "only main ends the process" 'process::(exit|abort)\b' 'main\.rs'
    never_but "YAML is read and written in config/yaml.rs only" "$(outside serde_yaml)" 'config/yaml(\.rs|/)'
    never_but "SQLite is spoken in metadata/sqlite only" "$(outside rusqlite)" 'metadata/sqlite(\.rs|/)'
    never "no unsafe code" '\bunsafe\b' src tests
    never "no test is switched off" '#\[ignore' src tests
    report "no file is longer than 500 lines" \
        "$(find src -name '*.rs' -exec awk 'END { if (NR > 500) print FILENAME ": " NR }' {} \;)"
    [ "$broken" -eq 0 ]
}

# Plants one violation at a time in an empty tree, and expects the check to fail with the words of that rule.
self_test() {
    local scratch failed=0 rules=0 file line words
    scratch=$(mktemp -d)
    trap "rm -rf '$scratch'" EXIT
    mkdir "$scratch/tests"
    while IFS='|' read -r file line words; do
        rm -rf "$scratch/src"
        mkdir -p "$scratch/$(dirname "$file")"
        printf '//! use clap; unsafe; crate::engine; println!\n%b\n' "$line" >"$scratch/$file"
        if [ "$words" = passes ]; then
            (cd "$scratch" && check) || { echo "self-test: refused though allowed: $file: $line"; failed=1; }
        elif (cd "$scratch" && check) >"$scratch/out" || ! grep -q "broken arrow: .*$words" "$scratch/out"; then
            echo "self-test: not caught: $file: $line"
            failed=1
        fi
        rules=$((rules + 1))
    done <<END
src/engine/a.rs|use clap::Parser;|no terminal
src/resilience/a.rs|use crate::providers::Key;|none of what it guards
src/engine/a.rs|let store = Resuming::new(store);|only providers put
src/providers/a.rs|let store = Resuming::new(store);|passes
src/engine/a.rs|let c = rusqlite::Connection::open(p);|no terminal
src/engine/deep/a.rs|use crate::config::Config;|plain requests
src/engine/a.rs|use crate::{metadata::X, output};|plain requests
src/engine/a.rs|use crate::{metadata, providers};|passes
src/providers/a.rs|use crate::metadata::FileRecord;|neither metadata
src/providers/s3/a.rs|use super::super::engine::Clock;|neither metadata
src/providers/a.rs|use crate::config::S3Config;|passes
src/metadata/a.rs|use crate::providers::Key;|neither providers
src/metadata/sqlite/a.rs|use crate::config::Config;|neither providers
src/metadata/sqlite/a.rs|use rusqlite::Connection;|passes
src/metadata/a.rs|use rusqlite::Connection;|SQLite is spoken
src/config/a.rs|use crate::providers::Mapping;|none of the rooms
src/config/a.rs|use serde_yaml::Value;|YAML is read
src/config/yaml.rs|use serde_yaml::Value;|passes
src/output/a.rs|use crate::engine::Progress;|passes
src/output/a.rs|use crate::metadata::FileRecord;|asks nobody
src/commands/a.rs|println!("x");|only output writes
src/output/a.rs|eprintln!("x");|passes
src/output/a.rs|std::process::exit(1);|only main ends
src/main.rs|std::process::exit(1);|passes
src/cache.rs|unsafe { x() }|no unsafe
src/cache.rs|#[ignore]|switched off
src/cache.rs|$(printf '\\n%.0s' {1..500})|longer than 500
END
    [ "$failed" -eq 0 ] && echo "arrows: every one of $rules planted cases was judged rightly"
}

case ${1:-} in
--self-test) self_test ;;
*) cd "${1:-.}" && check ;;
esac
