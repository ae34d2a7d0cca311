"""Sealing in the client: one argument, and nobody but the holder of the payload key reads what the gateway stores."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from jwcrypto.jwe import JWE
from jwcrypto.jwk import JWK

from gateway.ids import from_text
from gateway.records import decode_sealed
from gateway.sealed.binding import SECOND, Bearer, check_bearer
from gateway.sealed.compact import read_header
from gateway.sealed.keys import PayloadKeys as NodeKeys
from gateway.sealed.opening import open_sealed
from gateway.states import Category
from smsgw.client import AsyncClient, Binary, CallFailed, CannotSeal, Conflict, Message, Sent
from smsgw.client.convert import batches, outbound
from smsgw.client.sealing import PayloadKeys, read_keys, seal
from smsgw.v1.message_pb2 import Content, SealedContent
from smsgw.v1.message_service_pb2 import GetPayloadKeysResponse
from tests.client.callers import TEXT, TO, Workload, otp
from tests.gateway.api.rig import NOW, Rig
from tests.gateway.sealed.keys import hashed, key_file, payload_key

KEY = payload_key()
NOW_S = NOW / SECOND
DAY_S = 86_400


@pytest.fixture
def rig(rig: Rig) -> Rig:
    """Let the gateway's clock show the time by which a client seals."""
    rig.now.now = time.time_ns() // 1_000
    return rig


def published(*keys: Any, tenant: str = "payments") -> PayloadKeys:
    """Return what a client knows of a gateway with these keys."""
    response = GetPayloadKeysResponse(jwk_set=NodeKeys(keys).published(NOW), tenant=tenant)
    return read_keys(response, 0.0)


def judged(jwe: str, octets: bytes) -> tuple[dict[str, Any], SealedContent]:
    """Return header and content, as jwcrypto opens it with the private key in a key file."""
    opened = JWE()
    opened.deserialize(jwe, JWK.from_json(octets.decode()))
    return json.loads(opened.objects["protected"]), SealedContent.FromString(opened.payload)


async def stored(rig: Rig, sent: Sent) -> str:
    """Return the JWE that the gateway has stored."""
    (waiting,) = [each for each in await rig.store.claim(Category.OTP, 100, rig.now()) if each.id == from_text(sent.id)]
    key, content = decode_sealed(rig.box.take("payments", waiting.id, "content", waiting.content))
    assert key == sent.idempotency_key
    return Content.FromString(content).sealed_jwe


@pytest.mark.parametrize("kind", ["p256", "x25519", "rsa2048"])
def test_others_open_it(kind: str) -> None:
    """What it seals to any kind of key opens in jwcrypto and at the node, and is bound to all that it should be."""
    key = payload_key(kind)
    message = otp(sealed=True, validity=dt.timedelta(minutes=3))
    jwe = seal(message, published(key), NOW_S).sealed_jwe
    assert jwe is not None
    header, content = judged(jwe, key_file(kind))
    assert content.content.text == message.text
    header.pop("epk", None)
    assert header == {
        "alg": key.alg, "enc": "A256GCM", "kid": key.kid, "smsgw.tenant": "payments",
        "smsgw.to": hashed(TO, content.recipient_salt), "smsgw.key": message.idempotency_key,
        "smsgw.exp": int(NOW_S) + 240,
    }  # fmt: skip
    bearer = Bearer("payments", TO, message.idempotency_key, NOW)
    check_bearer(read_header(jwe), bearer, NOW)
    assert open_sealed(jwe, read_header(jwe), key, bearer) == content.content


async def test_one_argument(rig: Rig, workload: Workload) -> None:
    """With `sealed=True` the gateway gets a JWE, of a text or of octets; no segments come back."""
    rig.have_keys([KEY])
    async with workload.async_client(rig.port) as sms:
        sent = await sms.send(to=TO, sender="ACME", category="OTP", text=TEXT, sealed=True)
        assert sent.segments is None
        _, content = judged(await stored(rig, sent), key_file())
        assert content.content.text == TEXT
        octets = Binary(data=b"\x01", data_coding=4)
        sent = await sms.send(to=TO, sender="ACME", category="OTP", binary=octets, sealed=True)
        _, content = judged(await stored(rig, sent), key_file())
        assert content.content.binary.data == b"\x01"


