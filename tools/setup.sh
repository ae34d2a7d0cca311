#!/bin/sh
# Makes .venv ready: the pinned packages of requirements-dev.lock, and this tree as an editable install.
#
# A stamp in .venv holds the hash of what was installed: with the same lock file and pyproject.toml there is nothing to
# do, and nothing is asked of the network. A changed pyproject.toml alone renews the editable install, also offline.
# PYTHON=... chooses the interpreter for a new .venv.
set -eu

cd "$(dirname "$0")/.."
venv=.venv
stamp=$venv/.smsgw-setup
log=$venv/setup.log

say() { printf 'setup: %s\n' "$*"; }
fail() { printf 'setup: %s\n' "$*" >&2; exit 1; }
digest() { cat "$@" | sha256sum | cut -d ' ' -f 1; }
usable() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }
version() { "$1" -c 'import platform; print(platform.python_version())'; }

as_root() {
  if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@"; fi
}

may_be_root() {
  [ "$(id -u)" -eq 0 ] || { command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; }
}

find_python() {
  if [ -n "${PYTHON:-}" ] && ! usable "$PYTHON"; then fail "PYTHON=$PYTHON is no Python of version 3.11 or later"; fi
  for name in ${PYTHON:-} python3.13 python3.12 python3.11 python3; do
    if usable "$name"; then
      command -v "$name"
      return
    fi
  done
  fail "no Python of version 3.11 or later runs here; install one (Debian: apt-get install python3 python3-venv) or set PYTHON=/path/to/python3"
}

# Debian keeps the part of Python that makes virtual environments in a package of its own.
need_ensurepip() {
  if "$1" -c 'import ensurepip, venv' >/dev/null 2>&1; then return; fi
  package=python$("$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])')-venv
  if ! command -v apt-get >/dev/null 2>&1; then
    fail "$1 cannot make virtual environments (no ensurepip); install your system's package for that, then try again"
  fi
  if ! may_be_root; then
    fail "$1 cannot make virtual environments; run this once, then try again: sudo apt-get install -y $package"
  fi
  say "installing the system package $package"
  apt_install "$package" || fail "apt-get could not install $package; run it by hand to see why: apt-get install -y $package"
}

apt_install() {
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$1" >/dev/null 2>&1 && return
  as_root apt-get update -qq >/dev/null 2>&1 || true
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$1" >/dev/null
}

make_venv() {
  if usable "$venv/bin/python" && "$venv/bin/python" -c 'import pip' >/dev/null 2>&1; then return; fi
  python=$(find_python)
  need_ensurepip "$python"
  say "creating $venv with Python $(version "$python") ($python)"
  "$python" -m venv --clear "$venv" || fail "could not create $venv with $python; see the message above"
}

# One line a package on its way; the whole output goes to the log.
progress() {
  awk -v total="$1" -v log_file="$log" -v tty="$2" '
    { print >> log_file; fflush(log_file) }
    /^Collecting / {
      seen++
      if (tty) printf "\rsetup: %d of about %d: %-40.40s", seen, total, $2
      else if (seen % 10 == 0) printf "setup: %d of about %d packages\n", seen, total
      fflush()
    }
    /^Installing collected packages/ { if (tty) printf "\r%-70s\r", ""; print "setup: unpacking"; fflush() }'
}

install_lock() {
  total=$(grep -c '^[A-Za-z]' requirements-dev.lock)
  say "installing $total pinned packages (a minute or three the first time; details in $log)"
  tty=0
  if [ -t 1 ]; then tty=1; fi
  rm -f "$log" "$log.failed"
  # The exit status of pip, not that of the pipe, says how it went (POSIX sh has no pipefail).
  { pip_install --require-hashes -r requirements-dev.lock 2>&1 || echo failed >"$log.failed"; } | progress "$total" "$tty"
  if [ -e "$log.failed" ]; then give_up; fi
}

install_project() {
  pip_install --no-deps --no-build-isolation -e . >>"$log" 2>&1 || give_up
}

pip_install() {
  "$venv/bin/python" -m pip install --disable-pip-version-check --no-input --progress-bar off "$@"
}

give_up() {
  tail -n 15 "$log" >&2
  fail "the installation failed: the last lines of $log are above; a network error is worth a second try"
}

lock_key=$(digest requirements-dev.lock)
# The place belongs to it: a tree that was moved or copied with its .venv is set up again.
project_key=$({ cat pyproject.toml; pwd -P; } | sha256sum | cut -d ' ' -f 1)
have=$(cat "$stamp" 2>/dev/null || true)
if [ "$have" = "$lock_key $project_key" ] && [ -x "$venv/bin/python" ]; then exit 0; fi

make_venv
have=$(cat "$stamp" 2>/dev/null || true) # again: a new .venv has none
rm -f "$stamp"
if [ "${have%% *}" != "$lock_key" ]; then install_lock; fi
install_project
printf '%s %s\n' "$lock_key" "$project_key" >"$stamp"
say "ready: $venv (Python $(version "$venv/bin/python"))"
