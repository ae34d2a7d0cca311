"""Taking over a changed configuration: every setting that is marked reloadable is applied, any other refuses all."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import logging
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from carrier.contract import Link
from carrier.profile import CarrierProfile
from carrier.text.writing import Counting
from gateway import key_assembly
from gateway.audit.records import ConfigLoaded, NodeStopped, OperatorActed, PoliciesReplaced, Record
from gateway.config.definitions import Definition, definitions
from gateway.config.kinds import Section
from gateway.config.limit_settings import LimitSettings
from gateway.config.loader import load
from gateway.config.payload_settings import PayloadSettings
from gateway.config.schema import Document, Settings
from gateway.errors import InvalidRequest, StoreUnavailable, Unavailable
from gateway.pipeline.outcomes import RetryRules
from gateway.pipeline.router import Routing
from gateway.policy.judge import Judge, TimeReads
from gateway.policy.loader import digest_of
from gateway.privacy.periods import Periods, TenantPeriods
from gateway.reloading import Reloadable, Reloader
from gateway.sealed.errors import PayloadKeyRefused
from gateway.sealed.keys import PayloadKey
from gateway.sealing.provider_set import ProviderSet
from gateway.sealing.providers import kek_id
from gateway.states import Category
from gateway.store.retention import Stage
from gateway.tenants import Tenants
from gateway.usage.caps import CapRules
from gateway.usage.prices import PriceTable
from gateway.validation import MessageRules
from tests.gateway.policy.sets import write_set
from tests.gateway.sealing.boxes import kek_file
from tests.gateway.sealing.test_rsa_provider import halves, rsa_key

PERMIT = '@id("all") permit(principal, action, resource);\n'
FORBID = '@id("no") forbid(principal, action == Action::"SendOtp", resource);\n'
NOW = 1_800_000_000_000_000


class Keks:
    """Notes which keys wrap."""

    def __init__(self) -> None:
        self.used: list[ProviderSet] = []

    def read(self, settings: Settings) -> ProviderSet:
        """Read them."""
        return key_assembly.provider(settings)

    def use(self, changed: ProviderSet) -> None:
        """Note them."""
        self.used.append(changed)

    def knows(self, kek: str) -> bool:
        """Whether those that were taken over last know a key."""
        return self.used[-1].knows(kek)


class Parts:
    """Keeps what it is told to use."""

    def __init__(self) -> None:
        self.recorded: list[Record] = []
        self.rules: MessageRules | RetryRules | None = None
        self.routing: Routing | None = None
        self.counting: Counting | None = None
        self.failure: Exception | None = None

    def use(self, given: Any, counting: Counting | None = None) -> None:
        """Keep rules or a routing."""
        if isinstance(given, MessageRules):
            self.rules, self.counting = given, counting
        else:
            self.routing = given

    async def audit(self, batch: Sequence[Record]) -> None:
        """Keep records."""
        if self.failure is not None:
            raise self.failure
        self.recorded += batch


class Pipeline(Parts):
    """Keeps rules of its own."""

    prices = PriceTable()

    def use_rules(self, rules: RetryRules) -> None:
        """Keep them."""
        self.rules = rules

    def use_prices(self, table: PriceTable) -> None:
        """Keep them."""
        self.prices = table


class Capping:
    """Keeps rules."""

    rules: CapRules | None = None

    async def use(self, rules: CapRules) -> None:
        """Keep them."""
        self.rules = rules


class Carriers:
    """Keeps profiles; a profile with the password `bad` cannot be used."""

    def __init__(self) -> None:
        self.profiles: Sequence[CarrierProfile] = ()

    def make(self, profile: CarrierProfile) -> Callable[[int], Link]:
        """Return what fails for a bad password."""

        def one(index: int) -> Link:
            if profile.password.reveal() == b"bad":
                raise ValueError("this password fits no bind")
            return None  # type: ignore[return-value]  # nobody uses it

        return one

    async def replace(self, profiles: Sequence[CarrierProfile]) -> list[str]:
        """Keep them."""
        self.profiles = profiles
        return ["carrier acme: changed, bound anew"]


class Deciding:
    """Keeps the judge that it is told to use."""

    def __init__(self, epoch: str) -> None:
        self.epoch = epoch
        self.judge: Judge | None = None

    def use(self, judge: Judge) -> None:
        """Keep it."""
        self.judge = judge
        self.epoch = judge.epoch


class Owning:
    """Keeps tenants; those that are prepared have their keys, unless `failure` is raised."""

    def __init__(self) -> None:
        self.prepared: tuple[str, ...] = ()
        self.names: tuple[str, ...] = ()
        self.failure: Exception | None = None

    async def prepare(self, tenants: Tenants) -> None:
        """Note them."""
        if self.failure is not None:
            raise self.failure
        self.prepared = tenants.names

    def use(self, tenants: Tenants) -> None:
        """Keep them."""
        assert self.prepared == tenants.names
        self.names = tenants.names


class Limiting:
    """Keeps limits."""

    def __init__(self) -> None:
        self.settings: LimitSettings | None = None

    def use(self, settings: LimitSettings) -> None:
        """Keep them."""
        self.settings = settings


class Sealed:
    """Keeps the files of payload keys."""

    def __init__(self) -> None:
        self.settings: PayloadSettings | None = None
        self.refusal: Exception | None = None

    def read(self, settings: Settings) -> Sequence[PayloadKey]:
        """Return no keys, or refuse."""
        if self.refusal is not None:
            raise self.refusal
        return ()

    def use(self, settings: Settings, keys: Sequence[PayloadKey]) -> None:
        """Keep them."""
        self.settings = settings.payload


def limited(key: str, text: object, value: object) -> tuple[Any, Callable[[Rig], bool]]:
    """Return another value of a limit, and what is told then."""
    return text, lambda rig: getattr(rig.limits.settings, key) == value


class Retaining:
    """Keeps periods."""

    def __init__(self) -> None:
        self.periods: Periods | None = None

    def use(self, periods: Periods) -> None:
        """Keep them."""
        self.periods = periods


class Comparing:
    """Keeps the candidates that it is told to use."""

    def __init__(self) -> None:
        self.epoch = self.problem = ""
        self.used: list[str] = []

    def use(self, judge: Judge | None, now: int, problem: str = "") -> None:
        """Keep one."""
        self.epoch = "" if judge is None else judge.epoch
        self.problem = problem
        self.used.append(self.epoch or self.problem)


class Rig:
    """A file, and a node's parts beside it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "smsgw.yaml"
        self.password = folder / "password"
        self.password.touch(mode=0o600)
        self.password.write_text("good")
        carrier = {"name": "acme", "host": "127.0.0.1", "system_id": "me", "password_file": "password",
                   "insecure": True}  # fmt: skip
        self.document: dict[str, Any] = {
            "node": {"trust_domain": "example.org"},
            "identity": {"bundles": {"example.org": "bundle.pem"}},
            "tenants": [{"name": "demo", "spiffe_ids": ["spiffe://example.org/demo"]}],
            "carriers": [carrier],
            "usage": {"currency": "EUR"},
        }
        self.write()
        self.validator, self.pipeline, self.carriers, self.store = Parts(), Pipeline(), Carriers(), Parts()
        self.keks = Keks()
        (folder / "keys").mkdir()
        kek_file(folder / "keys")
        kek_file(folder, "new.key")
        halves(folder, rsa_key())
        self.folder = write_set(folder / "policy", a=PERMIT)
        write_set(folder / "other", a=PERMIT)
        self.policies = Deciding(digest_of(self.folder))
        self.shadowing = Comparing()
        self.tenancy, self.limits, self.sealed = Owning(), Limiting(), Sealed()
        self.caps = Capping()
        self.tenancy, self.limits, self.retention = Owning(), Limiting(), Retaining()
        parts = Reloadable(
            records=self.store,
            validator=self.validator,
            pipeline=self.pipeline,
            policies=self.policies,
            shadowing=self.shadowing,
            tenancy=self.tenancy,
            limits=self.limits,
            number_of=lambda message: "",
            carriers=self.carriers,
            sealed=self.sealed,
            keks=self.keks,
            retention=self.retention,
            caps=self.caps,
        )
        self.reloader = Reloader(load(self.path), parts, lambda: NOW)

    def write(self) -> None:
        """Write the file."""
        self.path.write_text(yaml.safe_dump(self.document, sort_keys=False))

    def only_accepts(self) -> None:
        """Be a node that only accepts, from the start on."""
        host = "/run/postgresql"
        self.document |= {"store": {"engine": "postgres", "postgres": {"host": host}}, "carriers": []}
        self.document["keys"] = {
            "wrapped": {"postgres": {"host": host}},
            "kek": {"rsa": {"public_key_file": "kek.pub"}},
        }
        self.change("node.role", "accept")
        self.reloader.settings = load(self.path)

    def change(self, key: str, value: Any) -> None:
        """Set `a.b.c` in the file."""
        section = self.document
        *path, last = key.split(".")
        for name in path:
            section = section.setdefault(name, {})
        section[last] = value
        self.write()

    @property
    def routing(self) -> Routing:
        """What the pipeline was told."""
        assert self.pipeline.routing is not None
        return self.pipeline.routing

    @property
    def untouched(self) -> bool:
        """Whether nothing has been told to any part."""
        told: list[object] = [self.validator.rules, self.pipeline.rules, self.pipeline.routing, self.policies.judge]
        told += [self.limits.settings, self.tenancy.names or None]
        return told == [None] * 6 and not self.carriers.profiles and not self.store.recorded


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    """Give a rig with one carrier."""
    return Rig(tmp_path)


