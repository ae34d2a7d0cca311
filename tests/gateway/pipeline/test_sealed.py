"""What callers have sealed, from acceptance to the link: opened for nobody but whom it was sealed for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from carrier.contract import Outcome
from gateway.audit.codec import decode, split
from gateway.audit.records import Record, StateChanged
from gateway.errors import InvalidRequest, Unavailable
from gateway.ids import IdSource
from gateway.limits.rate import Rate
from gateway.records import decode_envelope
from gateway.sealed.keys import PayloadKeys
from gateway.states import Category, State
from gateway.store.contract import Accepted, MessageRow, NewMessage, Verdict
from gateway.validation import MessageRules
from smsgw.client import Message
from smsgw.client.commitments import commitment
from smsgw.v1.message_pb2 import CATEGORY_OTP, Content, OutboundMessage
from tests.gateway.callers import caller
from tests.gateway.pipeline.rig import CALLER, SECOND, START, Rig, running
from tests.gateway.sealed.keys import payload_key, sealed

KEY = payload_key()
OTHER_TENANT = caller(tenant="other", spiffe_id="spiffe://example.org/other/api")
NOW_S = START // SECOND


def message(jwe: str, *, key: str = "key-1", to: str = "+4915112345678") -> OutboundMessage:
    """Return a message that brings sealed content."""
    return OutboundMessage(
        recipient=to, sender="ACME", category=CATEGORY_OTP, content=Content(sealed_jwe=jwe), idempotency_key=key,
    )  # fmt: skip


async def accept(rig: Rig, jwe: str, *, who: Any = CALLER, **changes: Any) -> Accepted:
    """Have the node accept it."""
    draft = rig.validator.draft(message(jwe, **changes), rig.now, "message")
    (accepted,) = await rig.intake.accept(who, [draft])
    return accepted


@asynccontextmanager
async def node(folder: Path, *keys: Any, **options: Any) -> AsyncIterator[Rig]:
    """Run a pipeline with payload keys, whose ids are of its own clock."""
    ids = IdSource(now_ms=lambda: START // 1000)
    async with running(folder, payload_keys=PayloadKeys(keys or [KEY]), ids=ids, **options) as rig:
        yield rig


async def row(rig: Rig, accepted: Accepted, tenant: str = "demo") -> MessageRow:
    """Return the message as it is stored."""
    found = await rig.store.get_message(tenant, accepted.id)
    assert found is not None
    return found


async def rejected(rig: Rig, accepted: Accepted, tenant: str = "demo") -> str:
    """Wait until a message is rejected; the reason, which row, event and audit agree about."""
    async with asyncio.timeout(10):
        while (found := await row(rig, accepted, tenant)).state != State.REJECTED:
            await asyncio.sleep(0.001)
    await rig.until(lambda: rig.pipeline.status()[0].slots == 0)
    events = await rig.store.events(tenant, 0, 100)
    assert [event.reason_code for event in events if event.state == State.REJECTED] == [found.reason_code]
    records = [decode(each) for commit in await rig.store.audit_read(0, 1000) for each in split(commit.records)]
    told = [each.reason for each in records if isinstance(each, StateChanged) and each.state == State.REJECTED]
    assert told == [found.reason_code]
    assert found.reason_text
    assert rig.link.held == []
    return found.reason_code


@pytest.mark.parametrize("kind", ["p256", "x25519", "rsa2048"])
async def test_sent(tmp_path: Path, kind: str) -> None:
    """What is sealed to any kind of key reaches the link as the text it was; nobody is told its segments."""
    key = payload_key(kind)
    async with node(tmp_path, key) as rig:
        accepted = await accept(rig, sealed(key, "Your code is 4711"))
        assert accepted.segments == 0
        await rig.until(lambda: len(rig.link.held) == 1)
        assert b"Your code is 4711" in rig.link.held[0].body
        rig.link.finish(1)
        await rig.reach(accepted.id, State.SUBMITTED)
        await rig.until(lambda: rig.pipeline.status()[0].slots == 0)
        assert (await row(rig, accepted)).segments == 0


async def test_the_window_stays_full(tmp_path: Path) -> None:
    """Opening keeps pace: two windows are with the link as long as there is enough that waits."""
    async with node(tmp_path, window=10) as rig:
        keys = [f"key-{number}" for number in range(60)]
        drafts = [
            rig.validator.draft(message(sealed(KEY, smsgw__key=key), key=key), rig.now, "message") for key in keys
        ]
        await rig.intake.accept(CALLER, drafts)
        for _ in range(3):
            await rig.until(lambda: len(rig.link.held) == 20)
            rig.link.finish(20)
        await rig.until(lambda: rig.pipeline.status()[0].slots == 0)
        assert rig.link.most_held <= 20


async def test_all_parts_have_their_slots(tmp_path: Path) -> None:
    """Opened, a message takes as many slots as it has parts, until they are settled."""
    async with node(tmp_path) as rig:
        accepted = await accept(rig, sealed(KEY, "x" * 400))
        await rig.until(lambda: len(rig.link.held) == 3)
        assert rig.pipeline.status()[0].slots == 3
        rig.link.finish(3)
        await rig.reach(accepted.id, State.SUBMITTED)
        await rig.until(lambda: rig.pipeline.status()[0].slots == 0)


@pytest.mark.parametrize(
    ("reason", "bearer"),
    [
        ("SEALED_FOR_OTHER_RECIPIENT", {"to": "+4915199999999"}),
        ("SEALED_FOR_OTHER_TENANT", {"who": OTHER_TENANT}),
        ("SEALED_FOR_OTHER_KEY", {"key": "key-2"}),
        ("SEALED_WITHOUT_KEY", {"key": ""}),
    ],
)
@pytest.mark.parametrize("kind", ["p256", "rsa2048"])
async def test_a_captured_one(tmp_path: Path, kind: str, reason: str, bearer: dict[str, Any]) -> None:
    """Whoever got hold of a ciphertext cannot have it sent to a phone of his own, from another tenant, or under
    another key or none: it is accepted, and rejected at the link with a reason of its own."""
    key = payload_key(kind)
    async with node(tmp_path, key) as rig:
        accepted = await accept(rig, sealed(key), **bearer)
        tenant = "other" if "who" in bearer else "demo"
        assert await rejected(rig, accepted, tenant) == reason
        raised = [(alert.kind.name, alert.values) for alert in rig.alerts.active()]
        assert raised == [("sealed_content_misused", (tenant,))]


async def test_expires_while_it_waits(tmp_path: Path) -> None:
    """It is the moment of sending that counts: what expired while its link was full is not sent."""
    async with node(tmp_path, window=1) as rig:
        await rig.send(2)
        await rig.until(lambda: len(rig.link.held) == 2)
        accepted = await accept(rig, sealed(KEY, smsgw__exp=NOW_S + 10))
        rig.now += 10 * SECOND
        rig.link.finish(2)
        assert await rejected(rig, accepted) == "SEALED_EXPIRED"


async def test_retired_key(tmp_path: Path) -> None:
    """Two keys overlap; what is sealed to one after its end, or when it is gone, is rejected and says so."""
    old, new = payload_key("p256", 1, not_after=NOW_S), payload_key("p256", 2)
    async with node(tmp_path, new, old) as rig:
        one = await accept(rig, sealed(new))
        await rig.until(lambda: len(rig.link.held) == 1)
        rig.link.finish(1)
        await rig.reach(one.id, State.SUBMITTED)
        retired = await accept(rig, sealed(old, smsgw__key="key-2"), key="key-2")
        assert await rejected(rig, retired) == "PAYLOAD_KEY_RETIRED"
        assert old.kid in (await row(rig, retired)).reason_text
    (tmp_path / "second").mkdir()
    async with node(tmp_path / "second", new) as rig:
        assert await rejected(rig, await accept(rig, sealed(old))) == "PAYLOAD_KEY_UNKNOWN"


@pytest.mark.parametrize(("text", "reason"), [("x" * 1600, "CONTENT_TOO_LONG"), ("", "CONTENT_REQUIRED")])
async def test_rules_of_other_content(tmp_path: Path, text: str, reason: str) -> None:
    """The rules that unsealed content meets on acceptance are asked when it is opened."""
    async with node(tmp_path) as rig:
        assert await rejected(rig, await accept(rig, sealed(KEY, text))) == reason


async def test_refused_on_acceptance(tmp_path: Path) -> None:
    """What can be told without opening is told at once: the form, and an end that has come, or is beyond that of its
    key's record."""
    async with node(tmp_path) as rig:
        for jwe, reason in (
            ("x", "SEALED_MALFORMED"),
            (sealed(KEY, zip="DEF"), "SEALED_HEADER_REFUSED"),
            (sealed(KEY, smsgw__exp=NOW_S + 72 * 3600 + 1), "SEALED_EXPIRY_TOO_FAR"),
            (sealed(KEY, smsgw__exp=NOW_S), "SEALED_EXPIRED"),
            ("e30" * 3000, "SEALED_TOO_LONG"),
        ):
            with pytest.raises(InvalidRequest) as refused:
                await accept(rig, jwe)
            (violation,) = refused.value.violations
            assert (violation.field, violation.reason) == ("message.content.sealed_jwe", reason)
        with pytest.raises(InvalidRequest) as refused:
            await accept(rig, sealed(KEY), key="a key " * 60)
        assert [each.reason for each in refused.value.violations] == ["IDEMPOTENCY_KEY_INVALID"]


