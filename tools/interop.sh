#!/bin/sh
# Installs what `make test-interop` needs: the npm packages of tests/interop/node into .tools/interop, by lock file, the
# PyPI packages of tests/interop/python into .tools/interop-python, by hash, those of python312 where there is such a Python, and the Debian packages of the commands that are missing. Does nothing, and asks nothing of the network, when all is there.
set -eu

cd "$(dirname "$0")/.."
source=tests/interop/node
target=.tools/interop
stamp=$target/.stamp
python_lock=tests/interop/python/requirements.lock
python_target=.tools/interop-python
newer_lock=tests/interop/python312/requirements.lock
newer_target=.tools/interop-python312

say() { printf 'interop: %s\n' "$*"; }
fail() { printf 'interop: %s\n' "$*" >&2; exit 1; }

missing_packages() {
  for pair in node:nodejs npm:npm tshark:tshark strace:strace softhsm2-util:softhsm2 openssl:openssl curl:curl go:golang-go; do
    if ! command -v "${pair%%:*}" >/dev/null 2>&1; then printf '%s ' "${pair##*:}"; fi
  done
  if [ ! -d /usr/share/gocode/src/golang.org/x/mod/sumdb ]; then printf 'golang-golang-x-mod-dev '; fi
}

apt() {
  if [ "$(id -u)" -eq 0 ]; then
    env DEBIAN_FRONTEND=noninteractive apt-get "$@"
  else
    sudo -n env DEBIAN_FRONTEND=noninteractive apt-get "$@"
  fi
}

install_packages() {
  by_hand="sudo apt-get install -y $1"
  command -v apt-get >/dev/null 2>&1 || fail "missing: $1; install them with your system's package manager, then try again"
  if [ "$(id -u)" -ne 0 ] && ! sudo -n true 2>/dev/null; then
    fail "missing: $1; run this once, then try again: $by_hand"
  fi
  say "installing the system packages: $1"
  apt update -qq >/dev/null || say 'apt-get update failed; trying with the package lists as they are'
  # shellcheck disable=SC2086 # a list of words
  apt install -qq -y --no-install-recommends $1 >/dev/null || fail "apt-get failed; try by hand: $by_hand"
}

# --ignore-scripts: none of these packages needs one, and a package's script is foreign code.
install_node_packages() {
  say 'installing the npm packages of tests/interop/node'
  rm -rf "$target"
  mkdir -p "$target"
  cp "$source/package.json" "$source/package-lock.json" "$target/"
  npm ci --prefix "$target" --ignore-scripts --no-audit --no-fund --loglevel=error >/dev/null ||
    fail 'npm ci failed; see the message above'
  printf '%s\n' "$key" >"$stamp"
}

# Not into .venv: nothing but these tests uses them.
install_python_packages() {
  say 'installing the PyPI packages of tests/interop/python'
  rm -rf "$python_target"
  .venv/bin/pip install --quiet --disable-pip-version-check --require-hashes --no-deps --only-binary :all: \
    --target "$python_target" -r "$python_lock" || fail 'pip failed; see the message above'
  printf '%s\n' "$python_key" >"$python_target/.stamp"
}

# What needs a newer Python than the project: its tests are left out where there is none.
newer_python() {
  for candidate in python3.14 python3.13 python3.12 python3 "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.1[2-9]*/bin/python3; do
    if "$candidate" -c 'import pip, sys; sys.exit(sys.version_info < (3, 12))' >/dev/null 2>&1; then
      command -v "$candidate"
      return
    fi
  done
}

install_newer_packages() {
  interpreter=$(newer_python)
  if [ -z "$interpreter" ]; then
    say 'no Python 3.12 is at hand: the tests with aics-tlog are left out'
    return
  fi
  say 'installing the PyPI packages of tests/interop/python312'
  rm -rf "$newer_target"
  "$interpreter" -m pip install --quiet --disable-pip-version-check --root-user-action ignore --require-hashes --no-deps \
    --only-binary :all: --target "$newer_target" -r "$newer_lock" || fail 'pip failed; see the message above'
  printf '%s\n' "$interpreter" >"$newer_target/.interpreter"
  printf '%s\n' "$newer_key" >"$newer_target/.stamp"
}

packages=$(missing_packages)
if [ -n "$packages" ]; then install_packages "${packages% }"; fi
key=$(cat "$source/package.json" "$source/package-lock.json" | sha256sum | cut -d ' ' -f 1)
if [ "$(cat "$stamp" 2>/dev/null || true)" != "$key" ]; then install_node_packages; fi
python_key=$(sha256sum <"$python_lock" | cut -d ' ' -f 1)
if [ "$(cat "$python_target/.stamp" 2>/dev/null || true)" != "$python_key" ]; then install_python_packages; fi
newer_key=$(sha256sum <"$newer_lock" | cut -d ' ' -f 1)
if [ "$(cat "$newer_target/.stamp" 2>/dev/null || true)" != "$newer_key" ]; then install_newer_packages; fi
