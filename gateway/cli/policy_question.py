"""The question of `smsgw policy explain`: from what was typed to a `Question`, and from its decision to words."""

from __future__ import annotations

import datetime as dt
import zoneinfo
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from certs.errors import BadSpiffeId
from certs.spiffe_id import SpiffeId
from gateway.admins import NO_TENANT_NAME
from gateway.api.authorizing import call_actions
from gateway.cli.manners import Misused
from gateway.config.errors import ConfigError
from gateway.config.loader import load
from gateway.config.schema import Settings
from gateway.countries import UNKNOWN_COUNTRY, country_of
from gateway.destinations import is_e164
from gateway.policy.engine import Decision, Engine, Reason
from gateway.policy.lint import is_about
from gateway.policy.loader import Policies, Policy
from gateway.policy.requests import ADMIN_GROUPS, SEND_ACTIONS, USE_ROUTE, Calendar, Question, canonical_address
from gateway.policy.vocabulary import all_actions
from gateway.senders import sender_fault
from gateway.states import Category
from gateway.tenants import TenantEntry, Tenants

_DEFAULT_DIR = Path("policy")
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the policies are, and what the configuration says around them, if there is one."""

    folder: Path
    settings: Settings | None

    @property
    def zone_name(self) -> str:
        """The time zone in which policies are told the time."""
        return self.settings.policy.timezone if self.settings else "UTC"

    @property
    def zone(self) -> dt.tzinfo:
        """The same as a zone."""
        return dt.UTC if self.zone_name == "UTC" else zoneinfo.ZoneInfo(self.zone_name)

    def tenant_of(self, spiffe_id: str) -> str:
        """Return the tenant of a SPIFFE ID. Raises ValueError when it has none here."""
        if self.settings is None:
            raise ValueError("say which tenant the caller belongs to (--tenant), since there is no configuration")
        entries = [TenantEntry(name=entry.name, spiffe_ids=entry.spiffe_ids) for entry in self.settings.tenants]
        found = Tenants(entries).tenant_of(SpiffeId.parse(spiffe_id))
        if found is None:
            raise ValueError(f"{spiffe_id} belongs to no tenant of {self.settings.file}: every call of it is refused")
        return found


def find_place(config: Path, folder: Path | None) -> Place:
    """Return the place that a command is about: the configuration's, or `folder`. Raises Misused."""
    if folder is not None and not config.is_file():
        return Place(folder=folder, settings=None)
    if folder is None and not config.exists() and _DEFAULT_DIR.is_dir():
        return Place(folder=_DEFAULT_DIR, settings=None)
    try:
        settings = load(config)
    except ConfigError as error:
        raise Misused(str(error), reason="BAD_CONFIGURATION") from error
    return Place(folder=folder or settings.policy.dir, settings=settings)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What was typed; texts are empty where nothing was."""

    spiffe_id: str
    action: str
    tenant: str
    sender: str = ""
    recipient: str = ""
    country: str = ""
    category: str = ""
    carrier: str = ""
    address: str = ""
    at: str = ""


def question_of(asked: Asked, place: Place, now: int) -> Question:
    """Return the question; `now`, in microseconds, counts where no time was typed. Raises ValueError."""
    try:
        spiffe_id = str(SpiffeId.parse(asked.spiffe_id))
    except BadSpiffeId as error:
        raise ValueError(str(error)) from error
    action = _action(asked.action)
    moment = Calendar(place.zone).moment(_time(asked.at, place.zone) if asked.at else now)
    _refuse_idle(asked, action)
    admin = all_actions(call_actions())[action].startswith(ADMIN_GROUPS)
    tenant = _no_tenant(asked) if admin else asked.tenant or place.tenant_of(spiffe_id)
    question = Question(action, spiffe_id, tenant, weekday=moment.weekday, minute=moment.minute)
    if action in SEND_ACTIONS.values():
        category = next(number for number, name in SEND_ACTIONS.items() if name == action)
        question = question._replace(category=int(category), sender=_sender(asked), country=_country(asked))
    if action == USE_ROUTE:
        question = question._replace(
            category=_category(asked), sender=_sender(asked), country=_country(asked), carrier=_carrier(asked)
        )
    elif asked.address:
        question = question._replace(address=_address(asked.address))
    return question


def _no_tenant(asked: Asked) -> str:
    if asked.tenant:
        raise ValueError(f"{asked.action} is asked about who operates the node, and such belong to no tenant")
    return NO_TENANT_NAME


def _refuse_idle(asked: Asked, action: str) -> None:
    """Raise ValueError for what was typed and is not part of the question; nobody should believe that it counted."""
    sends = action in SEND_ACTIONS.values()
    of_message = {"--sender": asked.sender, "--to": asked.recipient, "--to-country": asked.country}
    of_route = {"--carrier": asked.carrier, "--category": asked.category}
    idle = {} if sends or action == USE_ROUTE else dict(of_message)
    idle |= {"--address": asked.address} if action == USE_ROUTE else of_route
    given = [option for option, text in idle.items() if text]
    if given:
        raise ValueError(f"{action} is not asked about with {', '.join(given)}")


def _action(text: str) -> str:
    """Return an action by its name, or by the method alone where only one service has it."""
    known = all_actions(call_actions())
    if text in known:
        return text
    found = [action for action in known if action.rpartition(".")[2].lower() == text.lower()]
    if len(found) != 1:
        what = f"{text!a} may be {' or '.join(found)}" if found else f"there is no action {text!a}"
        raise ValueError(f"{what}; actions are {', '.join(known)}")
    return found[0]


def _time(text: str, zone: dt.tzinfo) -> int:
    try:
        at = dt.datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"--at wants a time as 2026-11-23T21:05; {text!a} is none") from None
    return int((at if at.tzinfo else at.replace(tzinfo=zone)).timestamp() * 1_000_000)


def _sender(asked: Asked) -> str:
    fault = sender_fault(asked.sender)
    if fault is not None:
        raise ValueError(f"--sender {fault.description}")
    return asked.sender


def _country(asked: Asked) -> str:
    if asked.recipient and asked.country:
        raise ValueError("say --to or --to-country: the country follows from the number")
    if asked.recipient:
        if not is_e164(asked.recipient):
            raise ValueError("--to wants a number in E.164, as +4915112345678")
        return country_of(asked.recipient)
    if not (len(asked.country) == 2 and asked.country.isascii() and asked.country.isalpha()):
        raise ValueError(f"say where to: --to a number, or --to-country two letters ({UNKNOWN_COUNTRY} for unknown)")
    return asked.country.upper()


def _category(asked: Asked) -> int:
    if not asked.category:
        raise ValueError(f"say the message's category: --category {', '.join(category.name for category in Category)}")
    return int(Category[asked.category.upper()])


def _carrier(asked: Asked) -> str:
    if not asked.carrier:
        raise ValueError("say which carrier: --carrier, by its name in the configuration")
    return asked.carrier


def _address(text: str) -> str:
    try:
        return canonical_address(text)
    except ValueError:
        raise ValueError(f"--address wants an IP address; {text!a} is none") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A decision, with the policies behind it, and with those that could have permitted it under other conditions."""

    question: Question
    decision: Decision
    deciding: tuple[Policy, ...]
    unmet: tuple[Policy, ...]

    def fields(self) -> dict[str, object]:
        """Return the answer for machines."""
        inputs = {
            key: value for key, value in self.question._asdict().items() if value not in ("", 0) or key == "minute"
        }
        return {
            "allowed": self.decision.allowed,
            "reason": self.decision.reason.value,
            "why": self.decision.text(self.question.action),
            "policies": [_policy_fields(policy) for policy in self.deciding],
            "unmet_permits": [_policy_fields(policy) for policy in self.unmet],
            "errors": list(self.decision.errors),
            "question": inputs,
        }

    def lines(self, zone: str) -> Iterator[str]:
        """Yield the answer for people."""
        question = self.question
        yield f"{'ALLOW' if self.decision.allowed else 'DENY '}  {self.decision.text(question.action)}"
        for policy in self.deciding:
            yield f"  {policy.effect} {policy.id}  {policy.file}:{policy.line}  {policy.description}".rstrip()
        for error in self.decision.errors:
            yield f"  error: {error}"
        for policy in self.unmet:
            yield f"  not met: {policy.id}  {policy.file}:{policy.line}  {policy.description}".rstrip()
        yield f"  asked by {question.spiffe_id}, {f'tenant {question.tenant}' if question.tenant else 'an operator'}"
        time = f"{question.minute // 60:02}:{question.minute % 60:02}"
        yield f"  {''.join(_details(question))}{_DAYS[question.weekday - 1]} {time} ({zone})"


def _details(question: Question) -> Iterator[str]:
    if question.category:
        yield f"{Category(question.category).name} from {question.sender} to {question.country}, "
    if question.carrier:
        yield f"by {question.carrier}, "
    if question.action != USE_ROUTE:
        yield f"client {question.address or 'not known'}, "


def _policy_fields(policy: Policy) -> Mapping[str, object]:
    return {
        "id": policy.id,
        "effect": policy.effect,
        "file": str(policy.file),
        "line": policy.line,
        "description": policy.description,
    }


def answer(policies: Policies, question: Question) -> Answer:
    """Return the decision of the engine, as a node would make it, with the policies behind it."""
    decision = Engine(policies).decide(question)
    by_id = {policy.id: policy for policy in policies.policies}
    group = all_actions(call_actions())[question.action]
    unmet = []
    if decision.reason is Reason.NOT_PERMITTED:
        unmet = [policy for policy in policies.policies if policy.effect == "permit"]
    return Answer(
        question=question,
        decision=decision,
        deciding=tuple(by_id[name] for name in decision.policies if name in by_id),
        unmet=tuple(policy for policy in unmet if is_about(policy, question.action, group)),
    )
