"""Content that callers have sealed, on its way to a link: opened after the policies have permitted the way, and before
the message is committed as SENDING.

What opens is measured by the rules that other content met on acceptance. What does not open, or was bound to something
else, is rejected, with a reason of its own. ECDH-ES is opened here and now, a few at a time; RSA on a thread, within
the tenant's budget: what is beyond it goes back to the store and has its turn later. Plaintext lives from here to the
submit_sm, in memory alone.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from gateway.contents import Measured
from gateway.errors import FieldViolation, StoreCorrupt, Unavailable
from gateway.ids import made_at
from gateway.payload import PayloadBox
from gateway.pipeline.outcomes import OVER_BUDGET, RetryRules, over_budget, postponed, unopened, unreadable
from gateway.pipeline.permits import Permitted
from gateway.records import decode_envelope, decode_sealed
from gateway.sealed.binding import MISUSES, Bearer, check_bearer
from gateway.sealed.budget import OpeningBudget
from gateway.sealed.compact import RSA, Header, read_header
from gateway.sealed.errors import SealedRefused
from gateway.store.contract import Settlement, Waiting
from smsgw.v1 import message_pb2
from visibility.alerts import NOBODY, AlertSink
from visibility.catalogue import SEALED_CONTENT_MISUSED

log = logging.getLogger(__name__)

# (content, message, now, carrier) → submit_sm bodies, one a part (`gateway.pipeline.encoding`).
ContentEncoder = Callable[[message_pb2.Content, Waiting, int, str], tuple[bytes, ...]]

AT_ONCE = 8  # opened without giving way to others: less than a millisecond


class Opener(Protocol):
    """What opens (`gateway.sealed.opener.Opener`)."""

    def check(self, header: Header, accepted_at: int) -> None:
        """Raise SealedRefused unless there is a key for it."""

    def open(self, jwe: str, header: Header, bearer: Bearer) -> message_pb2.Content:
        """Return the content. May run on another thread. Raises SealedRefused."""


class _Found(NamedTuple):
    """Sealed content that fits its bearer, as far as that can be told without opening it."""

    jwe: str
    header: Header
    bearer: Bearer


@dataclass(slots=True)
class Opened:
    """What became of a group of messages. `ready` have their segments; `contents` are theirs, by id."""

    encode_content: ContentEncoder
    ready: list[Permitted] = field(default_factory=list)
    contents: dict[bytes, message_pb2.Content] = field(default_factory=dict, repr=False)
    others: list[tuple[Waiting, Settlement]] = field(default_factory=list)

    def encode(self, message: Waiting, now: int, carrier: str) -> tuple[bytes, ...]:
        """Return one submit_sm body a part of one that is ready, as `carrier` wants them. Raises TextError."""
        return self.encode_content(self.contents[message.id], message, now, carrier)


class SealedContents:
    """Opens on behalf of the dispatcher. Belongs to one event loop."""

    def __init__(
        self,
        *,
        box: PayloadBox,
        opener: Opener,
        measure: Callable[[message_pb2.Content], Measured | FieldViolation],
        encode: ContentEncoder,
        budget: OpeningBudget,
        alerts: AlertSink = NOBODY,
    ) -> None:
        self._box = box
        self._opener = opener
        self._measure = measure
        self._encode = encode
        self._budget = budget
        self._alerts = alerts
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="smsgw-payload")  # started by the first work

    def close(self) -> None:
        """End the thread, when it has done what it is at."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def open(self, group: Sequence[Permitted], now: int, rules: RetryRules) -> Opened:
        """Open the contents of `group`, in order."""
        opened = Opened(self._encode)
        for number, permitted in enumerate(group, 1):
            message = permitted[0]
            settlement = await self._open(opened, permitted, now, rules)
            if settlement is not None:
                opened.others.append((message, settlement))
            if not number % AT_ONCE:
                await asyncio.sleep(0)
        return opened

    async def _open(self, opened: Opened, permitted: Permitted, now: int, rules: RetryRules) -> Settlement | None:
        """Open one; what to record of it when it is not to be sent now."""
        message = permitted[0]
        try:
            found = self._find(message, now)
            if found.header.alg == RSA:
                turn = self._budget.take(message.tenant, now, returns=message.reason == OVER_BUDGET)
                if turn:
                    return over_budget(message, min(turn, message.expires_at), now)
                loop = asyncio.get_running_loop()
                content = await loop.run_in_executor(self._threads, self._opener.open, *found)
            else:
                content = self._opener.open(*found)
            measured = self._measure(content)
            if not isinstance(measured, Measured):
                raise SealedRefused(measured.reason, f"the content, opened: {measured.description}")
        except SealedRefused as refused:
            log.warning("sealed_content_refused", extra={"reason": refused.reason, "tenant": message.tenant})
            if refused.reason in MISUSES:
                self._alerts.raise_alert(SEALED_CONTENT_MISUSED, message.tenant, why=refused.reason)
            return unopened(message, refused.reason, str(refused), rules, now)
        except (StoreCorrupt, Unavailable) as error:
            log.error("message_unsendable", extra={"why": str(error)})
            return postponed(message, now) if isinstance(error, Unavailable) else unreadable(message, rules, now)
        opened.ready.append((message._replace(segments=measured.segments), *permitted[1:]))
        opened.contents[message.id] = content
        return None

    def _find(self, message: Waiting, now: int) -> _Found:
        """Return what is to be opened. Raises SealedRefused, StoreCorrupt and Unavailable."""
        stored = self._box.take(message.tenant, message.id, "content", message.content)
        envelope = decode_envelope(self._box.take(message.tenant, message.id, "envelope", message.envelope))
        key, content = decode_sealed(stored)
        jwe = message_pb2.Content.FromString(content).sealed_jwe
        bearer = Bearer(message.tenant, envelope.recipient, key, made_at(message.id))
        header = read_header(jwe)
        check_bearer(header, bearer, now)
        self._opener.check(header, bearer.accepted_at)
        return _Found(jwe, header, bearer)