@pytest.fixture(autouse=True)
def level() -> Iterator[None]:
    """Put the log's level back."""
    before = logging.getLogger().level
    yield
    logging.getLogger().setLevel(before)


def message_rules(rig: Rig) -> MessageRules:
    """Return what the validator was told."""
    assert isinstance(rig.validator.rules, MessageRules)
    return rig.validator.rules


def retry_rules(rig: Rig) -> RetryRules:
    """Return what the pipeline was told."""
    assert isinstance(rig.pipeline.rules, RetryRules)
    return rig.pipeline.rules


def waits(rig: Rig, category: Category) -> int:
    """Return how long messages wait for a carrier without room."""
    return rig.routing.patience[category]


def at_midnight(rig: Rig) -> tuple[int, int]:
    """Return what the policies would be told of the time when the epoch began."""
    assert rig.policies.judge is not None
    return rig.policies.judge.moment(TimeReads(True, True), 0)


DAY = 86_400_000_000


def periods(rig: Rig, tenant: str) -> TenantPeriods:
    """Return the periods of a tenant that the retention was told."""
    assert rig.retention.periods is not None
    return rig.retention.periods.of(tenant)


def kept(stage: Stage, category: Category, days: int, rig: Rig) -> bool:
    """Say whether a stage of a category is kept for so long."""
    return periods(rig, "demo").keeps[category, stage] == days * DAY


