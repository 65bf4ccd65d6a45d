#!/usr/bin/env python3
"""Measures what a publish costs as a broker gets more destinations or wildcard subscriptions.

    growth.py destinations --server stompd=ws://127.0.0.1:15674/ws
    growth.py wildcards --server floor=ws://127.0.0.1:15999/ws --server stompd=ws://127.0.0.1:15674/ws
    growth.py fresh --server stompd=tcp://127.0.0.1:61613

destinations  N subscriptions to N topics; one publisher sends to them in turn. From 2 on each message has a
              different topic than the previous one, so the broker cannot deliver them as a batch: compare
              100,000 with 2, not with 1.
wildcards     one subscription that receives all, and N to patterns that match nothing; one topic.
fresh         the same, but each message is for a new topic, which one more pattern matches. Caching the
              receivers of a topic does not help a broker here. Only for brokers with wildcards.

Each message has exactly one subscriber. At most 1 MiB is in flight at a time, so no client counts as slow. The
result is the broker's processor time, so it does not matter that this is Python; the rate says nothing about
the broker. One connection has up to --per-connection subscriptions: raise the limit of the broker (stompd:
`limits.subscriptions`) above that, or lower it; the more connections receive, the more the broker writes.
"""

from __future__ import annotations

import argparse
import itertools
import selectors
import statistics
import sys
import time
from collections.abc import Iterator

import process
import server as servers
import wire
from server import Server
from wire import Wire

COUNTS = {"destinations": [1, 2, 1_000, 100_000], "wildcards": [1, 100, 10_000], "fresh": [1, 100, 10_000]}
PATTERNS = "wildcard subscriptions"
HEADS = {"destinations": "destinations", "wildcards": PATTERNS, "fresh": PATTERNS}

ON_THE_WAY = 1 << 20
BLOCK = 64 << 10
READ = 1 << 18
# Starts each delivery and occurs nowhere else: the bodies do not contain it.
MESSAGE = b"MESSAGE\n"
PATIENCE = 10.0
LONGEST = 40

Block = tuple  # of bytes to be sent, and how many messages they are


class Failed(Exception):
    """A measurement that has no result."""


def main() -> int:
    arguments = _arguments()
    try:
        compared = servers.parse_all(arguments.server)
        if any(server.pid is None for server in compared):
            raise servers.Unusable("without the process of each server there is nothing to measure")
        return _print_all(arguments, compared)
    except servers.Unusable as error:
        print(f"growth.py: {error}", file=sys.stderr)
        return 2
    except process.Gone as error:
        print(f"growth.py: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("growth.py: interrupted", file=sys.stderr)
    return 1


def _arguments() -> argparse.Namespace:
    style = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=style)
    parser.add_argument("what", choices=COUNTS)
    servers.add_argument(parser)
    parser.add_argument("--counts", help="numbers to measure, such as 1,1000 (destinations: 1,2,1000,100000)")
    parser.add_argument("--runs", type=int, default=3, help="how often each count is measured (3)")
    parser.add_argument("--secs", type=float, default=4.0, help="how long one run measures (4)")
    parser.add_argument("--warmup", type=float, default=1.0, help="seconds before (1)")
    parser.add_argument("--size", type=int, default=128, help="bytes of a body (128)")
    parser.add_argument("--per-connection", type=int, default=200_000, help="subscriptions per connection (200000)")
    parser.add_argument("--login")
    parser.add_argument("--passcode")
    arguments = parser.parse_args()
    if arguments.secs + arguments.warmup > LONGEST:
        parser.error(f"at most {LONGEST} seconds: the connections do not answer Pings")
    try:
        counts = [int(count) for count in arguments.counts.split(",")] if arguments.counts else None
    except ValueError:
        parser.error("--counts are numbers with commas between them")
    arguments.counts = counts or COUNTS[arguments.what]
    return arguments


