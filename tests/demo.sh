#!/usr/bin/env bash
# Shows civic on a copy of the fixture, in target/demo. Prints each command before what it answers.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
rm -rf target/demo && mkdir -p target/demo
tar --extract --gzip --no-same-owner --file tests/fixtures/civicpress-local.tar.gz --directory target/demo
cd target/demo/civicpress-local
export PATH="$root/target/debug:$PATH"

step() { printf '\n# %s\n' "$1"; }
run() { printf '$ %s\n' "$*"; "$@"; }

step "What this is"
run civic --version
