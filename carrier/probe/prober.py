"""What a probe tries, in which order, and at which cost. The cost is known before anything is sent (`Plan.most`).

Messages that are sent alone come first: ids, receipts and the default alphabet are read from them. A long message,
requests about a message, runs as fast as answers come, a burst, and more binds follow. Every wait has an end.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

from carrier.addresses import AddressWriter
from carrier.endpoint import Endpoint, Role, endpoints_of
from carrier.errors import BindRefused, CarrierError, LinkLost
from carrier.outbound import SubmissionWriter
from carrier.probe.conclusions import ALPHABET_OCTETS, LATIN1_OCTETS
from carrier.probe.connection import ProbeConnection
from carrier.probe.observations import Answered, Exchange, Observations, Told
from carrier.profile import Binding, CarrierProfile, Receiver
from carrier.receipts import parse_receipt
from carrier.smpp.constants import Status
from carrier.smpp.pdu import CancelSm, QuerySm, ReplaceSm

LONG_PARTS = 2
_RUNS = 2  # as fast as answers come
_PAUSE_S = 1.1  # for a carrier's second to be over
_SETTLE_S = 0.3  # after the first receipt, for those that come behind it
_PART_OCTETS = 134  # beside the header of a part
_DONE = frozenset({"D", "U", "E", "C", "R"})  # states of a part that are final


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much is tried. Times in seconds."""

    sender: str
    recipient: str  # digits, international
    alone: int = 4  # messages that are sent one after another, each with its receipt
    fast: int = 20  # at most in each of two runs
    burst: int = 20  # at once
    binds: int = 5  # at the same time, at most
    wait_s: float = 60.0  # for a receipt
    answer_s: float = 10.0  # for a response

    @property
    def most(self) -> int:
        """How many submit_sm are sent at most: what is paid for."""
        return self.alone + 2 + LONG_PARTS + _RUNS * self.fast + self.burst


