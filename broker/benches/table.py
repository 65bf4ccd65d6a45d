#!/usr/bin/env python3
"""Compares STOMP brokers under load, row by row and alternately, and prints a table in Markdown.

    table.py --server stompd=ws://127.0.0.1:15674/ws --server other=ws://127.0.0.1:15675/ws --rows "fan rtt"

The other servers are compared with the first one. Each run of a row is made with all servers, one after the
other, before the next run begins, so that other load of the machine affects all of them. Figures are medians
of the runs; ratios (×) are those of the medians. Ratios vary much less than figures.

Processor time is the broker's per delivery. If the generator measures it, its figure counts; otherwise it is
that of the whole run, minus that of a run that connects as many clients but sends few messages.

The load comes from `stompd bench`, or from any other generator: see generator.py.
"""

from __future__ import annotations

import argparse
import json
import shlex
import statistics
import sys
from pathlib import Path
from typing import TextIO

import generator as generators
import process
import rows as all_rows
import server as servers
from generator import Failed, Generator, Outcome
from rows import Row
from server import Server

FAULTS = "lost / doubled / out of order"
HEAD = f"row|server|CPU µs per delivery|×|deliveries/s|p50 µs|p99 µs|× p99|{FAULTS}|more"

Run = dict  # of RESULTS, with "notes"; of one run


