"""From what was typed or written about a request to the `Question` that a node would ask."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass

from certs.errors import BadSpiffeId
from certs.spiffe_id import SpiffeId
from gateway.admins import NO_TENANT_NAME, PEER_NAME
from gateway.api.authorizing import call_actions
from gateway.api.sending import MAX_BATCH
from gateway.cli.policy_place import Place
from gateway.countries import UNKNOWN_COUNTRY, country_of
from gateway.destinations import is_e164
from gateway.policy.requests import (
    ADMIN_GROUPS,
    PEER_GROUPS,
    SEND_ACTIONS,
    USE_ROUTE,
    Calendar,
    Measure,
    Question,
    canonical_address,
)
from gateway.policy.vocabulary import all_actions
from gateway.senders import sender_fault
from gateway.states import Category

MAX_SEGMENTS = 255

Naming = Callable[[str], str]  # how a field is called where it was written: `to_country` is --to-country, say


def as_option(field: str) -> str:
    """Return the name of a field on a command line."""
    return "--" + field.replace("_", "-")


def as_key(field: str) -> str:
    """Return the name of a field in a file."""
    return field


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What was typed; texts are empty and numbers 0 where nothing was."""

    spiffe_id: str
    action: str
    tenant: str = ""
    sender: str = ""
    to: str = ""
    to_country: str = ""
    category: str = ""
    carrier: str = ""
    address: str = ""
    at: str = ""
    segments: int = 0
    sealed: bool = False
    batch: int = 0


_OF_MESSAGE = ("sender", "to", "to_country", "segments", "sealed")
_OF_ROUTE = ("carrier", "category")


def question_of(asked: Asked, place: Place, now: int, name: Naming = as_option) -> Question:
    """Return the question; `now`, in microseconds, counts where no time was typed. Raises ValueError."""
    return _Reader(asked, place, name).question(now)


class _Reader:
    """Reads one question; `name` is how its fields are called in messages."""

    def __init__(self, asked: Asked, place: Place, name: Naming) -> None:
        self._asked = asked
        self._place = place
        self._name = name

    def question(self, now: int) -> Question:
        """Return it. Raises ValueError."""
        asked, place = self._asked, self._place
        try:
            spiffe_id = str(SpiffeId.parse(asked.spiffe_id))
        except BadSpiffeId as error:
            raise ValueError(str(error)) from error
        action = _action(asked.action)
        moment = Calendar(place.zone).moment(self._time(asked.at) if asked.at else now)
        self._refuse_idle(action)
        group = all_actions(call_actions())[action]
        if group.startswith((ADMIN_GROUPS, PEER_GROUPS)):
            tenant = self._no_tenant(NO_TENANT_NAME if group.startswith(ADMIN_GROUPS) else PEER_NAME)
        else:
            tenant = asked.tenant or place.tenant_of(spiffe_id)
        question = Question(action, spiffe_id, tenant, weekday=moment.weekday, minute=moment.minute)
        if action in SEND_ACTIONS.values():
            category = next(number for number, name in SEND_ACTIONS.items() if name == action)
            question = self._about_message(question._replace(category=int(category)), asked.batch or 1)
        if action == USE_ROUTE:
            question = question._replace(category=self._category(), carrier=self._carrier())
            return self._about_message(question, 0)
        return question._replace(address=self._address() if asked.address else "")

    def _about_message(self, question: Question, batch: int) -> Question:
        return question._replace(sender=self._sender(), country=self._country(), measure=self._measure(batch))

    def _no_tenant(self, name: str) -> str:
        if self._asked.tenant:
            who = "who operates the node" if name == NO_TENANT_NAME else "another node"
            raise ValueError(f"{self._asked.action} is asked about {who}, and such belong to no tenant")
        return name

    def _refuse_idle(self, action: str) -> None:
        """Raise ValueError for what was typed and is no part of the question: nobody is to believe that it counted."""
        sends, route = action in SEND_ACTIONS.values(), action == USE_ROUTE
        idle = [*(() if sends or route else _OF_MESSAGE), *(("address",) if route else _OF_ROUTE)]
        idle += [] if sends else ["batch"]
        given = [self._name(field) for field in idle if getattr(self._asked, field)]
        if given:
            raise ValueError(f"{action} is not asked about with {', '.join(given)}")

    def _time(self, text: str) -> int:
        try:
            at = dt.datetime.fromisoformat(text)
        except ValueError:
            raise ValueError(f"{self._name('at')} wants a time as 2026-11-23T21:05; {text!a} is none") from None
        return int((at if at.tzinfo else at.replace(tzinfo=self._place.zone)).timestamp() * 1_000_000)

    def _sender(self) -> str:
        fault = sender_fault(self._asked.sender)
        if fault is not None:
            raise ValueError(f"{self._name('sender')} {fault.description}")
        return self._asked.sender

    def _country(self) -> str:
        number, country = self._asked.to, self._asked.to_country
        to, to_country = self._name("to"), self._name("to_country")
        if number and country:
            raise ValueError(f"say {to} or {to_country}: the country follows from the number")
        if number:
            if not is_e164(number):
                raise ValueError(f"{to} wants a number in E.164, as +4915112345678")
            return country_of(number)
        if not (len(country) == 2 and country.isascii() and country.isalpha()):
            raise ValueError(
                f"say where to: {to} a number, or {to_country} two letters ({UNKNOWN_COUNTRY} for unknown)"
            )
        return country.upper()

    def _measure(self, batch: int) -> Measure:
        segments, sealed = self._asked.segments, self._asked.sealed
        if sealed and segments:
            raise ValueError(
                f"say {self._name('segments')} or {self._name('sealed')}: what is sealed cannot be counted"
            )
        self._check_number("segments", segments or 1, MAX_SEGMENTS)
        self._check_number("batch", batch or 1, MAX_BATCH)
        return Measure(0 if sealed else segments or 1, sealed, batch)

    def _check_number(self, field: str, number: int, most: int) -> None:
        if not 1 <= number <= most:
            raise ValueError(f"{self._name(field)} is 1 to {most}, not {number}")

    def _category(self) -> int:
        names = [category.name for category in Category]
        if self._asked.category.upper() not in names:
            raise ValueError(f"say the message's category: {self._name('category')} {', '.join(names)}")
        return int(Category[self._asked.category.upper()])

    def _carrier(self) -> str:
        if not self._asked.carrier:
            raise ValueError(f"say which carrier: {self._name('carrier')}, by its name in the configuration")
        return self._asked.carrier

    def _address(self) -> str:
        text = self._asked.address
        try:
            return canonical_address(text)
        except ValueError:
            raise ValueError(f"{self._name('address')} wants an IP address; {text!a} is none") from None


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
