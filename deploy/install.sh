#!/bin/sh
# Installs what `make run` (local) or `make test` (dev) needs into .venv, from the locked versions and hashes.
# Does nothing when it is there already. Usage: sh deploy/install.sh local|dev
set -eu
cd "$(dirname "$0")/.."
wanted="$1"
lock="deploy/requirements/$wanted.lock"
stamp=".venv/installed"

fail() {
    echo "$*" >&2
    exit 1
}

sum_of() { cksum <"deploy/requirements/$1.lock"; }

is_new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

if [ -x .venv/bin/python ] && is_new_enough .venv/bin/python && [ -f "$stamp" ]; then
    # dev contains local, so either satisfies what run needs
    for installed in "$wanted" dev; do
        [ "$(cat "$stamp")" = "$installed $(sum_of "$installed")" ] && exit 0
    done
fi

if ! { [ -x .venv/bin/python ] && is_new_enough .venv/bin/python; }; then
    python=""
    for candidate in "${PYTHON:-python3}" python3.14 python3.13 python3.12 python3.11; do
        if command -v "$candidate" >/dev/null 2>&1 && is_new_enough "$candidate"; then
            python="$candidate"
            break
        fi
    done
    [ -n "$python" ] || fail "Python 3.11 or newer is needed and was not found; install it, or name it: make PYTHON=/path/to/python3 run"
    "$python" -c 'import ensurepip, venv' 2>/dev/null ||
        fail "This Python ($python) has no working venv module; on Debian and Ubuntu: apt install python3-venv"
    echo "Making .venv with $("$python" --version)"
    rm -rf .venv
    "$python" -m venv .venv || fail "The environment .venv cannot be made with $python."
fi

rm -f "$stamp"
echo "Installing the locked packages of $lock into .venv, once"
.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-input --require-hashes -r "$lock" ||
    fail "The packages of $lock could not be installed (see above); pip's usual settings for proxies and mirrors apply."
echo "$wanted $(sum_of "$wanted")" >"$stamp"