def main() -> int:
    arguments = _arguments()
    try:
        chosen = all_rows.parse(arguments.rows)
        compared = servers.parse_all(arguments.server)
        generator = generators.load(arguments.generator, arguments.generator_path)
        more = _arguments_of(arguments.args, compared)
        out = open(arguments.json, "a", encoding="utf-8") if arguments.json else None
    except (ValueError, OSError, servers.Unusable, generators.Unusable) as error:
        print(f"table.py: {error}", file=sys.stderr)
        return 2
    generators.raise_file_limit()
    table = Table(arguments, generator, compared, more, out)
    try:
        return table.print_all(_possible(chosen, generator))
    except (process.Gone, generators.Unusable) as error:
        print(f"table.py: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("table.py: interrupted", file=sys.stderr)
    finally:
        if out:
            out.close()
    return 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=all_rows.GRAMMAR, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    servers.add_argument(parser)
    parser.add_argument("--rows", default="all", help='rows and groups, such as "fan100x128 rtt" (all)')
    parser.add_argument("--runs", type=int, default=3, help="how often each row is measured (3)")
    parser.add_argument("--secs", type=float, default=4.0, help="how long one run measures (4)")
    parser.add_argument("--warmup", type=float, default=1.5, help="seconds before that, if it can (1.5)")
    parser.add_argument("--conns", type=int, default=10_000, help="connections of row idle (10000)")
    parser.add_argument("--cycles", type=int, default=5_000, help="connections of row churn (5000)")
    parser.add_argument("--generator", default="stompd", help="stompd, or a JSON file that describes another (stompd)")
    parser.add_argument("--generator-path", metavar="FILE", help="path of its program, if not in PATH")
    parser.add_argument(
        "--args",
        metavar="NAME=ARGS",
        action="append",
        default=[],
        help="more arguments for the generator with one server, or with `all`: rabbit='--login guest'",
    )
    parser.add_argument("--json", metavar="FILE", help="append each run to this file, with the complete output")
    return parser.parse_args()


def _arguments_of(texts: list[str], compared: list[Server]) -> dict[str, list[str]]:
    more: dict[str, list[str]] = {server.name: [] for server in compared}
    for text in texts:
        name, equals, arguments = text.partition("=")
        if not equals or name not in [*more, "all"]:
            raise ValueError(f"--args {text}: write NAME=ARGS with the name of a server, or all")
        for one in more if name == "all" else [name]:
            more[one] += shlex.split(arguments)
    return more


def _possible(chosen: list[Row], generator: Generator) -> list[Row]:
    """Reports rows that are left out."""
    missing = [row.name for row in chosen if row.kind not in generator.rows]
    if missing:
        program = Path(generator.program).name
        print(f"left out, since {program} has no way to make them: {' '.join(missing)}", file=sys.stderr)
    return [row for row in chosen if row.kind in generator.rows]


class Table:
    """Measures and prints; each row is printed when all its runs are done."""

    def __init__(
        self,
        arguments: argparse.Namespace,
        generator: Generator,
        compared: list[Server],
        more: dict[str, list[str]],
        out: TextIO | None,
    ) -> None:
        self.arguments = arguments
        self.generator = generator
        self.servers = compared
        self.more = more
        self.out = out

    def print_all(self, chosen: list[Row]) -> int:
        print(_line(HEAD.split("|")), _line(["---"] * len(HEAD.split("|"))), sep="\n", flush=True)
        clean = True
        for row in chosen:
            runs = self._runs(row)
            reference = runs[self.servers[0].name]
            for server in self.servers:
                print(_line([row.name, server.name, *_cells(runs[server.name], reference)]), flush=True)
                clean = clean and len(runs[server.name]) == self.arguments.runs
                clean = clean and not any(run["complaint"] for run in runs[server.name])
        return 0 if clean else 1

    def _runs(self, row: Row) -> dict[str, list[Run]]:
        runs: dict[str, list[Run]] = {server.name: [] for server in self.servers}
        for number in range(self.arguments.runs):
            # No server always comes first.
            first = number % len(self.servers)
            for server in self.servers[first:] + self.servers[:first]:
                try:
                    run = self._run(row, server)
                except Failed as failure:
                    print(f"{row.name} {server.name}: {failure}", file=sys.stderr)
                    continue
                if run["complaint"]:
                    print(f"{row.name} {server.name}: {run['complaint']}", file=sys.stderr)
                runs[server.name].append(run)
                self._write(row, server, number, run)
        return runs

    def _run(self, row: Row, server: Server) -> Run:
        self._settle()
        outcome, cpu = self._measure(row, server)
        results = outcome.results
        if results["cpu"] is None and cpu is not None and self.generator.hardly and results["deliveries"]:
            self._settle()
            hardly, connecting = self._measure(row, server, hardly=True)
            deliveries = results["deliveries"] - (hardly.results["deliveries"] or 0)
            results["cpu"] = max(cpu - (connecting or 0.0), 0.0) * 1e6 / max(deliveries, 1)
        elif results["cpu"] is None and cpu is not None and results["deliveries"]:
            results["cpu"] = cpu * 1e6 / results["deliveries"]
        return {**results, "notes": outcome.notes, "complaint": outcome.complaint, "raw": outcome.raw}

    def _settle(self) -> None:
        """Work left over from the previous run must not count here."""
        for server in self.servers:
            process.settle(server.pid)

    def _measure(self, row: Row, server: Server, hardly: bool = False) -> tuple[Outcome, float | None]:
        """A run, and the processor time of the broker from its start until the broker is idle."""
        arguments = self.arguments
        values = {
            **vars(row),
            "url": server.url,
            "pid": server.pid,
            "secs": arguments.secs,
            "warmup": arguments.warmup,
            "warmup_messages": max(int(row.rate * arguments.warmup), 1),
            "conns": arguments.conns,
            "cycles": arguments.cycles,
        }
        before = process.cpu_seconds(server.pid) if server.pid else None
        outcome = self.generator.run(row.kind, values, self.more[server.name], hardly)
        if before is None or not server.pid:
            return outcome, None
        process.settle(server.pid)
        return outcome, process.cpu_seconds(server.pid) - before

    def _write(self, row: Row, server: Server, number: int, run: Run) -> None:
        if self.out:
            line = {"row": row.name, "server": server.name, "run": number + 1, **run}
            self.out.write(json.dumps(line) + "\n")
            self.out.flush()


def _cells(runs: list[Run], reference: list[Run]) -> list[str]:
    if not runs:
        return ["failed", *["–"] * 7]
    counts = [_sum(runs, name) for name in ("lost", "doubled", "unordered")]
    return [
        _spread(_all(runs, "cpu")),
        _ratio(_all(runs, "cpu"), _all(reference, "cpu")),
        _number(_median(_all(runs, "per_second"))),
        _number(_median(_all(runs, "p50"))),
        _number(_median(_all(runs, "p99"))),
        _ratio(_all(runs, "p99"), _all(reference, "p99")),
        " / ".join(counts),
        _notes(runs),
    ]


def _notes(runs: list[Run]) -> str:
    notes = []
    for name in runs[0]["notes"]:
        values = [run["notes"][name] for run in runs if run["notes"][name] is not None]
        if values:
            notes.append(f"{_number(_median(values))} {name}")
    return ", ".join(notes)


def _all(runs: list[Run], name: str) -> list[float]:
    return [run[name] for run in runs if run[name] is not None]


def _sum(runs: list[Run], name: str) -> str:
    values = _all(runs, name)
    return f"{sum(values):,.0f}" if values else "–"


def _median(values: list[float]) -> float | None:
    return statistics.median(values) if values else None


def _ratio(values: list[float], reference: list[float]) -> str:
    of, to = _median(values), _median(reference)
    return f"{of / to:.2f}" if of is not None and to else "–"


def _spread(values: list[float]) -> str:
    if len(values) < 2:
        return _number(_median(values))
    return f"{_number(_median(values))} [{_number(min(values))}–{_number(max(values))}]"


def _number(value: float | None) -> str:
    """Rounds to three digits, the precision of a measurement."""
    if value is None:
        return "–"
    digits = 0 if value >= 100 else 1 if value >= 10 else 2 if value >= 1 else 3
    return f"{value:,.{digits}f}"


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.exit(main())
