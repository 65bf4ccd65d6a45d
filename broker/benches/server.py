"""The servers that a measurement compares: `--server NAME=URL[,PID]`."""

from __future__ import annotations

import argparse
import ipaddress
import socket
import sys
from dataclasses import dataclass

import process
import wire

HELP = """a server to measure; repeat it, the others are compared with the first. PID is the
process whose processor time counts; default: the one that listens on the port"""


class Unusable(Exception):
    """A server cannot be measured."""


@dataclass(frozen=True)
class Server:
    name: str
    url: str
    pid: int | None


def add_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--server", metavar="NAME=URL[,PID]", action="append", required=True, help=HELP)


def parse_all(texts: list[str]) -> list[Server]:
    """Checks that each server answers before the measurement starts."""
    servers = [_parse(text) for text in texts]
    if len({server.name for server in servers}) < len(servers):
        raise Unusable("two servers have the same name")
    for server in servers:
        _check(server)
    return servers


def _parse(text: str) -> Server:
    name, equals, rest = text.partition("=")
    url, _, pid = rest.partition(",")
    if not name or not equals or (pid and not pid.isdigit()):
        raise Unusable(f"--server {text}: write NAME=URL or NAME=URL,PID")
    try:
        host, port = wire.address(url)
    except ValueError as error:
        raise Unusable(f"--server {name}: {error}") from None
    found = int(pid) if pid else _listener(host, port)
    return Server(name, url, found)


def _listener(host: str, port: int) -> int | None:
    here = host == "localhost"
    try:
        here = here or ipaddress.ip_address(host).is_loopback
    except ValueError:
        pass
    return process.listener(port) if here else None


def _check(server: Server) -> None:
    try:
        socket.create_connection(wire.address(server.url), timeout=5).close()
    except OSError as error:
        raise Unusable(f"{server.name} does not answer at {server.url}: {error}") from None
    if server.pid is None:
        print(f"{server.name}: its process is not known, nor is its processor time", file=sys.stderr)
        return
    try:
        process.cpu_seconds(server.pid)
    except process.Gone as gone:
        raise Unusable(f"{server.name}: {gone}") from None
