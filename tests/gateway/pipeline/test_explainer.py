"""What a node says about the way of a message that might be sent."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from carrier.contract import LinkListener, LinkState, Outcome, SubmitResult
from carrier.profile import CarrierProfile, Secret
from carrier.text.profile import DefaultAlphabet, TextProfile
from gateway.pipeline.berths import Berth
from gateway.pipeline.explainer import Asked, Explainer, lines
from gateway.pipeline.holds import Holds
from gateway.pipeline.router import Router, Routing
from gateway.pipeline.switches import CarrierSwitches
from gateway.routing.breaker import BreakerRules
from gateway.routing.hours import parse_hours
from gateway.routing.routes import Match, Route, Target
from gateway.states import Category
from gateway.store.operating import Selection
from tests.gateway.pipeline.fake_link import FakeLink
from tests.gateway.pipeline.rig import START
from tests.gateway.pipeline.test_permits import ALL, NOT_ACME
from tests.gateway.policy.sets import authorizer

ASKED = Asked(
    recipient="+4915112345678",
    category=int(Category.OTP),
    tenant="demo",
    owner="spiffe://example.org/demo/api",
    sender="ACME",
)
GERMANY = Route(
    name="germany",
    match=Match(countries=frozenset({"DE"})),
    targets=(Target(carrier="acme", sender="ACMEDE"), Target(carrier="other", priority=2)),
)


class _Nobody(LinkListener):
    """Listens to nothing."""


class Site:
    """Two carriers, each with a link, and who explains."""

    def __init__(self, *routes: Route, policy: str = ALL, running: bool = True) -> None:
        listener = _Nobody()  # type: ignore[abstract]  # nothing is told here
        self.acme, self.other = FakeLink(listener, carrier="acme"), FakeLink(listener, carrier="other")
        self.switches = CarrierSwitches()
        self.holds = Holds()
        rules = BreakerRules(failures=1, open_for=60_000_000)
        routing = Routing(
            routes, lambda message: "", carriers=("acme", "other"), breakers={"acme": rules, "other": rules}
        )
        self.router = Router(routing, self.switches)
        self.berth = Berth(self.acme)
        self.router.serve([self.berth, Berth(self.other)])
        plain = CarrierProfile(name="acme", host="h", port=1, system_id="s", password=Secret(b""))
        latin = CarrierProfile(
            name="other", host="h", port=1, system_id="s", password=Secret(b""),
            text=TextProfile(default_alphabet=DefaultAlphabet.LATIN1),
        )  # fmt: skip
        self.explainer = Explainer(
            router=self.router,
            authorizer=authorizer(policy),
            profiles=[plain, latin],
            holds=self.holds,
            running=running,
        )

    def answer(self, asked: Asked = ASKED) -> Any:
        """Return what is answered at the moment."""
        return self.explainer.answer(asked, START)

    def codes(self) -> list[list[str]]:
        """Return what stands against each target."""
        return [[hindrance["code"] for hindrance in target["hindrances"]] for target in self.answer()["targets"]]


def test_the_way_of_a_message() -> None:
    """The route and why, the carrier, the sender that it is told, and the policy that permits it."""
    answer = Site(GERMANY).answer()
    assert (answer["route"], answer["carrier"], answer["why"]) == ("germany", "acme", "the number is of DE")
    first, second = answer["targets"]
    assert (first["sender"], first["rewritten"], first["share"]) == ("ACMEDE", True, 1)
    assert (second["sender"], second["rewritten"], second["share"]) == ("ACME", False, 0)
    assert first["notes"][0] == "1 of 1 links up, room for 20 PDUs, breaker closed"
    assert "permitted" in first["notes"][1]


def test_what_stands_against_a_carrier() -> None:
    """Links, switches, breakers: each with its code, and the next carrier is the answer."""
    site = Site(GERMANY)
    site.acme.state = LinkState.BACKOFF
    assert site.codes() == [["NOT_BOUND"], []]
    assert site.answer()["carrier"] == "other"
    site.acme.state = LinkState.BOUND
    site.switches.close("acme")
    assert site.codes() == [["SWITCHED_OFF"], []]
    site.switches.open("acme")
    site.router.note(site.berth, [SubmitResult(None, 0, Outcome.ANSWERED, 0x08, "")], START)
    assert site.codes() == [["BREAKER_OPEN"], []]
    assert site.answer()["targets"][0]["hindrances"][0]["text"] == "it has failed too often: probes go in 60.0 s"
    site.other.state = LinkState.BACKOFF
    answer = site.answer()
    assert answer["carrier"] is None
    assert answer["why"].endswith("none of its carriers can take it at the moment: it waits")


def test_plain_text_is_shown() -> None:
    """A carrier that is reached without TLS is called so, to people and to machines; one with TLS is not."""
    site = Site(GERMANY)
    profile = CarrierProfile(name="acme", host="h", port=1, system_id="s", password=Secret(b""))
    site.explainer.use([replace(profile, tls=None), replace(profile, name="other")])
    answer = site.answer()
    assert [target["insecure"] for target in answer["targets"]] == [True, False]
    told = [line for line in lines(answer) if "plain text" in line]
    assert len(told) == 1
    assert "acme" in told[0]
    assert "in plain text (insecure: true)" in told[0]


def test_hours() -> None:
    """A target outside its hours says which they are, and on whose clock."""
    night = Target(carrier="acme", hours=(parse_hours("09:00-17:00"),), timezone="Asia/Tokyo")
    site = Site(Route(name="r", targets=(night, Target(carrier="other", priority=2))))
    (hindrance,) = site.answer()["targets"][0]["hindrances"]
    assert hindrance == {"code": "OUTSIDE_HOURS", "text": "it is outside 09:00-17:00 (Asia/Tokyo)"}


def test_policies() -> None:
    """A denied carrier says which policy denies it; when all are, the message would be rejected."""
    site = Site(GERMANY, policy=ALL + NOT_ACME)
    assert site.codes() == [["POLICY_DENIED"], []]
    assert "not-acme" in site.answer()["targets"][0]["hindrances"][0]["text"]
    nowhere = Site(GERMANY, policy='@id("never") forbid(principal, action, resource);\n').answer()
    assert nowhere["why"].endswith("such a message is rejected (POLICY_DENIED)")


def test_what_an_operator_holds_back() -> None:
    """A pause of such messages is told beside the way that they would go; one of other messages is not."""
    site = Site(GERMANY)
    site.holds.use([Selection(tenant="other"), Selection(tenant="demo", category=int(Category.PROMOTIONAL))])
    assert not site.answer()["held"]
    site.holds.use([Selection(tenant="demo")])
    answer = site.answer()
    assert (answer["held"], answer["carrier"]) == (True, "acme")
    assert "smsgw resume" in lines(answer)[-2]


def test_no_route() -> None:
    """A message that no route is for would be rejected, and the answer says so."""
    answer = Site(GERMANY).answer(replace(ASKED, recipient="+33612345678"))
    assert (answer["route"], answer["carrier"]) == (None, None)
    assert "NO_ROUTE" in answer["why"]


def test_segments_as_each_carrier_writes_them() -> None:
    """A text is counted by the profile of each target."""
    asked = replace(ASKED, text="Δ" * 100)
    first, second = Site(GERMANY).answer(asked)["targets"]
    assert first["content"] == {"encoding": "GSM7", "segments": 1}
    assert second["content"] == {"encoding": "UCS2", "segments": 2}


def test_without_a_running_node_links_do_not_count() -> None:
    """From the configuration alone, nothing is said of links, and the words say so."""
    site = Site(GERMANY, running=False)
    site.acme.state = LinkState.BACKOFF
    answer = site.answer()
    assert answer["carrier"] == "acme"
    assert "no node is running here" in lines(answer)[-1]


def test_in_words() -> None:
    """People read the carrier first, then each target with its share and what stands against it."""
    site = Site(GERMANY)
    site.acme.state = LinkState.BACKOFF
    told = lines(site.answer())
    assert told[0] == "other  the number is of DE"
    assert told[1] == "  route germany, weighted"
    assert "    0%  acme  (priority 1, weight 1, cost 0, as ACMEDE)" in told
    assert "        not now: none of its links is up  [NOT_BOUND]" in told
    assert "  100%  other  (priority 2, weight 1, cost 0)" in told
