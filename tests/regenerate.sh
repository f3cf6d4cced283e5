#!/usr/bin/env bash
# Writes completions/ and man/ anew from the debug build; a test holds the checked-in files against the program.
set -euo pipefail
cd "$(dirname "$0")/.."
civic=${CARGO_TARGET_DIR:-target}/debug/civic
mkdir -p completions
"$civic" completions bash >completions/civic.bash
"$civic" completions zsh >completions/_civic
"$civic" completions fish >completions/civic.fish
rm -rf man
"$civic" man --out man >/dev/null
