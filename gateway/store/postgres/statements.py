"""All statements of the engine on PostgreSQL."""

from __future__ import annotations

from gateway.store.engine.statements import Statements
from gateway.store.postgres import (
    accepting,
    auditing,
    awaiting,
    claiming,
    closing,
    erasing,
    holding,
    inbound,
    indexing,
    keeping,
    key_use,
    noting,
    purging,
    reading,
    receiving,
    retaining,
    sequencing,
    settling,
    sharing,
    transaction,
    usage,
)

STATEMENTS = Statements(
    accepting=accepting.SQL,
    auditing=auditing.SQL,
    awaiting=awaiting.SQL,
    claiming=claiming.SQL,
    closing=closing.SQL,
    holding=holding.SQL,
    inbound=inbound.SQL,
    keeping=keeping.SQL,
    key_use=key_use.SQL,
    noting=noting.SQL,
    purging=purging.SQL,
    reading=reading.SQL,
    receiving=receiving.SQL,
    sequencing=sequencing.SQL,
    retaining=retaining.SQL,
    erasing=erasing.SQL,
    indexing=indexing.SQL,
    settling=settling.SQL,
    sharing=sharing.SQL,
    transaction=transaction.SQL,
    usage=usage.SQL,
)
