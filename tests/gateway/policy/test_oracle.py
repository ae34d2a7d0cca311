"""Cedar itself is asked beside the cache: random sets, random requests, and sets that take over from one another.

The oracle shares nothing with the code under test but the schema: requests and entities are written out here a second
time, complete, and cedarpy evaluates the text of the set.
"""

from __future__ import annotations

import datetime as dt
import functools
import json
from collections import Counter
from typing import Any, NamedTuple

import cedarpy
from cedarpy import Entities, PolicySet, Schema
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.api.authorizing import call_actions
from gateway.policy.authorizer import Authorizer, RoutingRights, SendingRights
from gateway.policy.cache import DecisionCache
from gateway.policy.engine import Decision
from gateway.policy.judge import Judge
from gateway.policy.schema import cedar_schema
from gateway.policy.shadow import Shadow
from tests.gateway.callers import caller
from tests.gateway.policy.sets import policies

MINUTE = 60_000_000
HOME = "d"
SCHEMA = Schema.from_str(cedar_schema(call_actions()))
ACTIONS = {1: "SendOtp", 2: "SendTransactional", 3: "SendPromotional"}
CATEGORIES = {1: "OTP", 2: "TRANSACTIONAL", 3: "PROMOTIONAL"}

# Conditions from a small world, so that policies and requests meet; by what they can be asked about.
ANY = (
    "true", "context.minute < 2", "context.weekday == 4", "context.minute + 9223372036854775807 > 0",
    'principal in Path::"spiffe://d/a"', "principal.federated", 'principal.path like "/a*"',
    "context == context", "context has nothing",
)  # fmt: skip
BEFORE = (
    'context has address && context.address.isInRange(ip("10.0.0.0/31"))',
    "!(context has address)",
)
MESSAGE = (
    'context.sender == "A"', 'context.country == "DE"', 'context.sender like "A*"', 'context.category == "OTP"',
    '["DE", "AT"].contains(context.country)', "context.sealed", "context has segments && context.segments > 2",
    "!(context has segments)", 'if context.country == "DE" then context.minute == 1 else context.sender == "C"',
)  # fmt: skip
SEND = ("context.batch > 3", 'resource in Tenant::"t1"', "context.batch > 1 && context.minute == 0")
GET, LIST, CANCEL = (f"MessageService.{name}" for name in ("GetMessage", "ListMessages", "CancelMessage"))
SCOPES = {
    'action in Action::"send"': (*ANY, *BEFORE, *MESSAGE, *SEND),
    'action == Action::"SendOtp"': (*ANY, *BEFORE, *MESSAGE, *SEND),
    'action in [Action::"SendPromotional", Action::"SendTransactional"]': (*ANY, *BEFORE, *MESSAGE, *SEND),
    'action == Action::"UseRoute"': (*ANY, *MESSAGE, 'resource == Route::"r1"'),
    'action in Action::"message:read"': (*ANY, *BEFORE),
    f'action == Action::"{CANCEL}"': (*ANY, *BEFORE, 'resource == Tenant::"t1"'),
    "action": ANY,
}


@st.composite
def texts(draw: st.DrawFn) -> str:
    """Draw a set of policies."""
    written = []
    for number in range(draw(st.integers(1, 6))):
        scope = draw(st.sampled_from(sorted(SCOPES)))
        condition = draw(st.sampled_from(SCOPES[scope]))
        effect = draw(st.sampled_from(["permit", "permit", "forbid"]))
        kind = "principal is Caller"  # an operator has no tenant
        written.append(f'@id("p{number}") {effect}({kind}, {scope}, resource) when {{ {condition} }};')
    return "\n".join(written)


class Who(NamedTuple):
    """Who asks, and when."""

    spiffe_id: str
    tenant: str
    address: str
    now: int


class Message(NamedTuple):
    """What about."""

    category: int
    sender: str
    country: str
    segments: int
    batch: int
    carrier: str