async def test_idempotency_goes_by_octets(tmp_path: Path) -> None:
    """The same octets under the same key are the same message; the same text sealed anew is another content."""
    async with node(tmp_path) as rig:
        jwe = sealed(KEY)
        first = await accept(rig, jwe)
        assert (await accept(rig, jwe)) == Accepted(Verdict.REPLAYED, first.id, State.ACCEPTED, 0)
        assert (await accept(rig, sealed(KEY))).verdict is Verdict.CONFLICT
        assert len(rig.link.held) <= 1


async def test_commitment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the audit commits to is the message as its caller has it: the JWE."""
    async with node(tmp_path) as rig:
        jwe, new = sealed(KEY), list[NewMessage]()
        storing = rig.store.accept

        async def accepting(batch: Sequence[NewMessage], audit: Sequence[Record] = ()) -> list[Accepted]:
            new.extend(batch)
            return await storing(batch, audit)

        monkeypatch.setattr(rig.store, "accept", accepting)
        await accept(rig, jwe)
        salt = decode_envelope(rig.sealing.take("demo", new[0].id, "envelope", new[0].envelope)).salt
        ours = Message(to="+4915112345678", sender="ACME", category="OTP", sealed_jwe=jwe, idempotency_key="key-1")
        assert new[0].commitment == commitment(ours, salt=salt, tenant="demo")


async def test_rsa_is_budgeted(tmp_path: Path) -> None:
    """What is beyond a tenant's budget waits, and goes when its turn comes; ECDH-ES, and others, do not wait for it."""
    rsa = payload_key("rsa2048")
    async with node(tmp_path, rsa, KEY, rsa_rate=Rate.a_second(1, 2)) as rig:
        keys = [f"key-{number}" for number in range(6)]
        waiting = [await accept(rig, sealed(rsa, smsgw__key=key), key=key) for key in keys]
        await rig.until(lambda: len(rig.link.held) == 2)
        await accept(rig, sealed(KEY, smsgw__key="quick"), key="quick")
        await rig.send(text="plain")
        await rig.until(lambda: len(rig.link.held) == 4)
        async with asyncio.timeout(10):
            while (await rig.store.counts()).get("retry.sealed_budget", 0) < 4:
                await asyncio.sleep(0.001)
        rig.link.finish(4)
        for _ in range(4):
            assert len(rig.link.held) == 0
            rig.now += SECOND
            await rig.until(lambda: len(rig.link.held) == 1)
            rig.link.finish(1)
            await rig.until(lambda: rig.pipeline.status()[0].slots == 0)
        for accepted in waiting:
            await rig.reach(accepted.id, State.SUBMITTED)
        assert (await rig.store.counts())["retry.sealed_budget"] == 4  # each waited once


