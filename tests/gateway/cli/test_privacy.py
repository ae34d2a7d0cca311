"""`smsgw privacy erase` tells scripts how far it got."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

import pytest
from click.testing import CliRunner

from gateway.cli import privacy
from gateway.cli.main import main
from smsgw.v1 import privacy_service_pb2 as pb

_GONE = pb.RetiringKey(key_id="a", destroyed=True)
_WAITS = pb.RetiringKey(key_id="b", destroyed=False, why="1 message under it is on its way")


@pytest.mark.parametrize(
    ("answer", "more", "code"),
    [
        (pb.EraseRecipientResponse(messages=1, keys=[_GONE], backups_unreadable=True), ("--yes",), 0),
        (pb.EraseRecipientResponse(backups_unreadable=True), ("--yes",), 0),
        (pb.EraseRecipientResponse(messages=1, keys=[_GONE, _WAITS]), ("--yes",), 5),
        (pb.EraseRecipientResponse(messages=1, unfinished=1, keys=[_WAITS]), ("--yes",), 1),
        (pb.EraseRecipientResponse(messages=1, unfinished=1, keys=[_WAITS]), ("--dry-run",), 0),
    ],
)
def test_exit_codes(
    monkeypatch: pytest.MonkeyPatch, answer: pb.EraseRecipientResponse, more: tuple[str, ...], code: int
) -> None:
    """0 when no backup opens it any more, 5 while keys wait to be destroyed, 1 while messages are unfinished."""

    def run(work: Coroutine[Any, Any, pb.EraseRecipientResponse]) -> pb.EraseRecipientResponse:
        work.close()
        return answer

    monkeypatch.setattr(privacy, "run", run)
    monkeypatch.setattr(privacy, "operator_settings", lambda options: None)
    whom = ("--recipient", "+4915112345678", "--reason", "ticket 4711")
    for form in ((), ("--json",)):
        result = CliRunner().invoke(main, ["privacy", "erase", *whom, *more, *form])
        assert result.exit_code == code, result.output
