# `make` lists what there is to do. Everything that is made goes to target/.

SHELL := bash
TOOLS := target/tools/bin
export CARGO_TERM_PROGRESS_WHEN ?= never
# Whatever the environment says: what was built is looked for there.
export CARGO_TARGET_DIR := $(CURDIR)/target

help:            ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

demo: need       ## shows what civic does, on a copy of a real deployment
	cargo build --quiet --locked
	tests/demo.sh

test: target/azurite/installed lint  ## every check and every test, with the servers they need
	tests/servers/run $(TOOLS)/cargo-nextest nextest run --locked --profile full

lint: need target/tools/installed  ## format, clippy, arrows between rooms, licenses
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	tests/arrows.sh --self-test
	tests/arrows.sh
	$(TOOLS)/cargo-deny --log-level error --locked check bans licenses sources

bench: need target/tools/installed target/azurite/installed target/bench-tools/installed  ## ratios to peers; benches/scale/run tells how to set the sizes
	cargo build --release --locked --bins --examples
	tests/servers/run benches/scale/run

coverage: need target/tools/installed target/azurite/installed  ## line coverage into target/coverage
	@cargo llvm-cov --version >/dev/null 2>&1 || { echo "cargo llvm-cov is missing: cargo install cargo-llvm-cov"; exit 1; }
	PATH="$(CURDIR)/$(TOOLS):$$PATH" tests/servers/run cargo llvm-cov nextest --locked --profile full --html --output-dir target/coverage

completions: need  ## writes completions/ and man/ anew from the program
	cargo build --quiet --locked
	tests/regenerate.sh

tools: need target/tools/installed target/azurite/installed  ## installs what the tests need into target/
	@ls $(TOOLS)

target/tools/installed: tests/tools.txt
target/bench-tools/installed: benches/scale/tools.txt
target/%/installed:
	tests/install-tools.sh $< $(@D)
	@touch $@

target/azurite/installed: tests/azurite.txt
	@command -v node >/dev/null || { echo "node is missing, which Azurite runs on; on Debian: apt-get install nodejs npm"; exit 1; }
	@command -v npm >/dev/null || { echo "npm is missing; on Debian: apt-get install npm"; exit 1; }
	rm -rf $(@D) && mkdir -p $(@D)
	npm install --prefix $(@D) --no-audit --no-fund --no-save --ignore-scripts --loglevel=error $$(cat $<)
	@touch $@

need:
	@command -v cargo >/dev/null || { echo "cargo is missing: install Rust 1.88 or later"; exit 1; }
	@command -v cc >/dev/null || { echo "cc is missing; on Debian: apt-get install gcc libc6-dev"; exit 1; }
	@command -v python3 >/dev/null || { echo "python3 is missing; on Debian: apt-get install python3-pip"; exit 1; }

.PHONY: help demo test lint bench coverage completions tools need
