#!/bin/sh
# Make .venv and install into it what the book needs; quick when that was done before.
#
#     sh tools/environment.sh [PYTHON]
#
# The stamp .venv/.ready names the folder, the interpreter and the two files that say what to install. A venv that
# was made in another folder (a copy, a folder that was renamed) or whose interpreter is gone is made afresh.
set -eu
cd "$(dirname "$0")/.."
python=${1:-python3}
stamp=.venv/.ready

wanted() {
    printf '%s\n' "$(pwd -P)"
    cat requirements.txt pyproject.toml tools/environment.sh | cksum
    "$1" -c 'import sys; print(sys.version)'
}

if [ -x .venv/bin/python ] && [ -f "$stamp" ] && [ "$(wanted .venv/bin/python 2>/dev/null)" = "$(cat "$stamp")" ]; then
    exit 0
fi

if [ -e .venv ]; then
    if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
        echo "The interpreter of .venv is gone or has no pip: making .venv afresh."
        rm -rf .venv
    elif [ -f "$stamp" ] && [ "$(head -n 1 "$stamp")" != "$(pwd -P)" ]; then
        echo ".venv was made in another folder ($(head -n 1 "$stamp")): making it afresh."
        rm -rf .venv
    fi
fi

if [ ! -e .venv ]; then
    for candidate in "$python" python3.13 python3.12 python3.11; do
        if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then
            found=$candidate
            break
        fi
    done
    if [ -z "${found:-}" ]; then
        echo "No Python 3.11, 3.12 or 3.13 found: '$python' is $("$python" --version 2>&1 || true)." >&2
        echo "Name one: make ... PYTHON=/path/to/python3.12" >&2
        exit 1
    fi
    echo "Making .venv with $("$found" --version)."
    if ! "$found" -m venv .venv; then
        rm -rf .venv
        echo "'$found -m venv' failed. On Debian and Ubuntu it is in the package python3-venv." >&2
        exit 1
    fi
fi

echo "Installing the pinned requirements into .venv (about a minute, more on a slow line)."
.venv/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
wanted .venv/bin/python >"$stamp"
