#!/bin/sh
# Renews requirements.lock and requirements-dev.lock from pyproject.toml (`make lock`).
#
# Both pin every package, for every supported Python, by its hashes, and name no index: a clone installs from whatever
# index its own pip is set to. uv resolves; it is installed beside the project, into .tools/.
#   tools/lock.sh                 keep what is pinned, add and drop what pyproject.toml asks for
#   tools/lock.sh --upgrade       take the newest of everything
set -eu

cd "$(dirname "$0")/.."
tools/setup.sh
uv=.tools/uv/bin/uv
if [ ! -x "$uv" ]; then
  echo 'lock: installing uv into .tools/uv'
  .venv/bin/python -m venv .tools/uv
  .tools/uv/bin/pip install --quiet --disable-pip-version-check uv
fi

lock() {
  target=$1
  shift
  "$uv" pip compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes \
    --no-header --no-emit-index-url --no-emit-find-links --output-file "$target" "$@"
  if grep -n '://' "$target"; then
    echo "lock: $target names an address (above); it must not" >&2
    exit 1
  fi
  echo "lock: $target pins $(grep -c '^[A-Za-z]' "$target") packages"
}

lock requirements-dev.lock --group dev "$@"
lock requirements.lock --constraint requirements-dev.lock # what runs is what was tested