SHOP = {"name": "shop", "spiffe_ids": ["spiffe://example.org/shop"]}
ROUTE = {"name": "all", "targets": [{"carrier": "acme"}]}
# Each setting that is marked: another value, and what some part is told then.
APPLIED: dict[str, tuple[Any, Callable[[Rig], bool]]] = {
    "keys.kek_file": ("./new.key", lambda rig: rig.keks.knows(kek_id((rig.path.parent / "new.key").read_bytes()))),
    "keys.older_kek_files": (["./new.key"], lambda rig: len(rig.keks.used) == 1),
    "keys.kek": ({"rsa": {"public_key_file": "kek.pub"}}, lambda rig: not rig.keks.used[0].local),
    "keys.older_keks": ([{"rsa": {"public_key_file": "kek.pub"}}], lambda rig: not rig.keks.used[0].local),
    "messages.max_segments": (3, lambda rig: message_rules(rig).max_segments == 3),
    "messages.counted_for": (
        [{"name": "acme", "text": {"segmentation": "udh16"}}],
        lambda rig: rig.validator.counting is not None and rig.validator.counting.count("x" * 306)[1] == 3,
    ),
    "messages.validity.otp": ("7m", lambda rig: message_rules(rig).otp_validity_s == 420),
    "messages.validity.transactional": ("7m", lambda rig: message_rules(rig).transactional_validity_s == 420),
    "messages.validity.promotional": ("7m", lambda rig: message_rules(rig).promotional_validity_s == 420),
    "messages.receipt_grace": ("7m", lambda rig: retry_rules(rig).receipt_grace == 420_000_000),
    "pipeline.resend.otp": (False, lambda rig: Category.OTP not in retry_rules(rig).resend),
    "pipeline.resend.transactional": (False, lambda rig: Category.TRANSACTIONAL not in retry_rules(rig).resend),
    "pipeline.resend.promotional": (True, lambda rig: Category.PROMOTIONAL in retry_rules(rig).resend),
    "pipeline.retry_min": ("7s", lambda rig: retry_rules(rig).retry_min == 7_000_000),
    "pipeline.retry_max": ("7m", lambda rig: retry_rules(rig).retry_max == 420_000_000),
    "log.level": ("error", lambda rig: logging.getLogger().level == logging.ERROR),
    "pipeline.failover_after.otp": ("7s", lambda rig: waits(rig, Category.OTP) == 7_000_000),
    "pipeline.failover_after.transactional": (
        "7s",
        lambda rig: waits(rig, Category.TRANSACTIONAL) == 7_000_000,
    ),
    "pipeline.failover_after.promotional": ("7s", lambda rig: waits(rig, Category.PROMOTIONAL) == 7_000_000),
    "carriers": ([], lambda rig: rig.store.recorded != []),
    "policy.dir": ("other", lambda rig: rig.policies.judge is None),  # the same set, elsewhere
    "policy.shadow": ("other", lambda rig: rig.shadowing.epoch == digest_of(rig.folder)),
    "tenants": ([SHOP], lambda rig: rig.tenancy.names == ("shop",)),
    "limits.tenants": (
        [{"tenant": "demo", "messages_per_tenant": "5/s"}],
        lambda rig: rig.limits.settings is not None and rig.limits.settings.tenants[0].tenant == "demo",
    ),
    "payload.key_files": (
        ["a.jwk"],
        lambda rig: rig.sealed.settings is not None and rig.sealed.settings.key_files[0].name == "a.jwk",
    ),
    "payload.public_key_files": (
        ["a.pub.jwk"],
        lambda rig: rig.sealed.settings is not None and rig.sealed.settings.public_key_files[0].name == "a.pub.jwk",
    ),
    "payload.rsa_openings_per_tenant": (
        "5/s",
        lambda rig: rig.sealed.settings is not None and rig.sealed.settings.rsa_openings_per_tenant == (5, 1_000_000),
    ),
    "payload.rsa_openings_per_tenant_burst": (
        7,
        lambda rig: rig.sealed.settings is not None and rig.sealed.settings.rsa_openings_per_tenant_burst == 7,
    ),
    "usage.caps": (
        [{"tenant": "demo", "messages_per_day": 5}],
        lambda rig: rig.caps.rules is not None and rig.caps.rules.caps[0].messages_per_day == 5,
    ),
    "usage.prices": (
        [{"carrier": "acme", "price": "0.0075"}],
        lambda rig: rig.pipeline.prices.price("acme", 1, "", "DE", NOW) == 7_500,
    ),
    "usage.rates": ({"USD": "0.92"}, lambda rig: rig.caps.rules is not None),
    "usage.alert_at": (50, lambda rig: rig.caps.rules is not None and rig.caps.rules.alert_at == 50),
    "usage.sealed_segments": (9, lambda rig: rig.caps.rules is not None and rig.caps.rules.sealed_segments == 9),
    "limits.calls": limited("calls", "5/s", (5, 1_000_000)),
    "limits.calls_burst": limited("calls_burst", 500, 500),
    "limits.open_calls": limited("open_calls", 7, 7),
    "limits.new_certificates": limited("new_certificates", "5/s", (5, 1_000_000)),
    "limits.new_certificates_burst": limited("new_certificates_burst", 7, 7),
    **{
        f"limits.messages_per_{who}{what}": limited(f"messages_per_{who}{what}", text, value)
        for who in ("caller", "tenant", "recipient")
        for what, text, value in (("", "5/s", (5, 1_000_000)), ("_burst", 7, 7))
    },
    **{
        f"retention.{section}.{category.name.lower()}": (f"{days}d", partial(kept, stage, category, days))
        for section, stage, days in (
            ("content", Stage.CONTENT, 2),
            ("envelope", Stage.ENVELOPE, 30),
            ("metadata", Stage.MESSAGE, 30),
        )
        for category in Category
    },
    "retention.events": ("3d", lambda rig: periods(rig, "demo").events == 3 * DAY),
    "retention.inbound": ("3d", lambda rig: periods(rig, "demo").inbound == 3 * DAY),
    "retention.usage": ("70d", lambda rig: periods(rig, "demo").usage == 70 * DAY),
    "retention.tenants": ([{"tenant": "demo", "events": "2d"}], lambda rig: periods(rig, "demo").events == 2 * DAY),
    "policy.timezone": ("Asia/Kolkata", lambda rig: at_midnight(rig) == (4, 330)),
    "routes": ([ROUTE], lambda rig: [route.name for route in rig.routing.routes] == ["all"]),
}