async def test_blocking(rig: Rig, workload: Workload) -> None:
    """The blocking client does the same, in each of its ways to send."""
    import asyncio

    rig.have_keys([KEY])

    def work() -> list[Any]:
        with workload.client(rig.port) as sms:
            one = sms.send(otp(sealed=True))
            many = sms.send_many([otp(1, sealed=True), otp(2)])
            flow = [outcome for _, outcome in sms.stream([otp(3, sealed=True), otp(4)])]
            return [one, *many, *flow]

    outcomes = await asyncio.to_thread(work)
    assert [outcome.segments for outcome in outcomes] == [None, None, 1, None, 1]


async def test_many_and_stream(rig: Rig, workload: Workload) -> None:
    """Sealed and other messages go together; one that cannot be sealed stops no other, and keys are asked for once."""
    rig.have_keys([KEY])
    asked: list[int] = []

    def keys(now: int) -> str:
        asked.append(now)
        return rig.payload_keys.published(now)

    rig.service._payload_keys = keys
    async with workload.async_client(rig.port) as sms:
        messages = [otp(1, sealed=True), otp(2), otp(3, text="x" * 7000, sealed=True), otp(4, sealed=True)]
        outcomes = await sms.send_many(messages)
        assert [type(outcome) for outcome in outcomes] == [Sent, Sent, CannotSeal, Sent]
        assert isinstance(outcomes[2], CannotSeal)
        assert outcomes[2].reason == "SEALED_TOO_LONG"

        async def flow() -> AsyncIterator[Message]:
            for message in (otp(5, sealed=True), otp(6)):
                yield message

        answered = [outcome async for _, outcome in sms.stream(flow())]
        assert [outcome.segments for outcome in answered if isinstance(outcome, Sent)] == [None, 1]
        assert len(asked) == 1
        assert await sms.send_many([otp(7, text="x" * 7000, sealed=True)])


async def test_no_key(rig: Rig, workload: Workload) -> None:
    """Where nothing is published nothing is sent, least of all in the clear."""
    async with workload.async_client(rig.port) as sms:
        message = otp(sealed=True)
        with pytest.raises(CannotSeal, match="ask its operator") as failed:
            await sms.send(message)
        assert (failed.value.reason, failed.value.message) == ("NO_PAYLOAD_KEY", message)
        (outcome,) = await sms.send_many([message])
        assert isinstance(outcome, CannotSeal)
        with pytest.raises(CannotSeal):
            assert [each async for each in sms.stream([message])]
    assert rig.intake.calls == []


async def test_again(rig: Rig, workload: Workload) -> None:
    """What `seal` returns is the same message each time; sealed once more it is another content."""
    rig.have_keys([KEY])
    async with workload.async_client(rig.port) as sms:
        message = otp(sealed=True)
        kept = await sms.seal(message)
        assert await sms.seal(kept) is kept
        first = await sms.send(kept)
        again = await sms.send(kept)
        assert (again.id, again.replayed) == (first.id, True)
        with pytest.raises(Conflict) as conflict:
            await sms.send(message)
        assert conflict.value.message is not None
        assert conflict.value.message.sealed_jwe not in {None, kept.sealed_jwe}
        assert TEXT not in repr(kept) + repr(conflict.value)


async def test_keys_are_asked_for_again(rig: Rig, workload: Workload) -> None:
    """After `max_age` the published set counts, so that a new key is taken without a new client."""
    rig.have_keys([KEY])
    async with workload.async_client(rig.port) as sms:
        await sms.seal(otp(sealed=True))
        newer = payload_key("x25519")
        rig.have_keys([newer, KEY])
        assert _kid(await sms.seal(otp(sealed=True))) == KEY.kid
        _age(sms)
        assert _kid(await sms.seal(otp(sealed=True))) == newer.kid


