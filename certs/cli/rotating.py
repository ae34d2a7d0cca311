"""The part of `smsgw ca serve` that lets authorities change by schedule: its options, and what it says."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, Final

import click

from certs.ca import schedule as schedules
from certs.ca.authority import Authority
from certs.ca.schedule import Schedule
from certs.ca.token_keys import Token
from certs.cli.manners import DurationType, now, tell, warn
from certs.cli.places import prepare_options
from certs.errors import ProfileRefused

_LOOK: Final = dt.timedelta(hours=1)  # how often what people have to do is looked for though nothing changed
_AGAIN: Final = dt.timedelta(hours=24)  # how often it is said
_FAILED_AGAIN: Final = dt.timedelta(minutes=1)  # how often it is said what cannot be done


def schedule_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command `schedule`."""

    @prepare_options
    @click.option("--rotate-before", type=DurationType(), default="90d", show_default=True,
                  help="How long before the active intermediate's end the standby takes over: 1d to 300d.")  # fmt: skip
    @click.option("--revoke-spent", is_flag=True, help="Revoke intermediates that issue no more, once nothing of "
                  "them is valid: their keys are destroyed.")  # fmt: skip
    @wraps(command)
    def run(*, root_place: Path | Token | None, rotate_before: int, revoke_spent: bool, **others: Any) -> None:
        try:
            found = Schedule(
                takes_over_before=dt.timedelta(seconds=rotate_before), root_place=root_place, revoke_spent=revoke_spent
            )
        except ProfileRefused as refused:
            raise click.BadParameter(str(refused), param_hint="--rotate-before") from refused
        command(schedule=found, **others)

    return run


class Rotating:
    """Does what is due in turns, and says what happened, what cannot be done, and what people have to do."""

    def __init__(
        self, authority: Authority, schedule: Schedule, *, as_json: bool, clock: Callable[[], dt.datetime] = now
    ) -> None:
        self._authority, self._schedule, self._as_json, self._clock = authority, schedule, as_json, clock
        self._said: dict[str, dt.datetime] = {}
        self._looked: tuple[int, dt.datetime] | None = None

    def refresh(self) -> bool:
        """Do a turn; says whether something changed."""
        moment = self._clock()
        turn = schedules.turn(self._authority, self._schedule, moment)
        for what, record in turn.done:
            said = f"{what} by schedule: the {record.kind} {record.key_id}"
            event = "rotated" if what == "activated" else what
            tell(self._as_json, said, event=event, key_id=record.key_id)
        for refused in turn.failed:
            self._say(f"{refused} [{refused.reason.value}]", moment, _FAILED_AGAIN)
        self._look(moment)
        return bool(turn.done)

    def _look(self, moment: dt.datetime) -> None:
        """Say what people have to do, when something changed, and once an hour."""
        if self._looked is not None and self._looked[0] == self._authority.epoch and moment - self._looked[1] < _LOOK:
            return
        self._looked = self._authority.epoch, moment
        found = schedules.warnings(self._authority, self._schedule, moment)
        for said in found:
            self._say(said, moment, _AGAIN)
        self._said = {said: at for said, at in self._said.items() if said in found or moment - at < _FAILED_AGAIN}

    def _say(self, said: str, moment: dt.datetime, again: dt.timedelta) -> None:
        """Say something on standard error, unless it was said a short while ago."""
        before = self._said.get(said)
        if before is None or moment - before >= again:
            self._said[said] = moment
            warn(said)
