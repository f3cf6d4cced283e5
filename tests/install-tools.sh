#!/usr/bin/env bash
# tests/install-tools.sh REQUIREMENTS DIRECTORY: installs prebuilt tools anew, with pip or, where Python came without it,
# with the pip of a virtual environment.
set -euo pipefail
requirements=$1 to=$2

python=python3
if ! python3 -m pip --version >/dev/null 2>&1; then
    python3 -m venv target/venv >/dev/null 2>&1 || {
        echo "python3 has neither pip nor venv; on Debian: apt-get install python3-pip" >&2
        exit 1
    }
    python=target/venv/bin/python
fi
rm -rf "$to"
"$python" -m pip install --quiet --disable-pip-version-check --no-input --root-user-action=ignore \
    --target "$to" --requirement "$requirements"