ACCEPTING = frozenset({"payload.public_key_files", "messages.counted_for"})  # of nodes that only accept


def every(schema: type = Document, path: str = "") -> Iterator[tuple[str, Definition]]:
    """Yield each setting that is compared, by key."""
    for definition in definitions(schema):
        key = f"{path}.{definition.key}" if path else definition.key
        if isinstance(definition.kind, Section) and not definition.kind.whole:
            yield from every(definition.kind.schema, key)
        else:
            yield key, definition


def test_every_mark_is_tried() -> None:
    """The table above has every setting that is marked, and no other."""
    assert set(APPLIED) == {key for key, definition in every() if definition.reloadable}


@pytest.mark.parametrize("key", APPLIED)
async def test_every_mark_is_true(rig: Rig, key: str) -> None:
    """A setting that is marked reloadable is taken over, told, and recorded by the file's digest."""
    value, applied = APPLIED[key]
    if key in ACCEPTING:
        rig.only_accepts()
    rig.change(key, value)
    changes = await rig.reloader.reload([NodeStopped(NOW, "stands for a permission")])
    told = {"carriers": ["carrier acme: changed, bound anew"]}
    told["policy.shadow"] = ["policy.shadow", f"shadow policies {digest_of(rig.folder)[:12]}: 1 policies"]
    assert changes == told.get(key, [key])
    assert applied(rig)
    digest = hashlib.sha256(rig.path.read_bytes()).hexdigest()
    assert rig.store.recorded[:2] == [
        NodeStopped(NOW, "stands for a permission"),
        ConfigLoaded(NOW, "node-1", "configuration", digest),
    ]
    assert rig.reloader.settings == load(rig.path)
    assert await rig.reloader.reload() == []  # nothing differs any more


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("node.name", "other"),
        ("api.listen", "127.0.0.1:1"),
        ("admin.listen", "127.0.0.1:2"),
        ("store.file", "other.db"),
        ("limits.recipient_places", 4096),
        ("api.max_message_bytes", 70_000),
        ("telemetry.otlp.endpoint", "localhost:4317"),
        ("usage.currency", "USD"),
    ],
)
async def test_what_needs_a_restart_refuses_all(rig: Rig, key: str, value: Any) -> None:
    """A setting that is not marked is named with file and line, and nothing else of the file is taken over."""
    rig.change("messages.max_segments", 3)
    rig.change(key, value)
    with pytest.raises(InvalidRequest) as refused:
        await rig.reloader.reload()
    (violation,) = refused.value.violations
    line = next(
        number
        for number, text in enumerate(rig.path.read_text().splitlines(), 1)
        if text.strip().startswith(key.rpartition(".")[2] + ":")
    )
    assert (violation.field, violation.reason) == (key, "CONFIGURATION_REFUSED")
    assert violation.description == f"{rig.path}:{line}: is changed, and needs a restart"
    assert rig.untouched


