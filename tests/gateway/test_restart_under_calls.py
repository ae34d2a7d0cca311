"""A node is restarted under calls: what its callers meet is a refusal that says when to come back, or no connection.

The judges stand outside: bare gRPC callers that forgive nothing else (`tests.gateway.raw_callers`), the shipped client,
and the carrier's own log of what arrived.
"""

from __future__ import annotations

import json
from pathlib import Path

from tests.appliance import Appliance, CarrierSpec
from tests.gateway.test_kill import simulator
from tests.gateway.three_nodes import nodes, raw_callers
from tests.postgres.server import expendable


def test_no_call_fails(tmp_path: Path) -> None:
    """Unary calls, batches and streams go on over the restart of one node of two: each is served, or refused with
    RetryInfo, or finds no node; what was acknowledged arrives, once. The shipped client goes on as well."""
    server = expendable()
    with server.database() as database, server.database() as keys:
        appliance = Appliance.create(tmp_path / "site")
        with simulator(appliance) as (carrier, port):
            spec = CarrierSpec(port=port, ca_file=appliance.carrier_ca, window=100, rate=2000.0, binds=2)
            with nodes(appliance, server, (database, keys), carrier, spec, 2, linger="2s") as site:
                first, second = site.members
                with raw_callers(site, second.acknowledged) as raw, first.load(120.0, careful=True) as client:
                    site.wait_for(20, first)
                    site.wait_for(20, second)
                    first.end()
                    first.start()
                    site.wait_for(40, first)
                    assert client.end() == 0, client.log.read_text()[-2000:]
                    assert raw.end() == 0, raw.log.read_text()[-2000:]
                met, again = json.loads(raw.line()), client.line()
                print(met, again)
                site.once = True
                site.judge(site.drained())
    assert {"one", "batch", "stream", "stubborn"} <= met.keys()  # each was refused, and went on
    assert "SHUTTING_DOWN" in again
