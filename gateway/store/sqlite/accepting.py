"""The statements of `gateway.store.engine.accepting`."""

from __future__ import annotations

from dataclasses import replace

from gateway.store.engine.statements import AcceptingSql
from gateway.store.sqlite.bulk import Write
from gateway.store.sqlite.keys import Holders, Keys, Taking

_MESSAGES = Write(
    "INSERT INTO message (tenant_no, id, state, queue, due_at, expires_at, attempts, carrier_no, category, segments,"
    " part_states, carrier_ids, reason_code, reason_text, network_error, recipient_hash, country, reserved,"
    " block) VALUES {values}",
    "(?,?,1,?,?,?,0,0,?,?,'','','','','',?,?,?,?)",
)
_BODIES = Write(
    "INSERT INTO body (tenant_no, id, accepted_at, encoding, sender, masked_recipient, owner, envelope, content,"
    " country) VALUES {values}",
    "(?,?,?,?,?,?,?,?,?,?)",
)
# Few messages are traced, so the others do without a column more.
_TRACES = Write(
    "WITH v (tenant_no, id, trace) AS (VALUES {values}) UPDATE message SET trace = v.trace FROM v"
    " WHERE message.tenant_no = v.tenant_no AND message.id = v.id",
    "(?,?,?)",
)

_NOBODY = Keys()  # of a store that is not opened: what keys are asked by is put in its place, see `with_keys`

SQL = AcceptingSql(
    messages=_MESSAGES,
    bodies=_BODIES,
    traces=_TRACES,
    keys=Taking(_NOBODY),
    live_holders=Holders(_NOBODY),
)


def with_keys(keys: Keys) -> AcceptingSql:
    """Return the statements of a store that knows its newest keys."""
    return replace(SQL, keys=Taking(keys), live_holders=Holders(keys))