async def test_what_is_wrong_refuses_all(rig: Rig) -> None:
    """Every problem of the file is told, as `smsgw check` would; nothing is taken over."""
    rig.change("messages", {"max_segments": 0, "valitidy": {}})
    with pytest.raises(InvalidRequest) as refused:
        await rig.reloader.reload()
    assert [violation.field for violation in refused.value.violations] == ["messages.max_segments", "messages.valitidy"]
    assert all(violation.description.startswith(f"{rig.path}:") for violation in refused.value.violations)
    assert rig.untouched


async def test_a_file_that_is_gone(rig: Rig) -> None:
    """It is told, and nothing is changed."""
    rig.path.unlink()
    with pytest.raises(InvalidRequest, match=r"smsgw\.yaml"):
        await rig.reloader.reload()
    assert rig.untouched


async def test_a_password_in_its_file(rig: Rig) -> None:
    """A changed password is a changed carrier, though smsgw.yaml is the same; one that fits no bind refuses all."""
    rig.password.write_text("bad")
    with pytest.raises(InvalidRequest) as refused:
        await rig.reloader.reload()
    assert refused.value.violations[0].field == "carriers[0]"
    assert rig.untouched
    rig.password.write_text("better")
    assert await rig.reloader.reload() == ["carrier acme: changed, bound anew"]
    assert [profile.password.reveal() for profile in rig.carriers.profiles] == [b"better"]


