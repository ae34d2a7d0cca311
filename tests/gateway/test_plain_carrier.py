"""A carrier without TLS (`insecure: true`, on loopback) beside one with it: whoever looks is told which is which."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from carrier.simulator.script_file import parse_script
from carrier.simulator.simulator import Simulator
from tests.appliance import Appliance
from tests.gateway.operation import configure, operating, rewrite, simulators

TO = ("--to", "+4915112345678", "--category", "otp")
PLAIN = "plain text (insecure: true)"


async def test_a_carrier_in_plain_text_is_shown_as_such(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """By the log, by `smsgw status`, `carrier status` and `carrier explain`, to people and machines; nothing of it is
    said of the carrier with TLS."""
    appliance = Appliance.create(tmp_path / "site", operator=True)
    plain = Simulator(parse_script(""), plain=True)
    await plain.start()
    caplog.set_level(logging.WARNING)
    async with simulators(appliance, ("acme",)) as carriers:
        carriers["bare"] = plain
        configure(appliance, carriers)
        rewrite(appliance, lambda document: document["carriers"][1].pop("tls"))
        rewrite(appliance, lambda document: document["carriers"][1].update(insecure=True))
        async with operating(appliance, carriers) as operation:
            await operation.until(lambda: all(each.stats()["bound"] == 1 for each in carriers.values()))
            told = [record.__dict__["link"] for record in caplog.records if record.msg == "link_in_plain_text"]
            assert told == ["bare/0"]

            acme, bare = await operation.command("carrier", "status")
            assert [each["insecure"] for each in (acme, bare)] == [False, True]
            assert [each["binds"][0]["secured"] for each in (acme, bare)] == [True, False]
            shown = [line for line in (await operation.shown("carrier", "status")).splitlines() if "INSECURE" in line]
            assert ["bare" in line for line in shown] == [True]

            (status,) = await operation.command("status")
            assert [PLAIN in link["why"] for link in status["links"]] == [False, True]

            (answer,) = await operation.command("carrier", "explain", *TO)
            assert {each["carrier"]: each["insecure"] for each in answer["targets"]} == {"acme": False, "bare": True}
            shown = [line for line in (await operation.shown("carrier", "explain", *TO)).splitlines() if PLAIN in line]
            assert ["bare" in line for line in shown] == [True]
    await plain.stop()