WHO = st.builds(
    Who,
    st.sampled_from(["spiffe://d/a", "spiffe://d/a/b", "spiffe://d/ab", "spiffe://e/a"]),
    st.sampled_from(["t1", "t2"]),
    st.sampled_from(["", "10.0.0.1", "10.0.0.2"]),
    st.sampled_from([0, MINUTE, 2 * MINUTE, 1440 * MINUTE]),
)
MESSAGES = st.builds(
    Message,
    st.sampled_from([1, 2, 3]),
    st.sampled_from(["A", "AB", "C"]),
    st.sampled_from(["DE", "FR"]),
    st.sampled_from([0, 1, 3]),
    st.sampled_from([1, 2, 5]),
    st.sampled_from(["r1", "r2"]),
)
CALLS = st.sampled_from([GET, LIST, CANCEL])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("call"), WHO, CALLS),
        st.tuples(st.just("send"), WHO, MESSAGES),
        st.tuples(st.just("route"), WHO, MESSAGES),
        st.tuples(st.just("begin"), WHO, MESSAGES),  # a batch, of which later messages are decided after a change
        st.tuples(st.just("go on"), MESSAGES),
        st.tuples(st.just("use"), st.integers(0, 2)),
    ),
    min_size=5,
    max_size=50,
)


Answer = tuple[bool, tuple[str, ...]]  # whether it is permitted, and the policies that decide


class Oracle:
    """Cedar on one set."""

    def __init__(self, text: str) -> None:
        self._policies = PolicySet.from_str(text)

    def call(self, who: Who, action: str) -> Answer:
        """Answer about a call."""
        return self._ask(who, action, {"type": "Tenant", "id": who.tenant}, self._before(who))

    def send(self, who: Who, message: Message) -> Answer:
        """Answer about a message."""
        context = {**self._before(who), **self._of(message), "batch": message.batch}
        return self._ask(who, ACTIONS[message.category], {"type": "Message", "id": "new"}, context)

    def route(self, who: Who, message: Message) -> Answer:
        """Answer about an attempt."""
        context = {**self._time(who), **self._of(message)}
        return self._ask(who, "UseRoute", {"type": "Route", "id": message.carrier}, context)

    def _ask(self, who: Who, action: str, resource: dict[str, str], context: dict[str, Any]) -> Answer:
        request = {
            "principal": {"type": "Caller", "id": who.spiffe_id},
            "action": {"type": "Action", "id": action},
            "resource": resource,
            "context": context,
        }
        result = cedarpy.is_authorized(request, self._policies, _entities(who.spiffe_id, who.tenant), SCHEMA)
        if result.diagnostics.errors:
            return False, ("an error",)
        return result.allowed, tuple(sorted(reason.replace("policy", "p") for reason in result.diagnostics.reasons))

    @staticmethod
    def _time(who: Who) -> dict[str, Any]:
        at = dt.datetime.fromtimestamp(who.now / 1_000_000, dt.UTC)
        return {"weekday": at.isoweekday(), "minute": at.hour * 60 + at.minute}

    def _before(self, who: Who) -> dict[str, Any]:
        address = {"address": {"__extn": {"fn": "ip", "arg": who.address}}} if who.address else {}
        return {**self._time(who), **address}

    @staticmethod
    def _of(message: Message) -> dict[str, Any]:
        sealed = message.segments == 0
        return {
            "sender": message.sender,
            "category": CATEGORIES[message.category],
            "country": message.country,
            "sealed": sealed,
            **({} if sealed else {"segments": message.segments}),
        }


@functools.cache
def _entities(spiffe_id: str, tenant: str) -> Entities:
    domain, slash, path = spiffe_id.removeprefix("spiffe://").partition("/")
    uid, owner = {"type": "Caller", "id": spiffe_id}, {"type": "Tenant", "id": tenant}
    parts = path.split("/")
    above = [f"spiffe://{domain}", *(f"spiffe://{domain}/{'/'.join(parts[:n])}" for n in range(1, len(parts) + 1))]
    attributes = {
        "tenant": {"__entity": owner}, "trust_domain": domain, "path": slash + path, "federated": domain == "e",
    }  # fmt: skip
    parents = [owner, *({"type": "Path", "id": prefix} for prefix in above)]
    message = {"tenant": {"__entity": owner}, "owner": {"__entity": uid}}
    found = [
        {"uid": uid, "attrs": attributes, "parents": parents},
        {"uid": {"type": "Message", "id": "new"}, "attrs": message, "parents": [owner]},
    ]
    return Entities.from_json_str(json.dumps(found), SCHEMA)


def seen(decision: Decision) -> Answer:
    """Return a decision as the oracle gives it."""
    if decision.errors:
        assert not decision.allowed
        return False, ("an error",)
    return decision.allowed, () if decision.policies == ("default-deny",) else tuple(sorted(decision.policies))


