"""Load generators: how each is called for a row, and where its result contains which value.

`stompd bench` is known here; any other is described by a JSON file with the same fields as below:

  program      the program to run: a name in PATH, or a path
  rows         for each kind of row the first arguments. The kinds: fan distinct paced queue
               queue-ack rtt churn idle. Missing kinds are left out of the table, with a notice
  common       the next arguments, for all rows
  amount       arguments for a run of full length
  hardly       arguments used instead for a run with few messages. If the generator does not measure the
               broker's processor time, this run measures the cost of connecting and disconnecting
  pid          arguments that pass the process id of the broker
  results      the position of each result in the line of JSON that it prints, see RESULTS; "a.b * 1000"
               is b within a, times 1000
  results_of   other results, for a kind of row
  notes_of     additional values to show, for a kind of row

Arguments may contain {url} {pubs} {subs} {topics} {size} {rate} {ack} {prefetch} {secs} {warmup}
{warmup_messages} {pid} {conns} {cycles}.
"""

from __future__ import annotations

import json
import resource
import shlex
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# Times are in microseconds. `cpu` is the broker's, per delivery, within what was measured.
RESULTS = ("deliveries", "per_second", "cpu", "p50", "p99", "lost", "doubled", "unordered")

KNOWN: dict[str, dict[str, Any]] = {
    # The project's own. It does not warm up.
    "stompd": {
        "program": "stompd",
        "rows": {
            # At full speed publishers wait for the slowest subscriber; otherwise its treatment would be measured.
            "fan": "bench --lag 128",
            "paced": "bench --rate {rate}",
            "queue": "bench --queue --lag 1024",
            "queue-ack": "bench --queue --lag 1024 --ack {ack} --prefetch {prefetch}",
        },
        "common": "--json --url {url} --size {size}"
        " --publishers {pubs} --subscribers {subs} --destinations {topics}",
        "amount": "--duration {secs}s",
        "hardly": "--messages {pubs}",
        "results": {
            "deliveries": "delivered",
            "per_second": "delivered_per_second",
            "p50": "latency_ms.p50 * 1000",
            "p99": "latency_ms.p99 * 1000",
            "lost": "lost",
            "doubled": "duplicates",
            "unordered": "out_of_order",
        },
    },
}


class Unusable(Exception):
    """The generator is unknown, or its description is invalid."""


class Failed(Exception):
    """A run that has no result."""


@dataclass
class Outcome:
    """The generator's report of a run, and whether it succeeded."""

    results: dict[str, float | None]
    notes: dict[str, float | None]
    raw: dict[str, Any]
    complaint: str = ""


@dataclass
class Generator:
    program: str
    rows: dict[str, str]
    results: dict[str, str]
    common: str = ""
    amount: str = ""
    hardly: str = ""
    pid: str = ""
    results_of: dict[str, dict[str, str]] = field(default_factory=dict)
    notes_of: dict[str, dict[str, str]] = field(default_factory=dict)

    def run(self, kind: str, values: dict[str, object], more: list[str], hardly: bool = False) -> Outcome:
        """One run; with `hardly`, one with few messages."""
        parts = [self.rows[kind], self.common, self.hardly if hardly else self.amount]
        if values.get("pid") is not None:
            parts.append(self.pid)
        command = [self.program, *shlex.split(_fill(" ".join(parts), values)), *more]
        raw, complaint = _call(command, patience=180 + 3 * float(str(values["secs"])))
        where = {**self.results, **self.results_of.get(kind, {})}
        results = {name: _look_up(raw, where[name]) if name in where else None for name in RESULTS}
        notes = {name: _look_up(raw, path) for name, path in self.notes_of.get(kind, {}).items()}
        return Outcome(results, notes, raw, complaint)


def load(name: str, path: str | None) -> Generator:
    """A known generator, or one described by a JSON file; `path` is the path of its program."""
    description = KNOWN[name] if name in KNOWN else _read(name)
    try:
        generator = Generator(**description)
    except TypeError as error:
        raise Unusable(f"{name}: {error}") from None
    unknown = {key for of in [generator.results, *generator.results_of.values()] for key in of} - set(RESULTS)
    if unknown:
        raise Unusable(f"{name}: there is no result {', '.join(sorted(unknown))}; only {', '.join(RESULTS)}")
    for of in [generator.results, *generator.results_of.values(), *generator.notes_of.values()]:
        for place in of.values():
            _check(name, place)
    generator.program = _find(path or generator.program, given=path is not None)
    return generator


def raise_file_limit() -> None:
    """Raises the limit of open files, also for child processes."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _read(path: str) -> dict[str, Any]:
    try:
        description = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        known = " or ".join(KNOWN)
        raise Unusable(f"--generator {path}: {error.strerror}; write {known}, or a JSON file") from None
    except ValueError as error:
        raise Unusable(f"{path}: {error}") from None
    if not isinstance(description, dict):
        raise Unusable(f"{path} is not a JSON object")
    return description


def _find(program: str, given: bool) -> str:
    found = shutil.which(program)
    built = Path(__file__).resolve().parents[2] / "target/release" / program
    if not found and not given and built.is_file():
        found = str(built)
    if not found:
        hint = "" if given else ": not in PATH nor target/release; --generator-path says where it is"
        raise Unusable(f"the generator {program} is not found{hint}")
    return found


def _check(name: str, place: str) -> None:
    _, times, factor = place.partition("*")
    try:
        float(factor if times else 1)
    except ValueError:
        raise Unusable(f"{name}: {place} is no place of a result; write a.b or a.b * 1000") from None


def _fill(template: str, values: dict[str, object]) -> str:
    try:
        return template.format_map(values)
    except (KeyError, ValueError, IndexError) as error:
        raise Unusable(f"the generator's arguments name what there is not: {error} in {template}") from None


def _call(command: list[str], patience: float) -> tuple[dict[str, Any], str]:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=patience, check=False)
    except subprocess.TimeoutExpired:
        raise Failed(f"it did not end within {patience:.0f} s: {shlex.join(command)}") from None
    except OSError as error:
        raise Failed(f"{command[0]}: {error.strerror}") from None
    said = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
    try:
        raw = json.loads(done.stdout.strip().splitlines()[-1])
    except (IndexError, ValueError):
        raise Failed(f"it printed no result: {said}: {shlex.join(command)}") from None
    if not isinstance(raw, dict):
        raise Failed(f"its result is not a JSON object: {shlex.join(command)}")
    return raw, said if done.returncode else ""


def _look_up(raw: dict[str, Any], path: str) -> float | None:
    keys, _, factor = (part.strip() for part in path.partition("*"))
    value: Any = raw
    for key in keys.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return value * float(factor or 1) if number else None
