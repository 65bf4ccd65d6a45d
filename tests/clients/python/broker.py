"""The broker under test: a separate process on its own port."""

import contextlib
import os
import random
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
BINARY = os.environ.get("STOMPD_BIN") or HERE.parents[2] / "target/release/stompd"
CONFIG = HERE.parent / "broker.toml"
PATIENCE = 10.0


def wait_for(what, ask, patience=PATIENCE):
    """Polls until the answer is true, and returns it."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        if answer := ask():
            return answer
        time.sleep(0.01)
    raise AssertionError(f"not within {patience} s: {what}")


def _free_port():
    """A free port below the kernel's range for outgoing connections."""
    for _ in range(100):
        port = random.randrange(20_000, 30_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise AssertionError("no port is free")


def _clean_environment():
    return {name: value for name, value in os.environ.items() if not name.startswith("STOMPD_")}


class Broker:
    """`settings` are environment variables, such as `{"STOMPD__QUEUE__MAX_LENGTH": "3"}`."""

    def __init__(self, settings=None):
        self._settings = settings or {}
        self.address = ("127.0.0.1", _free_port())
        self._log = tempfile.TemporaryFile()
        self.up()

    def up(self):
        """Starts the process, also again after `end`, on the same port."""
        tcp = "{}:{}".format(*self.address)
        self._process = subprocess.Popen(
            [BINARY, "serve", "--config", CONFIG, "--websocket", "", "--tcp", tcp, "--admin", ""],
            env=_clean_environment() | self._settings,
            stdout=self._log,
            stderr=self._log,
        )
        wait_for(f"the broker listens on {tcp}", self._accepts)

    def stop(self):
        """Sends SIGTERM, as an init system would; the broker must exit by itself with success."""
        self._end(signal.SIGTERM)
        assert self._process.returncode == 0, f"the broker did not stop cleanly:\n{self.log()}"
        assert "panicked" not in self.log(), self.log()

    def kill(self):
        """Sends SIGKILL, which clients see as a crash."""
        self._end(signal.SIGKILL)

    @contextlib.contextmanager
    def paused(self):
        """Sends SIGSTOP, then SIGCONT: like a laptop's lid, a debugger, a machine that swaps."""
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def log(self):
        self._log.seek(0)
        return self._log.read().decode(errors="replace")

    def _end(self, number):
        self._process.send_signal(number)
        self._process.wait(timeout=15)

    def _accepts(self):
        assert self._process.poll() is None, f"the broker has ended:\n{self.log()}"
        try:
            socket.create_connection(self.address, timeout=1).close()
        except OSError:
            return False
        return True