class Prober:
    """Runs one probe. `told` says what happens, for people."""

    def __init__(self, profile: CarrierProfile, plan: Plan) -> None:
        """Raises TextError for a message that the profile does not let be written: its sender, or a TLV of its own."""
        tls = profile.tls
        # TLS 1.2 is taken too, to be found out; who requires 1.3 sees it in the report.
        self._profile = replace(profile, tls=None if tls is None else replace(tls, tls_1_2=True))
        self._plan = plan
        self._writer = SubmissionWriter(profile)
        self._source = AddressWriter(profile.addresses).sender(plan.sender)
        self._told: list[Told] = []
        self._connections: list[ProbeConnection] = []
        self._receiving: list[ProbeConnection] = []
        self.seen = Observations()
        self._body(b"")
        self.seen.sent = 0

    async def run(self) -> Observations:
        """Try everything. Raises BindRefused, TlsRefused or LinkLost when not even one bind is taken; what breaks
        later ends the probe with what has been seen."""
        try:
            link = await self._bind()
            try:
                if await self._alone(link):
                    await self._long(link)
                    await self._ask(link)
                    await self._fast(link)
                    await self._burst(link)
                    await self._more_binds()
            except CarrierError:  # the carrier has cut us off: what has been seen stands
                pass
        finally:
            for connection in self._connections:
                await connection.close()
        return self.seen

    # Binding

    async def _open(self, endpoint: Endpoint) -> ProbeConnection:
        connection = await ProbeConnection.open(
            endpoint, self._told, connect_within_s=self._profile.connect_timeout_s, answer_within_s=self._plan.answer_s
        )
        self._connections.append(connection)
        return connection

    async def _bind(self) -> ProbeConnection:
        """Bind as the profile says; where a transceiver is not taken, as a pair."""
        endpoints = endpoints_of(self._profile)
        try:
            links = [await self._open(endpoint) for endpoint in endpoints]
        except BindRefused as error:
            if endpoints[0].role is not Role.TRANSCEIVER or error.status in _CREDENTIALS:
                raise
            self._profile = replace(self._profile, binding=_as_pair(self._profile.binding))
            links = [await self._open(endpoint) for endpoint in endpoints_of(self._profile)]
            self.seen.pair, self.seen.transceiver_status = True, error.status
        self.seen.interface_version = links[0].interface_version
        self.seen.tls_version = links[0].tls_version
        self.seen.binds = len(links)
        return links[0]

    async def _more_binds(self) -> None:
        """Bind again and again, as a transmitter where there is a pair."""
        endpoint = endpoints_of(self._profile)[0]
        while self.seen.binds < self._plan.binds:
            try:
                await self._open(endpoint)
            except BindRefused as error:
                self.seen.bind_refused = error.status
                return
            except LinkLost:
                return
            self.seen.binds += 1

    # Messages

    def _body(self, octets: bytes, header: bytes = b"") -> bytes:
        """Return the submit_sm of one message as the profile has it: addresses, fields, TLVs of the carrier's own."""
        (body,) = self._writer.write(
            sender=self._plan.sender, recipient="+" + self._plan.recipient, data=octets, user_data_header=header,
            reference=0, validity_s=None,
        )  # fmt: skip
        self.seen.sent += 1
        return body

    async def _exchange(self, link: ProbeConnection, octets: bytes) -> Exchange:
        """Send one message alone, and wait for its final receipt."""
        loop = asyncio.get_running_loop()
        first, sent_at = len(self._told), loop.time()
        answer = await link.submit(self._body(octets))
        if answer.status == 0:
            await self._final(first, sent_at + self._plan.wait_s)
        return Exchange(octets, sent_at, answer, tuple(self._told[first:]))

    async def _final(self, first: int, until: float, count: int = 1) -> None:
        """Wait until so many final receipts have come since `first`, and a little for what comes behind them."""
        loop = asyncio.get_running_loop()
        while loop.time() < until:
            receipts = [parse_receipt(told.pdu) for told in self._told[first:]]
            if (
                sum(receipt is not None and (receipt.part_state in _DONE or _only_id(receipt)) for receipt in receipts)
                >= count
            ):
                await asyncio.sleep(_SETTLE_S)
                return
            await asyncio.sleep(0.02)

    async def _alone(self, link: ProbeConnection) -> bool:
        """Send messages one by one. False when the first is not accepted: all others would only cost."""
        for number in range(self._plan.alone):
            self.seen.single.append(await self._exchange(link, b"smsgw probe %d" % (number + 1)))
            if self.seen.single[0].answer.status != 0:
                return False
        self.seen.alphabet.append(await self._exchange(link, ALPHABET_OCTETS))
        self.seen.alphabet.append(await self._exchange(link, LATIN1_OCTETS))
        return True

    async def _long(self, link: ProbeConnection) -> None:
        first = len(self._told)
        answers = [
            link.submit(self._body(b"x" * _PART_OCTETS, bytes((5, 0, 3, 77, LONG_PARTS, part))))
            for part in range(1, LONG_PARTS + 1)
        ]
        self.seen.parts = list(await asyncio.gather(*answers))
        # A carrier that receipts one part only makes us wait in vain for the other.
        await self._final(first, asyncio.get_running_loop().time() + min(self._plan.wait_s, 10.0), LONG_PARTS)
        self.seen.parts_told = self._told[first:]

    async def _fast(self, link: ProbeConnection) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(_RUNS if self._plan.fast else 0):
            await asyncio.sleep(_PAUSE_S)
            began, run = loop.time(), list[Answered]()
            while len(run) < self._plan.fast and loop.time() < began + 1.0:
                answer = await link.submit(self._body(b"smsgw probe"))
                run.append(answer)
                if answer.status != 0:
                    break
            self.seen.one_by_one.append(run)
            self.seen.one_by_one_s.append(loop.time() - began)

    async def _burst(self, link: ProbeConnection) -> None:
        await asyncio.sleep(_PAUSE_S)
        answers = [link.submit(self._body(b"smsgw probe")) for _ in range(self._plan.burst)]
        self.seen.at_once = list(await asyncio.gather(*answers))

    async def _ask(self, link: ProbeConnection) -> None:
        """Ask about the last message that was sent alone."""
        ids = [exchange.answer.message_id for exchange in self.seen.single if exchange.answer.message_id]
        if not ids:
            return
        ton, npi, source = self._source
        message_id = ids[-1].encode("ascii", "replace")
        self.seen.queried = await link.ask(QuerySm(message_id, ton, npi, source))
        self.seen.replaced = await link.ask(ReplaceSm(message_id, ton, npi, source, short_message=b"smsgw probe"))
        destination = self._plan.recipient.encode("ascii")
        cancel = CancelSm(b"", message_id, ton, npi, source, 1, 1, destination)
        self.seen.cancelled = await link.ask(cancel)


_CREDENTIALS = frozenset({Status.ESME_RINVPASWD, Status.ESME_RINVSYSID})


def _as_pair(binding: Binding) -> Binding:
    return replace(binding, receiver=Receiver())


def _only_id(receipt: object) -> bool:
    """Say whether a receipt names an id and no state: nothing more will come."""
    stat, carrier_id = getattr(receipt, "stat", ""), getattr(receipt, "carrier_id", "")
    return bool(carrier_id) and not stat
