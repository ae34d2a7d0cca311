"""The statements of `gateway.store.engine.usage` and `gateway.store.engine.tally`."""

from __future__ import annotations

from gateway.store.engine.statements import UsageSql
from gateway.store.postgres.bulk import Lookup, Plain, Select, Write
from gateway.store.usage import NUMBERS

_KEY = "tenant_no, day, category, country, carrier_no, currency"
# In the order of the rows, which is that of their keys for all who write: nobody waits in a circle.
_ADD = Write(
    f"INSERT INTO usage ({_KEY}, {', '.join(NUMBERS)}) SELECT {_KEY}, {', '.join(NUMBERS)} FROM {{v}} ORDER BY n"  # noqa: S608 - constants of this module
    f" ON CONFLICT ({_KEY}) DO UPDATE SET " + ", ".join(f"{name} = usage.{name} + excluded.{name}" for name in NUMBERS),
    "tenant_no int, day int, category int, country text, carrier_no int, currency text, "
    + ", ".join(f"{name} int" for name in NUMBERS),
)
FACTS = Lookup(
    "SELECT v.n, m.category, m.country, m.segments, CASE WHEN m.submitted_at IS NULL THEN m.reserved ELSE 0 END,"
    " (m.submitted_at IS NULL)::int, b.accepted_at FROM {v}"
    " JOIN message AS m ON m.tenant_no = v.tenant_no AND m.id = v.id"
    " JOIN body AS b ON b.tenant_no = v.tenant_no AND b.id = v.id",
    "tenant_no int, id bytes",
)
# $1 and $2: the days; $3: the tenant; then what the rows are told apart by, and how many there may be.
SUMS = Select(
    "SELECT CASE WHEN $4 = 1 THEN t.name ELSE '' END, CASE WHEN $5 = 1 THEN u.day ELSE -1 END,"  # noqa: S608 - constants of this module
    " CASE WHEN $6 = 1 THEN u.category ELSE 0 END, CASE WHEN $8 = 1 THEN u.country ELSE '' END,"
    " CASE WHEN $7 = 1 THEN c.name ELSE '' END, u.currency, "
    + ", ".join(f"sum(u.{name})::bigint" for name in NUMBERS)
    + " FROM tenant AS t JOIN usage AS u ON u.tenant_no = t.no AND u.day BETWEEN $1 AND $2"
    " JOIN carrier AS c ON c.no = u.carrier_no WHERE $3 = '' OR t.name = $3"
    " GROUP BY 1, 2, 3, 4, 5, 6 ORDER BY 1, 2, 3, 4, 5, 6 LIMIT $9"
)
# Locked in the order of their keys, as `_ADD` does it: nodes that do the same step do not wait in a circle.
_DELETE = (
    f"WITH step AS MATERIALIZED (SELECT {_KEY} FROM usage WHERE tenant_no = $1 AND day < $2"  # noqa: S608 - constants of this module
    f" ORDER BY {_KEY} LIMIT $3 FOR UPDATE) DELETE FROM usage AS u USING step AS s WHERE "
    + " AND ".join(f"u.{name} = s.{name}" for name in _KEY.split(", "))
)

SQL = UsageSql(add=_ADD, facts=FACTS, sums=SUMS, delete=Plain(_DELETE))
