"""The statements of `gateway.store.engine.usage` and `gateway.store.engine.tally`."""

from __future__ import annotations

from gateway.store.engine.statements import UsageSql
from gateway.store.sqlite.bulk import Lookup, Plain, Select, Write
from gateway.store.usage import NUMBERS

_KEY = "tenant_no, day, category, country, carrier_no, currency"
_ADD = Write(
    f"INSERT INTO usage ({_KEY}, {', '.join(NUMBERS)}) VALUES {{values}} ON CONFLICT ({_KEY}) DO UPDATE SET "  # noqa: S608 - constants of this module
    + ", ".join(f"{name} = {name} + excluded.{name}" for name in NUMBERS),
    f"({','.join('?' * (6 + len(NUMBERS)))})",
)
FACTS = Lookup(
    "n category country segments reserved unsent accepted_at",
    "n, tenant_no, id",
    "SELECT v.n, m.category, m.country, m.segments, iif(m.submitted_at IS NULL, m.reserved, 0) AS reserved,"
    " m.submitted_at IS NULL AS unsent, b.accepted_at FROM v"
    " CROSS JOIN message AS m ON m.tenant_no = v.tenant_no AND m.id = v.id"
    " CROSS JOIN body AS b ON b.tenant_no = v.tenant_no AND b.id = v.id",
    "({n},?,?)",
)
# ?1 and ?2: the days; ?3: the tenant; then what the rows are told apart by, and how many there may be.
SUMS = Select(
    f"tenant day category country carrier currency {' '.join(NUMBERS)}",
    "SELECT iif(?4, t.name, '') AS tenant, iif(?5, u.day, -1) AS day, iif(?6, u.category, 0) AS category,"  # noqa: S608 - constants of this module
    " iif(?8, u.country, '') AS country, iif(?7, c.name, '') AS carrier, u.currency AS currency, "
    + ", ".join(f"sum(u.{name}) AS {name}" for name in NUMBERS)
    + " FROM tenant AS t CROSS JOIN usage AS u ON u.tenant_no = t.no AND u.day BETWEEN ?1 AND ?2"
    " CROSS JOIN carrier AS c ON c.no = u.carrier_no WHERE ?3 = '' OR t.name = ?3"
    " GROUP BY 1, 2, 3, 4, 5, 6 ORDER BY 1, 2, 3, 4, 5, 6 LIMIT ?9",
)
_DELETE = (
    f"DELETE FROM usage WHERE ({_KEY}) IN"  # noqa: S608 - constants of this module
    f" (SELECT {_KEY} FROM usage WHERE tenant_no = ?1 AND day < ?2 ORDER BY {_KEY} LIMIT ?3)"
)

SQL = UsageSql(add=_ADD, facts=FACTS, sums=SUMS, delete=Plain(_DELETE))