class World:
    """An authorizer, the oracles of its sets, and a batch under way."""

    def __init__(self, written: list[str], size: int) -> None:
        self.caches: list[DecisionCache[Decision]] = []
        self.judges = [self._judge(text, size) for text in written]
        self.oracles = [Oracle(text) for text in written]
        self.asked = Authorizer(self.judges[0])
        self.candidate = Oracle(written[-1])
        self.shadow = Shadow(Judge(policies(written[-1]), home=HOME, cache=DecisionCache(decisions=size)), 0)
        self.asked.watch(self.shadow)
        self.expected: Counter[tuple[str, str, str]] = Counter()
        self.oracle = self.oracles[0]
        self.begun: tuple[SendingRights, RoutingRights, Oracle, Who, Message] | None = None

    def _judge(self, text: str, size: int) -> Judge:
        self.caches.append(DecisionCache(decisions=size))
        return Judge(policies(text), home=HOME, cache=self.caches[-1])

    def same(self, action: str, decision: Decision, live: Answer, shadow: Answer) -> None:
        """Compare a decision with Cedar's, and count what the shadow has to find."""
        assert seen(decision) == live
        outcome = "allow" if live[0] else "deny"
        other = "error" if shadow[1] == ("an error",) else "allow" if shadow[0] else "deny"
        self.expected[action, outcome, other] += 1

    def step(self, kind: str, *given_: Any) -> None:
        """Do one step, and compare."""
        if kind == "use":
            at = given_[0] % len(self.judges)
            self.asked.use(self.judges[at])
            self.oracle = self.oracles[at]
        elif kind == "call":
            who, action = given_
            decision = self.asked.call(_caller(who), action, who.address, who.now)
            self.same(action, decision, self.oracle.call(who, action), self.candidate.call(who, action))
        elif kind == "send":
            who, message = given_
            self._sent(self._sending(who, message), self.oracle, who, message)
        elif kind == "route":
            who, message = given_
            self._routed(self._way(who, message), self.oracle, who, message)
        elif kind == "begin":
            who, message = given_
            self.begun = self._sending(who, message), self._way(who, message), self.oracle, who, message
        elif self.begun is not None:
            rights, way, oracle, who, first = self.begun
            message = given_[0]._replace(batch=first.batch, carrier=first.carrier)
            self._sent(rights, oracle, who, message)
            self._routed(way, oracle, who, message)

    def _sent(self, rights: SendingRights, oracle: Oracle, who: Who, message: Message) -> None:
        decision = rights.decide(message.category, message.sender, message.country, message.segments)
        self.same(ACTIONS[message.category], decision, oracle.send(who, message), self.candidate.send(who, message))

    def _routed(self, way: RoutingRights, oracle: Oracle, who: Who, message: Message) -> None:
        decision = way.decide(
            who.tenant, who.spiffe_id, message.sender, message.category, message.country, message.segments
        )  # fmt: skip
        self.same("UseRoute", decision, oracle.route(who, message), self.candidate.route(who, message))

    def _way(self, who: Who, message: Message) -> RoutingRights:
        return self.asked.routing(message.carrier, who.now, attempt=True)

    def _sending(self, who: Who, message: Message) -> SendingRights:
        return self.asked.sending(_caller(who), who.address, who.now, message.batch)


def _caller(who: Who) -> Any:
    return caller(tenant=who.tenant, spiffe_id=who.spiffe_id)


@settings(max_examples=80, deadline=None)
@given(st.lists(texts(), min_size=1, max_size=3), STEPS, st.sampled_from([0, 2, 8, 1000]))
def test_every_decision_is_cedars(written: list[str], steps: list[tuple[Any, ...]], size: int) -> None:
    """Whatever the sets, the requests, the changes of sets and the size of the cache: each decision, and the policies
    that it names, is what Cedar says to all of the question, by the set in force when it was begun. A candidate beside
    them is told of all of it, and finds what Cedar would have decided by it."""
    world = World(written, size)
    for kind, *given_ in steps * 2:
        world.step(kind, *given_)
    assert all(len(cache) <= 2 * size for cache in world.caches)
    while world.shadow.waiting:
        world.shadow.look(7)
        world.shadow.evaluate(3)
    world.shadow.evaluate(10_000)
    assert world.shadow.counts == world.expected
    assert (world.shadow.not_compared, world.shadow.unknown) == (0, 0)
