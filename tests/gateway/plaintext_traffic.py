"""The traffic of the plaintext search: messages that can be recognised anywhere, and every error that they can provoke.

Nothing here judges. What was sent is in `NEEDLES`; what the node answered is kept as places to be searched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import grpc
import pytest

from smsgw.v1 import message_pb2 as m
from smsgw.v1 import message_service_pb2 as s
from smsgw.v1 import message_service_pb2_grpc as rpc
from tests.appliance import SERVER_NAME, Caller
from tests.plaintext import Place

SHORT_CODE = "80800"
NOBODYS = "80801"
CALL_S = 15.0

# Where a message ends is decided by its last digits: the carrier refuses one, reports another as undelivered, and a
# policy of the test denies France.
RECIPIENTS = {
    "recipient in Germany": "4915790123401",
    "recipient in India": "919876501202",
    "recipient in Brazil": "5511987650103",
    "recipient refused by the carrier": "4915790123477",
    "recipient undelivered": "4915790123488",
    "recipient denied by a policy": "33698765104",
    "recipient with a bad number": "4909990123405",
    "recipient in nowhere": "9995550123406",
    "recipient looked up": "4915790123407",
    "recipient waiting": "4915790123408",
    "recipient stolen from": "4915790123409",
    "recipient that steals": "4915790123410",
    "handset": "4915790654301",
    "handset that writes to nobody": "4915790654302",
}
TEXTS = {
    "text in GSM": "Quartz vex 731942 jumbles",
    "text in UCS-2": "Ключ 582013 доступа",
    "long text": "Zymurgy 604417 fjord bank glyphs",
    "text with umlauts": "Für Zoë: Code 920145 gültig",
    "octets": "BinaryWaltz390517Octets",
    "text refused": "Sphinx of black 118204 judges",
    "text waiting": "Pack my 440173 liquor jugs",
    "sealed text": "Jumbled 629518 vixen quartz",
    "stolen text": "Waxing 840263 gymnasts fly",
    "sealed key": "seal-key-57204-whizbang",
    "text too long": "Crwth 277315 vox zaps qi",
    "reference": "order-ref-85120-vexillum",
    "label": "labelvalue-63017-quixotic",
    "label's name": "labelname-71926-zephyr",
    "idempotency key": "idem-key-40931-obfuscate",
    "inbound text": "Inbound waxy 551208 kumquat",
    "long inbound text": "Inbound lengthy 662319 byzantium",
    "inbound text in UCS-2": "Входящее 773420 слово",
    "text to nobody": "Unowned jazz 884531 vortex",
    "odd value": "Odd-value-995642-hijinks",
    "metadata": "meta-118855-waltz",
}
NEEDLES = {**RECIPIENTS, **TEXTS}


def number(name: str) -> str:
    """Return a recipient in E.164."""
    return f"+{RECIPIENTS[name]}"


def message(to: str, text: str, **changes: Any) -> m.OutboundMessage:
    """Return a message with two of the needles, by name."""
    good: dict[str, Any] = {
        "recipient": number(to),
        "sender": "ACME",
        "category": m.CATEGORY_TRANSACTIONAL,
        "content": m.Content(text=TEXTS[text]),
        "client_reference": TEXTS["reference"],
        "labels": {TEXTS["label's name"]: TEXTS["label"]},
    }
    return m.OutboundMessage(**{**good, **changes})


def good_messages() -> list[m.OutboundMessage]:
    """Return what the node accepts and hands to the carrier."""
    octets = m.BinaryContent(data=TEXTS["octets"].encode(), data_coding=4)
    return [
        message("recipient in Germany", "text in GSM", idempotency_key=TEXTS["idempotency key"]),
        message("recipient in India", "text in UCS-2", category=m.CATEGORY_OTP),
        message("recipient in Brazil", "long text", content=m.Content(text=f"{TEXTS['long text']} " * 12)),
        message("recipient in Germany", "text with umlauts", category=m.CATEGORY_PROMOTIONAL),
        message("recipient in India", "octets", content=m.Content(binary=octets)),
        message("recipient refused by the carrier", "text refused"),
        message("recipient undelivered", "text refused"),
    ]


def bad_messages() -> Iterator[m.OutboundMessage]:
    """Yield messages that are refused, each for another reason."""
    odd = TEXTS["odd value"]
    good = "recipient in Germany", "text in GSM"
    yield message("recipient with a bad number", "text in GSM", recipient=f"00{RECIPIENTS['handset']}")
    yield message("recipient with a bad number", "text in GSM", recipient=f"{number('handset')}12345")
    yield message("recipient in nowhere", "text in GSM")
    yield message("recipient denied by a policy", "text in GSM")
    yield message(*good, content=m.Content(text=TEXTS["text too long"] * 500))
    yield message(*good, content=m.Content(text=TEXTS["text too long"], sealed_jwe=odd))
    yield message(*good, content=m.Content(binary=m.BinaryContent(data=odd.encode(), user_data_header=odd.encode())))
    yield message(*good, sender=odd)
    yield message(*good, sender=number("handset"), category=7)
    yield message(*good, client_reference=odd * 10)
    yield message(*good, labels={odd: "x"})
    yield message(*good, labels={TEXTS["label's name"]: odd * 10})
    yield message(*good, labels={f"{odd} {n}": "x" for n in range(20)})
    yield message(*good, idempotency_key=f"{odd} {odd}")
    yield message(*good, idempotency_key=TEXTS["idempotency key"], client_reference="another")


class Client:
    """One caller; every refusal that it gets is kept. A context manager's business is the channel's."""

    def __init__(self, port: int, caller: Caller) -> None:
        credentials = grpc.ssl_channel_credentials(
            caller.bundle.read_bytes(), caller.key.read_bytes(), caller.certificate.read_bytes()
        )
        options = [("grpc.ssl_target_name_override", SERVER_NAME)]
        self.channel = grpc.secure_channel(f"127.0.0.1:{port}", credentials, options)
        self.stub = rpc.MessageServiceStub(self.channel)
        self.refusals: list[Place] = []

    def send(self, messages: list[m.OutboundMessage]) -> list[str]:
        """Send a batch that is accepted whole; the ids."""
        response = self.stub.SendMessages(s.SendMessagesRequest(messages=messages), timeout=CALL_S)
        assert all(result.HasField("accepted") for result in response.results), response
        return [result.accepted.message_id for result in response.results]

    def refused(self, name: str, call: Callable[[], Any]) -> grpc.StatusCode:
        """Make a call that must fail, and keep all that came back of it; its code."""
        with pytest.raises(grpc.RpcError) as refusal:
            call()
        error: Any = refusal.value  # a grpc.Call as well, which the stubs cannot say
        texts = (error.details(), error.debug_error_string(), str(error), repr(error))
        self.refusals.append(Place(f"the refusal of {name}", "\n".join(map(str, texts)).encode()))
        for _, value in (*(error.trailing_metadata() or ()), *(error.initial_metadata() or ())):
            octets = value if isinstance(value, bytes) else str(value).encode()
            self.refusals.append(Place(f"the metadata of the refusal of {name}", octets))
        code: grpc.StatusCode = error.code()
        return code

    def answered(self, name: str, call: Callable[[], Any]) -> Any:
        """Make a call about what nobody can open any more, and keep its answer; that."""
        answer = call()
        self.refusals.append(Place(f"the answer to {name}", f"{answer}".encode() + answer.SerializeToString()))
        return answer

    def provoke(self) -> set[grpc.StatusCode]:
        """Make every kind of call that is refused; the codes that came."""
        stub, odd = self.stub, TEXTS["odd value"]
        codes = {
            self.refused(f"message {index}", partial(stub.SendMessage, _one(bad), timeout=CALL_S))
            for index, bad in enumerate(bad_messages())
        }
        batch = stub.SendMessages(s.SendMessagesRequest(messages=list(bad_messages())), timeout=CALL_S)
        self.refusals += [Place("the results of a batch", result.error.SerializeToString()) for result in batch.results]
        note = (("x-note", TEXTS["metadata"]), ("x-note-bin", TEXTS["metadata"].encode()))
        calls: dict[str, Callable[[], Any]] = {
            "an odd id": lambda: stub.GetMessage(s.GetMessageRequest(message_id=odd), timeout=CALL_S),
            "a number as id": lambda: stub.CancelMessage(
                s.CancelMessageRequest(message_id=number("handset")), timeout=CALL_S
            ),
            "an odd page": lambda: stub.ListMessages(s.ListMessagesRequest(page_token=odd), timeout=CALL_S),
            "an odd recipient": lambda: stub.ListMessages(
                s.ListMessagesRequest(recipient=f"{number('recipient looked up')} "), timeout=CALL_S
            ),
            "an odd cursor": lambda: list(stub.WatchEvents(s.WatchEventsRequest(cursor=odd), timeout=CALL_S)),
            "odd content": lambda: stub.EstimateMessage(
                s.EstimateMessageRequest(content=m.Content(text=TEXTS["text too long"] * 2000)), timeout=CALL_S
            ),
            "no method": lambda: self._raw(f"/smsgw.v1.MessageService/{odd}", odd.encode(), note),
            "no message": lambda: self._raw("/smsgw.v1.MessageService/SendMessage", b"\xff" + odd.encode(), note),
            "too large": lambda: self._raw("/smsgw.v1.MessageService/SendMessage", odd.encode() * 400_000, note),
            "a watch past its time": lambda: list(stub.WatchEvents(s.WatchEventsRequest(), timeout=0.2)),
        }
        return codes | {self.refused(name, call) for name, call in calls.items()}

    def _raw(self, method: str, octets: bytes, metadata: tuple[tuple[str, str | bytes], ...]) -> bytes:
        call = self.channel.unary_unary(method, request_serializer=bytes, response_deserializer=bytes)
        answer: bytes = call(octets, timeout=CALL_S, metadata=metadata)
        return answer


def _one(content: m.OutboundMessage) -> s.SendMessageRequest:
    return s.SendMessageRequest(message=content)