def _print_all(arguments: argparse.Namespace, compared: list[Server]) -> int:
    reference = compared[0].name
    first = arguments.counts[0]
    ratios = f"× {first:,} | × {reference}"
    print(f"| {HEADS[arguments.what]} | server | CPU µs per publish | {ratios} | publishes/s |")
    print("| --- | --- | --- | --- | --- | --- |", flush=True)
    clean = True
    bases: dict[str, float] = {}
    for count in arguments.counts:
        runs = _runs(arguments, compared, count)
        clean = clean and all(len(of) == arguments.runs for of in runs.values())
        for server in compared:
            costs = [cost for cost, _ in runs[server.name]]
            if not costs:
                print(f"| {count:,} | {server.name} | failed | – | – | – |", flush=True)
                continue
            cost = statistics.median(costs)
            if count == first:
                bases[server.name] = cost
            floor = statistics.median([cost for cost, _ in runs[reference]] or [0.0])
            rate = statistics.median(rate for _, rate in runs[server.name])
            cells = [f"{count:,}", server.name, f"{cost:.3f} [{min(costs):.3f}–{max(costs):.3f}]"]
            cells += [_ratio(cost, bases.get(server.name, 0.0)), _ratio(cost, floor), f"{rate:,.0f}"]
            print(f"| {' | '.join(cells)} |", flush=True)
    return 0 if clean else 1


def _ratio(cost: float, base: float) -> str:
    return f"{cost / base:.2f}" if base > 0 else "–"


def _runs(
    arguments: argparse.Namespace, compared: list[Server], count: int
) -> dict[str, list[tuple[float, float]]]:
    """Microseconds per publish, and publishes per second, of each run."""
    runs: dict[str, list[tuple[float, float]]] = {server.name: [] for server in compared}
    for number in range(arguments.runs):
        # No server always comes first.
        first = number % len(compared)
        for server in compared[first:] + compared[:first]:
            process.settle(server.pid)
            try:
                runs[server.name].append(_run(arguments, server, count, number))
            except (Failed, OSError, wire.Refused) as error:
                print(f"{count:,} {server.name}: {error}", file=sys.stderr)
    return runs


def _run(arguments: argparse.Namespace, server: Server, count: int, number: int) -> tuple[float, float]:
    # Separate names, or the run would use what the broker has cached in the previous one.
    name = f"growth{time.time_ns() % 10**9}-{number}"
    with Load(arguments, server) as load:
        # The same number of different bytes for each count, or small counts would fit the caches better.
        most = max(arguments.counts)
        blocks = PREPARE[arguments.what](load, name, count, most)
        load.publish(blocks, arguments.warmup)
        process.settle(server.pid)
        before, begin = process.cpu_seconds(server.pid), time.monotonic()
        published = load.publish(blocks, arguments.secs)
        seconds = time.monotonic() - begin
        # The broker has delivered the last one, but may not have finished that step.
        process.settle(server.pid)
        used = process.cpu_seconds(server.pid) - before
    return used * 1e6 / published, published / seconds


def _destinations(load: Load, name: str, count: int, most: int) -> Iterator[Block]:
    topics = [f"/topic/{name}.{number:06}" for number in range(count)]
    load.subscribe(topics)
    return itertools.cycle(list(_blocks(load, itertools.cycle(topics), most)))


def _wildcards(load: Load, name: str, count: int, most: int) -> Iterator[Block]:
    topic = f"/topic/{name}.seen"
    load.subscribe([topic])
    load.subscribe(_patterns(name, count), heard=False)
    return itertools.cycle(list(_blocks(load, itertools.repeat(topic), most)))


def _fresh(load: Load, name: str, count: int, _most: int) -> Iterator[Block]:
    load.subscribe([f"/topic/{name}.*.seen"])
    load.subscribe(_patterns(name, count), heard=False)
    return _blocks(load, (f"/topic/{name}.{number:09}.seen" for number in itertools.count()))


PREPARE = {"destinations": _destinations, "wildcards": _wildcards, "fresh": _fresh}


def _patterns(name: str, count: int) -> list[str]:
    """They differ from the topics only at their ends, which a searching broker compares last."""
    return [f"/topic/{name}.*.unseen{number}" for number in range(count)]


def _blocks(load: Load, topics: Iterator[str], most: int | None = None) -> Iterator[Block]:
    """SENDs to these topics in blocks of 64 KiB; at most `most` messages if it is set."""
    size = load.arguments.size
    body = b"x" * size
    data, messages = bytearray(), 0
    for topic in itertools.islice(topics, most):
        headers = {"destination": topic, "content-length": size}
        data += load.publisher.wrap(wire.frame("SEND", headers, body))
        messages += 1
        if len(data) >= BLOCK:
            yield bytes(data), messages
            data, messages = bytearray(), 0
    if messages:
        yield bytes(data), messages


