"""Carriers' message ids on their way to the store: as each carrier's profile says they are to be compared.

The store keeps an id as the carrier wrote it, since cancel_sm and query_sm have to name it so, and finds messages by
the canonical form (`carrier.ids`). Only carriers whose ids need it are looked at; with none, this costs nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from carrier.ids import IdForms, IdRule
from gateway.store.contract import Settlement

RESPONSE, RECEIPT = "response", "receipt"


class CarrierIds:
    """The rules of all carriers. `unread` counts ids by (carrier, side) that are not written as the profile says."""

    def __init__(
        self, forms: Iterable[tuple[str, IdForms]] = (), unread: Counter[tuple[str, str]] | None = None
    ) -> None:
        """Take (carrier, its forms)."""
        self.unread: Counter[tuple[str, str]] = Counter() if unread is None else unread
        self._responses: dict[str, IdRule] = {}
        self._receipts: dict[str, IdRule] = {}
        self.use(forms)

    def use(self, forms: Iterable[tuple[str, IdForms]]) -> None:
        """Go by these forms from now on."""
        odd = [(carrier, form) for carrier, form in forms if not form.plain]
        self._responses = {carrier: IdRule(form.response, ignore_case=form.ignore_case) for carrier, form in odd}
        self._receipts = {carrier: IdRule(form.receipt, ignore_case=form.ignore_case) for carrier, form in odd}

    def refer(self, settlements: Sequence[Settlement]) -> Sequence[Settlement]:
        """Return settlements that say by which ids receipts will find their messages."""
        if not self._responses:
            return settlements
        return [self._refer(settlement) for settlement in settlements]

    def _refer(self, settlement: Settlement) -> Settlement:
        rule = self._responses.get(settlement.carrier)
        if rule is None or not settlement.carrier_ids:
            return settlement
        written = settlement.carrier_ids.split("\n")
        refs = [self._read(rule, settlement.carrier, RESPONSE, carrier_id) for carrier_id in written]
        return settlement._replace(refs="\n".join(refs))

    def of_receipt(self, carrier: str, written: str) -> str:
        """Return the canonical form of the id in a receipt."""
        rule = self._receipts.get(carrier)
        return written if rule is None else self._read(rule, carrier, RECEIPT, written)

    def _read(self, rule: IdRule, carrier: str, side: str, written: str) -> str:
        canonical = rule.read(written) if written else ""
        if canonical is None:
            self.unread[carrier, side] += 1
            return rule.kept(written)
        return canonical