async def test_what_cannot_be_recorded_is_not_done(rig: Rig) -> None:
    """Without its record nothing is taken over; the next reload does it."""
    rig.change("messages.max_segments", 3)
    rig.store.failure = StoreUnavailable("the disk is full")
    with pytest.raises(StoreUnavailable):
        await rig.reloader.reload()
    assert rig.untouched
    rig.store.failure = None
    assert await rig.reloader.reload() == ["messages.max_segments"]


async def test_whoever_goes_away_stops_nothing(rig: Rig) -> None:
    """A reload whose caller is gone goes on to its end."""
    rig.change("messages.max_segments", 3)
    task = asyncio.create_task(rig.reloader.reload())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await rig.reloader.finished()
    assert message_rules(rig).max_segments == 3


async def test_a_breaker_alone(rig: Rig) -> None:
    """The rules of a carrier's breaker stand among its settings, and are taken over without anything else."""
    rig.document["carriers"][0]["breaker"] = {"failures": 7}
    rig.write()
    await rig.reloader.reload()
    assert rig.routing.breakers["acme"].failures == 7
    assert await rig.reloader.reload() == []


ANN = OperatorActed(
    NOW, "node-1", "spiffe://example.org/admin/ann", "configuration reloaded", "", "", 0, False, 0, "stricter"
)  # fmt: skip


