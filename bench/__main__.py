"""`python -m bench` (`make bench`): for each mode a new node, a sink, a collector, load generators, one result.

Each mode is measured twice: with all of it on, and against a node without policies, limits, sealing, traces and audit
(`bench.bare`, a build of the benchmark's own). What those cost is the difference. Then ours and Kannel are measured by
turns, one call a message, where Kannel is installed (`--rounds 0` leaves that out; `--only-compare` does nothing else).

SINK=host:port[,ca_file] measures against a foreign sink. Everything runs on this machine, so CPU for each message is
the figure to compare; messages/s also says what the generators and the sink left over.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import asdict

from bench import comparison, kannel, plot, results, traffic
from bench.comparison import Side
from bench.results import Result
from bench.running import MODES, Mode, run_mode
from tests.appliance import ProcessFailed

_BACKLOG = 10_000
_BUILDS = {"both": (False, True), "all": (False,), "bare": (True,)}  # which of them are bare


def main() -> int:
    """Run the command line."""
    options = _parser().parse_args()
    results.FOLDER.mkdir(exist_ok=True)
    try:
        done = [] if options.only_compare else _modes(options)
        rounds = _compare(options)
    except (ProcessFailed, ValueError) as error:
        print(f"bench: failed: {error}", file=sys.stderr)
        return 1
    sides = comparison.medians(rounds)
    path = results.write(done, rounds, {"sink": os.environ.get("SINK", "own"), "profiled": options.profile})
    _tell(options, done, sides)
    print(f"kept in bench/results/{path.name}", file=sys.stderr)
    if sides:
        picture = path.with_suffix(".svg")
        picture.write_text(plot.svg(sides, f"One call a message, {sides[0].messages:,} messages, same carrier sink"))
        print(f"drawn in bench/results/{picture.name}", file=sys.stderr)
    return 0


def _modes(options: argparse.Namespace) -> list[Result]:
    """Measure our modes. Raises ProcessFailed or ValueError, with the name of the mode."""
    done: list[Result] = []
    for name in options.mode or MODES:
        mode = MODES[name]
        if options.messages is not None:
            mode = Mode(**{**asdict(mode), "messages": options.messages})
        for bare in _BUILDS[options.build if options.engine == "sqlite" else "all"]:
            label = results.label(name, bare)
            print(f"bench: {label}, {mode.messages:,} messages", file=sys.stderr, flush=True)
            try:
                profile, postgres = options.profile, options.engine == "postgres"
                done.append(run_mode(name, mode, options.backlog, profile=profile, bare=bare, postgres=postgres))
            except (ProcessFailed, ValueError) as error:
                raise ProcessFailed(f"{label}: {error}") from error
    return done


def _compare(options: argparse.Namespace) -> list[list[Side]]:
    """Measure ours and Kannel by turns. Raises ProcessFailed or ValueError."""
    if not options.rounds or (options.mode and not options.only_compare) or os.environ.get("SINK"):
        return []
    try:
        kannel.programs()
    except ProcessFailed as error:
        if options.only_compare:
            raise
        print(f"bench: no comparison with Kannel: {error}", file=sys.stderr)
        return []
    stores = options.store or [kannel.Store.FILE]
    messages = options.messages or comparison.UNARY.messages
    rounds = []
    for number in range(options.rounds):
        print(f"bench: ours and Kannel by turns, {messages:,} messages each, round {number + 1}", file=sys.stderr)
        rounds.append(comparison.round_of(stores, messages, options.backlog))
    return rounds


def _tell(options: argparse.Namespace, done: list[Result], sides: list[Side]) -> None:
    if options.json:
        modes, compared = [asdict(result) for result in done], [asdict(side) for side in sides]
        print(json.dumps({"modes": modes, "comparison": compared}))
        return
    if done:
        print("\n" + results.table(done))
        configurations = ", ".join(dict.fromkeys(result.configuration for result in done))
        print(f"configuration {configurations}", file=sys.stderr)
    if sides:
        print(f"\nBy turns, medians of {options.rounds} rounds:\n" + comparison.table(sides))


def _messages(text: str) -> int:
    if not text.isdigit() or not 100 <= int(text) <= traffic.MOST_MESSAGES // 2:
        raise argparse.ArgumentTypeError(f"100 to {traffic.MOST_MESSAGES // 2}")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make bench ARGS=...", description=__doc__)
    parser.add_argument("--mode", choices=MODES, action="append", help="only this one; may be repeated")
    parser.add_argument("--messages", type=_messages, help="messages a mode (default: " + _defaults() + ")")
    parser.add_argument(
        "--backlog",
        type=int,
        default=_BACKLOG,
        help=f"messages under way between call and receipt at most (default {_BACKLOG:,}); what is above the node's "
        "pipeline.memory_messages waits in its database",
    )
    parser.add_argument(
        "--build",
        choices=_BUILDS,
        default="both",
        help="the node with all of it, that without policies, limits, sealing, traces and audit, or both (default)",
    )
    parser.add_argument(
        "--engine", choices=["sqlite", "postgres"], default="sqlite",
        help="what keeps the node's messages; on postgres, whose server the run brings, the node has all of it on",
    )  # fmt: skip
    parser.add_argument("--profile", action="store_true", help="sample the node with py-spy: where the time goes")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of the comparison with Kannel (default 3)")
    parser.add_argument("--only-compare", action="store_true", help="nothing but the comparison with Kannel")
    parser.add_argument(
        "--store", type=kannel.Store, choices=list(kannel.Store), action="append",
        help="Kannel's message store; may be repeated (default file)",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print the results as JSON instead of tables")
    return parser


def _defaults() -> str:
    return ", ".join(f"{name} {mode.messages:,}" for name, mode in MODES.items())


if __name__ == "__main__":
    sys.exit(main())