async def test_policies_are_told(tmp_path: Path) -> None:
    """A policy about sealed content forbids it a carrier, and no other content."""
    policy = (
        '@id("all") permit (principal, action, resource); '
        '@id("no-sealed") forbid (principal, action == Action::"UseRoute", resource) when { context.sealed };'
    )
    async with node(tmp_path, policy=policy) as rig:
        assert await rejected(rig, await accept(rig, sealed(KEY))) == "POLICY_DENIED"
        await rig.send()
        await rig.until(lambda: len(rig.link.held) == 1)


async def test_store_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When SENDING cannot be committed, it is sealed content again, and goes later, once."""
    async with node(tmp_path) as rig:
        sending, fails = rig.store.sending, [True]

        async def failing(batch: Any) -> Any:
            if fails:
                fails.clear()
                raise Unavailable("the disk is full")
            return await sending(batch)

        monkeypatch.setattr(rig.store, "sending", failing)
        accepted = await accept(rig, sealed(KEY, "y" * 200))
        await rig.until(lambda: len(rig.link.held) == 2)
        assert not fails
        assert rig.pipeline.status()[0].slots == 2
        rig.link.finish(2)
        await rig.reach(accepted.id, State.SUBMITTED)
        await rig.until(lambda: rig.pipeline.status()[0].slots == 0)


async def test_in_doubt(tmp_path: Path) -> None:
    """A message in doubt is opened and sent again; when its time is over meanwhile, it stays in doubt."""
    async with node(tmp_path) as rig:
        accepted = await accept(rig, sealed(KEY, smsgw__exp=NOW_S + 10))
        for _ in range(2):
            await rig.until(lambda: len(rig.link.held) == 1)
            rig.now += 5 * SECOND
            rig.link.finish(1, outcome=Outcome.IN_DOUBT)
        async with asyncio.timeout(10):
            while "doubt.sealed" not in await rig.store.counts():
                await asyncio.sleep(0.001)
        found = await row(rig, accepted)
        assert (found.state, found.reason_code) == (State.UNKNOWN, "SEALED_EXPIRED")
        assert rig.link.held == []


async def test_without_keys(tmp_path: Path) -> None:
    """A node that has lost its payload keys rejects what was sealed to them, and keeps on sending the rest."""
    async with running(tmp_path, ids=IdSource(now_ms=lambda: START // 1000)) as rig:
        assert await rejected(rig, await accept(rig, sealed(KEY))) == "PAYLOAD_KEY_UNKNOWN"
        await rig.send(category=Category.PROMOTIONAL)
        await rig.until(lambda: len(rig.link.held) == 1)
    assert MessageRules().sealed is False