@pytest.mark.parametrize(("audit", "by"), [([ANN], ANN.by), ([], "")])
async def test_policies(rig: Rig, audit: list[Record], by: str) -> None:
    """Another set is taken over while smsgw.yaml stays the same: on record with both digests, and who wanted it."""
    before = rig.policies.epoch
    write_set(rig.folder, b=FORBID)
    after = digest_of(rig.folder)
    assert await rig.reloader.reload(audit) == [f"policies {before[:12]} → {after[:12]}: 2 policies"]
    assert rig.policies.epoch == after != before
    assert rig.store.recorded == [*audit, PoliciesReplaced(NOW, "node-1", by, before, after, 2)]
    assert rig.validator.rules is None  # nothing else is touched
    assert await rig.reloader.reload() == []


async def test_policies_with_the_configuration(rig: Rig) -> None:
    """Both are taken over together, in one commit."""
    write_set(rig.folder, b=FORBID)
    rig.change("messages.max_segments", 3)
    assert [change.split()[0] for change in await rig.reloader.reload()] == ["messages.max_segments", "policies"]
    assert [type(record) for record in rig.store.recorded] == [ConfigLoaded, PoliciesReplaced]
    assert message_rules(rig).max_segments == 3


async def test_policies_with_a_fault_refuse_all(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    """Every fault is told with file and line, counted and logged; the set in force stays, and the configuration too."""
    write_set(rig.folder, b="\n" + FORBID.replace("SendOtp", "SendOpt"), c="permit(")
    rig.change("messages.max_segments", 3)
    before = rig.policies.epoch
    with pytest.raises(InvalidRequest) as refused:
        await rig.reloader.reload([ANN])
    told = [(violation.field, violation.reason) for violation in refused.value.violations]
    assert told == [("policy.dir", "CONFIGURATION_REFUSED")]
    assert refused.value.violations[0].description.startswith(f"{rig.folder}/c.cedar:1: ")
    (rig.folder / "c.cedar").unlink()
    with pytest.raises(InvalidRequest, match=r"b\.cedar:2: no: unrecognized action"):
        await rig.reloader.reload()
    assert rig.untouched
    assert rig.policies.epoch == before
    assert rig.reloader.policies_refused == 2
    assert [record.message for record in caplog.records] == ["policies_refused"] * 2
    write_set(rig.folder, b=FORBID)
    assert len(await rig.reloader.reload()) == 2


async def test_policies_without_their_record(rig: Rig) -> None:
    """What cannot be recorded does not decide."""
    write_set(rig.folder, b=FORBID)
    rig.store.failure = StoreUnavailable("the disk is full")
    with pytest.raises(StoreUnavailable):
        await rig.reloader.reload()
    assert rig.untouched


async def test_payload_keys_that_cannot_be_used(rig: Rig) -> None:
    """A file that holds no payload key refuses the reload, by file and line, and the keys in force stay."""
    rig.change("payload.key_files", ["a.jwk"])
    rig.sealed.refusal = PayloadKeyRefused("a.jwk has no kid")
    with pytest.raises(InvalidRequest, match=r"smsgw.yaml:\d+: a.jwk has no kid"):
        await rig.reloader.reload()
    assert rig.sealed.settings is None
    rig.sealed.refusal = None
    assert await rig.reloader.reload() == ["payload.key_files"]


async def test_limits_of_a_tenant(rig: Rig) -> None:
    """A tenant comes with limits of its own, in one reload."""
    rig.change("tenants", [SHOP])
    rig.change("limits.tenants", [{"tenant": "shop", "messages_per_tenant": "5/s"}])
    assert await rig.reloader.reload() == ["tenants", "limits.tenants"]
    assert rig.tenancy.names == ("shop",)
    assert rig.limits.settings is not None
    assert [own.tenant for own in rig.limits.settings.tenants] == ["shop"]


async def test_tenants_that_cannot_be(rig: Rig) -> None:
    """Tenants that overlap, and those whose keys cannot be made, refuse all of it before anything changes."""
    rig.change("messages.max_segments", 3)
    below = {"name": "below", "spiffe_ids": ["spiffe://example.org/shop/a"]}
    rig.change("tenants", [SHOP, below])
    with pytest.raises(InvalidRequest) as refused:
        await rig.reloader.reload()
    assert [violation.field for violation in refused.value.violations] == ["tenants"]
    assert rig.untouched
    rig.change("tenants", [SHOP])
    rig.tenancy.failure = Unavailable("the key folder is away")
    with pytest.raises(Unavailable):
        await rig.reloader.reload()
    assert rig.untouched


async def test_a_candidate(rig: Rig) -> None:
    """A candidate is compared from now on, and anew when it or the set in force is another one; both are on record."""
    folder = write_set(rig.path.parent / "next", a=PERMIT, b=FORBID)
    rig.change("policy.shadow", "next")
    first = digest_of(folder)
    assert await rig.reloader.reload() == ["policy.shadow", f"shadow policies {first[:12]}: 2 policies"]
    assert rig.store.recorded[-1] == ConfigLoaded(NOW, "node-1", "shadow policies", first)
    assert rig.policies.judge is None
    assert await rig.reloader.reload() == []
    write_set(folder, c=FORBID.replace("no", "never"))
    second = digest_of(folder)
    assert await rig.reloader.reload() == [f"shadow policies {second[:12]}: 3 policies"]
    write_set(rig.folder, b=FORBID)
    (told,) = await rig.reloader.reload()
    assert told.startswith("policies ")
    assert rig.shadowing.used == [first, second, second]
    rig.document["policy"].pop("shadow")
    rig.write()
    assert await rig.reloader.reload() == ["policy.shadow"]
    assert rig.shadowing.used[-1] == ""


async def test_a_candidate_with_a_fault_stops_nothing(rig: Rig) -> None:
    """It is told, and left out; the policies in force change all the same."""
    folder = write_set(rig.path.parent / "next", a=PERMIT, b="permit(")
    rig.change("policy.shadow", "next")
    write_set(rig.folder, b=FORBID)
    told = await rig.reloader.reload()
    assert [text.partition(" ")[0] for text in told] == ["policy.shadow", "policies", "shadow"]
    assert told[-1].startswith(f"shadow policies: not used, {folder}/b.cedar:1: ")
    assert rig.policies.epoch == digest_of(rig.folder)
    assert rig.shadowing.epoch == ""
    assert await rig.reloader.reload() == []
    assert rig.reloader.policies_refused == 0


async def test_policies_that_change_while_they_are_read(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of one set and half of another are none."""
    write_set(rig.folder, b=FORBID)
    monkeypatch.setattr("gateway.reloading.digest_of", lambda folder: "of another moment")
    with pytest.raises(Unavailable, match="was changed while it was read"):
        await rig.reloader.reload()
    assert rig.untouched


def test_settings_are_compared_by_value(rig: Rig) -> None:
    """Two loads of one file are equal, secrets included: nothing seems changed that is not."""
    first, second = load(rig.path), load(rig.path)
    assert first == second
    assert dataclasses.replace(first, carriers=()) != second


async def test_another_key_encryption_key(rig: Rig, tmp_path: Path) -> None:
    """A changed key-encryption key is read before anything changes, and refused with all else when it cannot be."""
    kek_file(tmp_path, "new.key")
    rig.change("keys.kek_file", "./new.key")
    assert await rig.reloader.reload() == ["keys.kek_file"]
    (used,) = rig.keks.used
    assert used.knows(kek_id((tmp_path / "new.key").read_bytes()))
    (tmp_path / "short.key").touch(mode=0o600)
    (tmp_path / "short.key").write_bytes(b"short")
    rig.change("keys.kek_file", "./short.key")
    with pytest.raises(InvalidRequest, match="has 5 bytes"):
        await rig.reloader.reload()
    assert rig.keks.used == [used]