def _kid(message: Message) -> str:
    assert message.sealed_jwe is not None
    return read_header(message.sealed_jwe).kid


def _age(sms: AsyncClient) -> None:
    keys = sms._payload_keys
    assert keys is not None
    assert keys.until > time.monotonic() + 200
    sms._payload_keys = keys._replace(until=time.monotonic())


def test_nothing_to_be_sealed_leaves() -> None:
    """The step to the wire refuses a message that is still to be sealed, whoever forgot to."""
    with pytest.raises(RuntimeError):
        outbound(otp(sealed=True))
    sizes = [len(batch) for batch in batches([otp(sealed=True, text="x" * 4000)] * 1000)]
    assert sum(sizes) == 1000
    assert max(sizes) * 8192 < 4 << 20


def test_which_key() -> None:
    """The first key that lasts is taken; one that is about to end where there is no other, and none that has ended."""
    soon = dataclasses.replace(payload_key("p256", 1), not_after=int(NOW_S) + 300)
    gone = dataclasses.replace(payload_key("p256", 2), not_after=int(NOW_S) + 1)
    keys = published(gone, soon, KEY)
    assert keys.key(NOW_S)["kid"] == KEY.kid
    assert published(gone, soon).key(NOW_S + 2)["kid"] == soon.kid
    with pytest.raises(CannotSeal):
        keys.key(NOW_S + 10**10)


def test_keys_that_are_not_known() -> None:
    """Keys of kinds that this client does not know are passed over, and a set that is none is refused."""
    jwks = [{**KEY.public, "kid": "new", "alg": "ML-KEM-768"}, {**KEY.public, "use": "sig"}, KEY.public]
    response = GetPayloadKeysResponse(jwk_set=json.dumps({"keys": jwks}), tenant="payments")
    assert [key["kid"] for key in read_keys(response, 0.0).keys] == [KEY.kid]
    for text in ("", "[]", "{}", '{"keys":7}', '{"keys":[7]}'):
        with pytest.raises(CannotSeal):
            read_keys(GetPayloadKeysResponse(jwk_set=text), 0.0)
    broken = PayloadKeys(({**KEY.public, "x": "AAAA"},), "payments", 0.0)
    with pytest.raises(CannotSeal) as failed:
        seal(otp(sealed=True), broken, NOW_S)
    assert (failed.value.reason, isinstance(failed.value, CallFailed)) == ("PAYLOAD_KEY_UNUSABLE", True)


@pytest.mark.parametrize(
    ("changes", "expires_at"),
    [
        ({}, 71 * 3600),
        ({"validity": dt.timedelta(minutes=5)}, 360),
        ({"validity": dt.timedelta(days=7)}, 71 * 3600),
        ({"validity": dt.timedelta(hours=1), "not_before": 2 * 3600}, 3 * 3600 + 60),
        ({"not_before": -5, "validity": dt.timedelta(minutes=1)}, 120),
    ],
)
def test_expiry(changes: dict[str, Any], expires_at: int) -> None:
    """It ends after the validity, as far as that is known, and always before its idempotency key is forgotten."""
    if "not_before" in changes:
        changes = {**changes, "not_before": dt.datetime.fromtimestamp(NOW_S + changes["not_before"], dt.UTC)}
    jwe = seal(otp(sealed=True, **changes), published(KEY), NOW_S).sealed_jwe
    assert jwe is not None
    assert read_header(jwe).expires_at == int(NOW_S) + expires_at


def test_too_late_to_be_sealed() -> None:
    """A message that may not go within that time is refused here, and not rejected days later."""
    later = dt.datetime.fromtimestamp(NOW_S + 3 * DAY_S, dt.UTC)
    with pytest.raises(CannotSeal) as failed:
        seal(otp(sealed=True, not_before=later), published(KEY), NOW_S)
    assert failed.value.reason == "NOT_BEFORE_TOO_FAR"