class Load:
    """One publisher, and the connections that receive."""

    def __init__(self, arguments: argparse.Namespace, server: Server) -> None:
        self.arguments = arguments
        self.server = server
        self.hearers: list[Hearer] = []
        self.others: list[Wire] = []
        self.publisher = self._connect()
        self.selector = selectors.DefaultSelector()
        self.sent = 0

    def __enter__(self) -> Load:
        return self

    def __exit__(self, *_: object) -> None:
        self.selector.close()
        for connection in [self.publisher, *self.others, *(hearer.wire for hearer in self.hearers)]:
            connection.close()

    def subscribe(self, destinations: list[str], heard: bool = True) -> None:
        """Returns when the broker has confirmed all of them."""
        for start in range(0, len(destinations), self.arguments.per_connection):
            connection = self._connect()
            part = destinations[start : start + self.arguments.per_connection]
            if heard:
                self.hearers.append(Hearer(connection))
            else:
                self.others.append(connection)
            frames = (
                connection.wrap(wire.frame("SUBSCRIBE", {"id": f"{number:06}", "destination": destination}))
                for number, destination in enumerate(part[:-1])
            )
            connection.socket.sendall(b"".join(frames))
            last = {"id": f"{len(part) - 1:06}", "destination": part[-1], "receipt": "subscribed"}
            connection.send(wire.frame("SUBSCRIBE", last))
            _await(connection, b"RECEIPT\n", patience=60.0)

    def publish(self, blocks: Iterator[Block], seconds: float) -> int:
        """Publishes for this time; returns when all is delivered, with the number of messages."""
        self._watch()
        begin, end = self.sent, time.monotonic() + seconds
        rest = memoryview(b"")
        while time.monotonic() < end or rest:
            if not rest and self._may_send():
                data, messages = next(blocks)
                rest = memoryview(data)
                # A block counts as sent when it is started.
                self.sent += messages
            if rest:
                rest = rest[self._write(rest) :]
            self._read(0.0 if rest or self._may_send() else PATIENCE)
        while self._received() < self.sent:
            self._read(PATIENCE)
        return self.sent - begin

    def _may_send(self) -> bool:
        return (self.sent - self._received()) * (self.arguments.size + 100) < ON_THE_WAY

    def _connect(self) -> Wire:
        connection = Wire(self.server.url)
        connection.send(wire.connect_frame(login=self.arguments.login, passcode=self.arguments.passcode))
        _await(connection, wire.CONNECTED, patience=PATIENCE)
        return connection

    def _watch(self) -> None:
        if self.selector.get_map():
            return
        self.publisher.socket.setblocking(False)
        for hearer in self.hearers:
            hearer.wire.socket.setblocking(False)
            self.selector.register(hearer.wire.socket, selectors.EVENT_READ, hearer)
        # The publisher's connection receives no messages, but may receive an ERROR.
        self.selector.register(self.publisher.socket, selectors.EVENT_READ, None)

    def _received(self) -> int:
        return sum(hearer.messages for hearer in self.hearers)

    def _write(self, data: memoryview) -> int:
        try:
            return self.publisher.socket.send(data)
        except BlockingIOError:
            return 0

    def _read(self, patience: float) -> None:
        events = self.selector.select(patience)
        if not events and patience:
            if not self._received():
                raise Failed("nothing has arrived: does the server know wildcards such as a.*.b?")
            missing = self.sent - self._received()
            raise Failed(f"{missing:,} messages are missing, and nothing came for {patience:.0f} s")
        for key, _ in events:
            if key.data is None:
                answer = self.publisher.receive(READ)
                if not answer or b"ERROR\n" in answer:
                    raise Failed(f"the publisher was cut: {_text(answer)}")
            else:
                key.data.read()


class Hearer:
    """A connection that counts what it receives."""

    def __init__(self, connection: Wire) -> None:
        self.wire = connection
        self.messages = 0
        self._end = b""

    def read(self) -> None:
        data = self.wire.receive(READ)
        if not data:
            raise Failed("a subscriber was cut")
        # The start of a message may be split between two reads.
        data = self._end + data
        self.messages += data.count(MESSAGE)
        self._end = data[-(len(MESSAGE) - 1) :]


def _await(connection: Wire, sign: bytes, patience: float) -> None:
    connection.socket.settimeout(patience)
    answer = b""
    while sign not in answer:
        data = connection.receive(READ)
        if b"ERROR\n" in answer + data or not data:
            raise Failed(f"the server refused: {_text(answer + data)}")
        answer = (answer + data)[-READ:]


def _text(data: bytes) -> str:
    return " ".join(data[:400].decode(errors="replace").split()) or "it closed the connection"


if __name__ == "__main__":
    sys.exit(main())
