"""What only the node knows of a run: how often its policies were evaluated, and how much its audit has grown.

The first is read from the page for Prometheus, the second from the database of a node that has ended.
"""

from __future__ import annotations

import re
import socket
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

import apsw

_EVALUATIONS = re.compile(rb"^smsgw_policy_evaluations_total(?:\{[^}]*\})? ([0-9.e+]+)$", re.MULTILINE)
_WAIT_S = 30.0


def free_port() -> int:
    """Return a port of loopback that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def page(port: int) -> bytes:
    """Return the metrics page of the node. Raises OSError."""
    with closing(HTTPConnection("127.0.0.1", port, timeout=_WAIT_S)) as connection:
        connection.request("GET", "/metrics")
        return connection.getresponse().read()


def evaluations(text: bytes) -> int:
    """Return how many questions the cache of decisions did not answer, by a metrics page. Raises ValueError."""
    found = _EVALUATIONS.search(text)
    if found is None:
        raise ValueError("the node's metrics page has no smsgw_policy_evaluations_total")
    return int(float(found.group(1)))


def hit_rate(evaluated: int, calls: int, messages: int) -> float:
    """Return the share of questions, 0 to 1, that the cache answered: one a call or frame, and two a message, about its
    sending and its route. A stream asks more often than that, so its share is this at least."""
    return 1 - evaluated / (calls + 2 * messages)


def audit_bytes(database: Path) -> int:
    """Return how many octets the records of the audit have."""
    with closing(apsw.Connection(str(database), apsw.SQLITE_OPEN_READONLY)) as db:
        return sum(size for (size,) in db.execute("SELECT length(records) FROM audit_commit"))
