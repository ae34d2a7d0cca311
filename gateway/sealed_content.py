"""Composes what opens content that callers have sealed: the payload keys, the budget, and the part of the pipeline. A
node that only accepts has the public halves, and what the keys say of content that it may take.

Below the composition root, beside `gateway.assembly`; a reload changes it in place.
"""

from __future__ import annotations

from collections.abc import Sequence

from gateway import assembly
from gateway.config.schema import Settings
from gateway.payload import PayloadBox
from gateway.pipeline.encoding import MessageEncoder
from gateway.pipeline.sealed_contents import SealedContents
from gateway.sealed.budget import OpeningBudget
from gateway.sealed.keys import PayloadKey, PayloadKeys
from gateway.sealed.opener import Opener
from gateway.validation import Validator
from visibility.alerts import AlertSink


class SealedContent:
    """The keys in force, and what works by them."""

    def __init__(self, settings: Settings) -> None:
        """Raises SecretFileRefused and PayloadKeyRefused."""
        self.keys = PayloadKeys(assembly.payload_keys(settings))
        self._budget = OpeningBudget(assembly.opening_rate(settings))

    def contents(
        self, box: PayloadBox, validator: Validator, encoder: MessageEncoder, alerts: AlertSink
    ) -> SealedContents:
        """Return the pipeline's part."""
        return SealedContents(
            box=box,
            opener=Opener(self.keys),
            measure=validator.measure,
            encode=encoder.encode_content,
            budget=self._budget,
            alerts=alerts,
        )

    def read(self, settings: Settings) -> Sequence[PayloadKey]:
        """Return the keys that changed settings name. Raises SecretFileRefused and PayloadKeyRefused."""
        return assembly.payload_keys(settings)

    def use(self, settings: Settings, keys: Sequence[PayloadKey]) -> None:
        """Have these keys and settings from now on."""
        self.keys.use(keys)
        self._budget.use(assembly.opening_rate(settings))
