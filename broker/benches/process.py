"""What the kernel reports about a server process: which one listens on a port, and what it has used."""

from __future__ import annotations

import os
import time

TICKS = os.sysconf("SC_CLK_TCK")
LISTENING = "0A"


class Gone(Exception):
    """The process has ended."""


def cpu_seconds(pid: int) -> float:
    """Processor time of all its threads so far, including ended ones; in ticks, mostly of 10 ms."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            # The name in parentheses may contain anything.
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        raise Gone(f"process {pid} is gone") from None
    if fields[0] in "ZX":
        raise Gone(f"process {pid} has ended")
    return (int(fields[11]) + int(fields[12])) / TICKS


def listener(port: int) -> int | None:
    """The process that listens on a port of this machine, as far as this user may see it."""
    sockets = {f"socket:[{inode}]" for inode in _listening(port)}
    for pid in sorted(int(name) for name in os.listdir("/proc") if name.isdigit()):
        if sockets.intersection(_open_files(pid)):
            return pid
    return None


def settle(pid: int | None, most: float = 10.0) -> None:
    """Waits until it has finished earlier work, such as the end of many connections."""
    end = time.monotonic() + most
    while time.monotonic() < end:
        before = cpu_seconds(pid) if pid else 0.0
        time.sleep(0.3)
        if not pid or cpu_seconds(pid) - before <= 1 / TICKS:
            return


def _listening(port: int) -> list[str]:
    inodes = []
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            with open(table, encoding="ascii") as file:
                rows = [line.split() for line in file][1:]
        except OSError:
            continue
        listening = (row for row in rows if row[3] == LISTENING)
        inodes += [row[9] for row in listening if int(row[1].rpartition(":")[2], 16) == port]
    return inodes


def _open_files(pid: int) -> list[str]:
    folder = f"/proc/{pid}/fd"
    files = []
    try:
        for name in os.listdir(folder):
            files.append(os.readlink(f"{folder}/{name}"))
    except OSError:
        # It has ended, or belongs to another user.
        pass
    return files
