"""The processes under test: brokers and a Prometheus that scrapes them, each on free ports of loopback."""

import json
import os
import random
import resource
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
STOMPD = os.environ.get("STOMPD_BIN") or ROOT / "target/release/stompd"
PROMETHEUS = os.environ.get("PROMETHEUS_BIN", "prometheus")
PROMTOOL = os.environ.get("PROMTOOL_BIN", "promtool")
PATIENCE = 30.0


def wait_for(what, ask, patience=PATIENCE):
    """Polls until the answer is true, and returns it."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        if answer := ask():
            return answer
        time.sleep(0.1)
    raise AssertionError(f"not within {patience} s: {what}")


def free_port():
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


class Process:
    """A program with its log in a file, that is ready as soon as its page says so."""

    def __init__(self, page, files=None):
        self._page, self._files = page, files
        self._log = tempfile.TemporaryFile()
        self.up()

    def up(self):
        """Starts it, also again after `kill`, on the same ports."""
        self._process = subprocess.Popen(
            self._command(),
            env={**self._environment(), "LC_ALL": "C"},
            stdout=self._log,
            stderr=self._log,
            preexec_fn=self._limit_files,
        )
        wait_for(f"{self._page} answers", self._answers)

    def kill(self):
        self._end(signal.SIGKILL)

    def stop(self):
        if self._process.poll() is None:
            self._end(signal.SIGTERM)
            assert self._process.returncode == 0, self.log()

    def log(self):
        self._log.seek(0)
        return self._log.read().decode(errors="replace")

    def _command(self):
        raise NotImplementedError

    def _environment(self):
        return {name: value for name, value in os.environ.items() if not name.startswith("STOMPD_")}

    def _limit_files(self):
        if self._files:
            resource.setrlimit(resource.RLIMIT_NOFILE, (self._files, self._files))

    def _end(self, number):
        self._process.send_signal(number)
        self._process.wait(timeout=20)

    def _answers(self):
        assert self._process.poll() is None, f"it has ended:\n{self.log()}"
        try:
            with urllib.request.urlopen(self._page, timeout=2) as answer:
                return answer.status == 200
        except OSError:
            return False


class Broker(Process):
    """stompd with `settings` such as STOMPD__LIMITS__CONNECTIONS, and at most `files` open files."""

    def __init__(self, settings, files=None):
        ports = [free_port() for _ in range(3)]
        self.websocket, self.tcp, self.admin = (("127.0.0.1", port) for port in ports)
        self.instance = "{}:{}".format(*self.admin)
        self._settings = settings
        super().__init__(f"http://{self.instance}/readyz", files)

    def _command(self):
        addresses = {"--websocket": self.websocket, "--tcp": self.tcp, "--admin": self.admin}
        flags = [word for flag, (host, port) in addresses.items() for word in (flag, f"{host}:{port}")]
        return [STOMPD, "serve", *flags]

    def _environment(self):
        return {**super()._environment(), **self._settings}


class Prometheus(Process):
    """Prometheus with a configuration file, in its own folder."""

    def __init__(self, config, folder):
        self._address = "127.0.0.1:{}".format(free_port())
        self._config, self._folder = config, folder
        super().__init__(f"http://{self._address}/-/ready")

    def query(self, expression):
        """Returns the current samples of an expression, each with its labels and its value."""
        samples = self._get("query", query=expression)["result"]
        return [(sample["metric"], float(sample["value"][1])) for sample in samples]

    def firing(self):
        """Returns the names of the firing alerts, each with its instances."""
        alerts = [alert for alert in self._get("alerts")["alerts"] if alert["state"] == "firing"]
        return {(alert["labels"]["alertname"], alert["labels"].get("instance")) for alert in alerts}

    def _get(self, what, **parameters):
        url = f"http://{self._address}/api/v1/{what}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{parameters}: {error.read().decode()}") from error

    def _command(self):
        return [
            PROMETHEUS,
            f"--config.file={self._config}",
            f"--storage.tsdb.path={self._folder}/data",
            f"--web.listen-address={self._address}",
        ]
