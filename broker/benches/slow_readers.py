#!/usr/bin/env python3
"""Subscribers that read slowly, to measure their effect on other clients.

    slow_readers.py --url ws://127.0.0.1:15674/ws --destination '/topic/slow.*' --secs 60

Each reads --rate bytes per second and limits the kernel's buffer. A disconnected reader connects again. They
send heart-beats and answer Pings, so slowness is the only reason to disconnect them. It ends after --secs, on
SIGTERM or Ctrl-C, and reports what they have read and how often they were disconnected.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
import time
from collections import Counter

import wire
from wire import Wire

STEPS = 10  # reads per second
# In seconds. It also makes the kernel report a disconnect, which otherwise comes after all unread data.
HEART_BEAT = 2.0
REFUSED = b"ERROR\n"


def main() -> int:
    arguments = _arguments()
    try:
        # Reports once, at the start, if the broker is unreachable.
        Wire(arguments.url).close()
    except (OSError, ValueError, wire.Refused) as error:
        print(f"slow_readers.py: {arguments.url}: {error}", file=sys.stderr)
        return 2
    over = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: over.set())
    begin = time.monotonic()
    readers = [Reader(arguments, over) for _ in range(arguments.readers)]
    for reader in readers:
        reader.start()
    over.wait(arguments.secs or None)
    over.set()
    for reader in readers:
        reader.join()
    return _report(arguments, readers, time.monotonic() - begin)


def _arguments() -> argparse.Namespace:
    style = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=style)
    parser.add_argument("--url", default="ws://127.0.0.1:15674/ws", help="ws://host:port/path or tcp://…")
    parser.add_argument("--destination", required=True, help="what they subscribe to")
    parser.add_argument("--readers", type=int, default=10, help="how many (10)")
    parser.add_argument("--rate", type=int, default=10_000, help="bytes per second of each (10000)")
    parser.add_argument("--buffer", type=int, default=8 << 10, help="SO_RCVBUF of each (8192)")
    parser.add_argument("--secs", type=float, default=0.0, help="end after this time (on SIGTERM)")
    parser.add_argument("--login")
    parser.add_argument("--passcode")
    parser.add_argument("--json", action="store_true", help="print the result as a JSON object")
    return parser.parse_args()


def _report(arguments: argparse.Namespace, readers: list[Reader], seconds: float) -> int:
    ends = sum((reader.ends for reader in readers), Counter())
    data = sum(reader.data for reader in readers)
    connections = sum(reader.connections for reader in readers)
    rate = data / seconds / len(readers)
    if arguments.json:
        print(json.dumps({"seconds": seconds, "bytes": data, "connections": connections, "ends": ends}))
    else:
        print(f"{len(readers)} readers, {seconds:.1f} s: {data:,} bytes, {rate:,.0f}/s each")
        how = ", ".join(f"{what} {count}" for what, count in ends.most_common())
        print(f"{connections} connections: {how or 'none has ended'}")
    return 0 if data else 1


class Reader(threading.Thread):
    """One slow reader: one connection at a time."""

    def __init__(self, arguments: argparse.Namespace, over: threading.Event) -> None:
        super().__init__(daemon=True)
        self.arguments = arguments
        self.over = over
        self.data = 0
        self.connections = 0
        self.ends: Counter[str] = Counter()

    def run(self) -> None:
        while not self.over.is_set():
            try:
                end, pause = self._connection(), 0.1
            except (wire.Refused, ConnectionRefusedError):
                end, pause = "refused", 1.0
            except ConnectionResetError:
                end, pause = "cut (reset)", 0.1
            except OSError as error:
                end, pause = f"cut ({error})", 0.1
            self.ends[end] += 1
            self.over.wait(pause)

    def _connection(self) -> str:
        """Reads a connection until its end, and reports how it ended."""
        connection = Wire(self.arguments.url, receive_buffer=self.arguments.buffer)
        self.connections += 1
        try:
            return self._read(connection)
        finally:
            connection.close()

    def _read(self, connection: Wire) -> str:
        arguments = self.arguments
        beat = f"{HEART_BEAT * 1000:.0f},0"
        connection.send(wire.connect_frame(beat, arguments.login, arguments.passcode))
        connection.send(wire.frame("SUBSCRIBE", {"id": "slow", "destination": arguments.destination}))
        connection.socket.setblocking(False)
        stream = Stream(connection)
        beaten = time.monotonic()
        while not self.over.is_set():
            now = time.monotonic()
            if now - beaten > HEART_BEAT / 2:
                connection.send(wire.EOL)
                beaten = now
            end = self._step(stream)
            if end:
                return end
            self.over.wait(1 / STEPS)
        return "was there at the end"

    def _step(self, stream: Stream) -> str:
        """Reads the share of one step."""
        try:
            data = stream.connection.receive(max(self.arguments.rate // STEPS, 1))
        except BlockingIOError:
            return ""
        self.data += len(data)
        return stream.on_read(data) if data else "cut (end of the stream)"


class Stream:
    """Parses what matters here: Pings, Closes, ERRORs."""

    def __init__(self, connection: Wire) -> None:
        self.connection = connection
        self._head = b""
        self._control = b""
        self._opcode = 0
        self._left = 0
        self._text = b""

    def on_read(self, data: bytes) -> str:
        """Returns what ends the connection, if anything."""
        if not self.connection.web:
            return self._on_text(data)
        end = ""
        while data and not end:
            data = self._payload(data) if self._left else self._header(data)
            if self._left == 0 and self._opcode in (wire.PING, wire.CLOSE):
                end = self._on_control()
        return end

    def _header(self, data: bytes) -> bytes:
        """Takes a frame's header byte by byte: servers do not mask, so it has 2, 4 or 10."""
        while data:
            self._head, data = self._head + data[:1], data[1:]
            size = len(self._head)
            if size < 2 or size < {126: 4, 127: 10}.get(self._head[1], 2):
                continue
            self._opcode = self._head[0] & 15
            self._left = self._head[1] if size == 2 else int.from_bytes(self._head[2:], "big")
            self._head = b""
            break
        return data

    def _payload(self, data: bytes) -> bytes:
        part, data = data[: self._left], data[self._left :]
        self._left -= len(part)
        if self._opcode in (wire.PING, wire.CLOSE):
            self._control += part
        return data

    def _on_control(self) -> str:
        payload, opcode = self._control, self._opcode
        self._control, self._opcode = b"", 0
        if opcode == wire.CLOSE:
            return f"cut ({int.from_bytes(payload[:2], 'big')})"
        self.connection.socket.send(wire.web_frame(payload, wire.PONG))
        return ""

    def _on_text(self, data: bytes) -> str:
        """TCP has no Close with a reason; an ERROR states it."""
        text = self._text + data
        self._text = text[-len(REFUSED) :]
        return "cut (ERROR)" if REFUSED in text else ""


if __name__ == "__main__":
    sys.exit(main())
