#!/usr/bin/env bash
# Shows civic on a copy of the fixture in target/demo, each command before what it answers. Changes nothing elsewhere.
set -euo pipefail
cd "$(dirname "$0")/.."
repository=$PWD scratch=$PWD/target/demo

# Nobody's own settings or keys may change what is shown.
if [ "${CIVIC_DEMO:-}" != inner ]; then
    exec env -i CIVIC_DEMO=inner HOME="$scratch" TERM="${TERM:-dumb}" TZ=UTC LC_ALL=C.UTF-8 \
        PATH="$repository/target/debug:/usr/local/bin:/usr/bin:/bin" bash "$repository/tests/demo.sh"
fi
rm -rf "$scratch" && mkdir -p "$scratch"
tar --extract --gzip --no-same-owner --file tests/fixtures/civicpress-local.tar.gz --directory "$scratch"

step() { printf '\n# %s\n' "$1"; }
# run COMMAND...: shows it as it would be typed, then what it says, and its exit code where that is not 0.
run() {
    local code=0 word line='$'
    for word in "$@"; do
        case $word in *' '*) word="\"$word\"" ;; esac
        line+=" $word"
    done
    printf '%s\n' "$line"
    "$@" || code=$?
    [ "$code" -eq 0 ] || printf '(exit code %s)\n' "$code"
    # No code of civic's: there is no program, or it died.
    [ "$code" -lt 126 ] || [ "$code" -eq 130 ] || exit "$code"
}

step "A deployment that CivicPress made, moved here: storage.yml and .civicrc get the new place, the old one is an alias"
cd "$scratch/civicpress-local"
sed -i "s#/srv/civicpress#$PWD#" .civicrc .system-data/storage.yml
sed -i "s#^  local:#  local:\n    aliases: [/srv/civicpress/storage]#" .system-data/storage.yml
run civic storage:config --validate

step "What is stored"
run civic storage:usage
run civic storage:list --folder permits --limit 5
run civic storage:info permits/permit-0001.pdf

step "What drifted: somebody lost a file, cut one short and copied one in"
rm storage/permits/permit-0002_*.pdf
truncate --size 100 storage/permits/permit-0001_*.pdf
echo "not from here" >storage/permits/scan_5f0c3a52-3c6b-4d0e-9a55-1d3c1f6f2b11.pdf
touch --date "2026-11-20 10:00" storage/permits/scan_* storage/permits/permit-0001_*.pdf
run civic storage:cleanup --dry-run --min-age 0

step "Files in, and out again: each gets an id of its own; what is executable is never stored"
mkdir "$scratch/inbox"
printf 'Zone A: gardens\n' >"$scratch/inbox/Zoning plan é.txt"
printf 'Zone B: mills\n' >"$scratch/inbox/mills.txt"
printf 'MZ' >"$scratch/inbox/setup.exe"
run civic storage:upload --recursive ../inbox --folder public --uploaded-by clerk1
run civic storage:upload ../inbox/mills.txt --folder public --skip-existing --silent
run civic storage:download public/mills.txt --out -
run civic storage:usage --folder public

step "The same for scripts"
run civic storage:cleanup --dry-run --min-age 0 --kind orphaned-records --output csv
run civic storage:cleanup --dry-run --min-age 0 --fail-on-findings --silent

step "Why one of them is what it is"
run civic storage:cleanup --dry-run --min-age 0 --explain permits/scan_5f0c3a52-3c6b-4d0e-9a55-1d3c1f6f2b11.pdf

step "Into the trash with what belongs to nobody, and back again"
run civic storage:cleanup --apply --yes --min-age 0
run civic storage:undo "$(basename storage/.trash/*)" --yes

step "Into another folder, bytes, sidecar and record together; and a description"
run civic storage:move "permits/site plan.PNG" --folder public
run civic storage:update "public/site plan.PNG" --description "As built"
run civic storage:info "public/site plan.PNG"

step "A folder that holds files is not removed"
run civic storage:folder:remove permits

step "A deployment of one's own"
mkdir "$scratch/town" && cd "$scratch/town"
run civic storage:init --yes
run civic storage:folder:add plans --allowed-types pdf,dwg --max-size 50MB --description "Zoning plans"
run civic storage:config --update global.max_file_size=250MB --dry-run
run civic storage:usage
