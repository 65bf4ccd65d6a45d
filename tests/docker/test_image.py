"""The image as people run it. STOMPD_IMAGE names it; the STOMP client is that of tests/monitoring."""

import json
import os
import subprocess
import tempfile
import time
import unittest
import urllib.request

from processes import wait_for
from stomp import Tcp, WebSocket

IMAGE = os.environ.get("STOMPD_IMAGE", "stompd")
HARDENED = ["--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges"]
MIB = 1 << 20


def docker(*arguments, status=0):
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == status, f"docker {arguments} left with {done.returncode}:\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def inspect(what):
    return json.loads(docker("inspect", what))[0]


class Image(unittest.TestCase):
    def test_its_metadata(self):
        image = inspect(IMAGE)
        config = image["Config"]
        self.assertEqual(config["User"], "65532:65532")
        self.assertEqual(config["StopSignal"], "SIGTERM")
        self.assertEqual(set(config["ExposedPorts"]), {"15674/tcp", "61613/tcp", "15692/tcp"})
        self.assertEqual(set(config["Volumes"]), {"/var/lib/stompd"})
        self.assertEqual(config["Healthcheck"]["Test"], ["CMD", "stompd", "healthcheck"])
        self.assertEqual(config["Labels"]["org.opencontainers.image.title"], "stompd")
        self.assertLess(image["Size"], 20 * MIB)

    def test_settings_come_from_file_and_environment(self):
        with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
            file.write('[limits]\nbody = "1MiB"\nheaders = 17\n')
            file.flush()
            os.chmod(file.name, 0o644)
            options = ["-v", f"{file.name}:/etc/stompd/broker.toml:ro", "-e", "STOMPD__LIMITS__BODY=2MiB"]
            settings = docker("run", "--rm", *options, IMAGE, "check-config")
        self.assertIn("/etc/stompd/broker.toml", settings)
        self.assertRegex(settings, r'body = "2(\.0)? ?MiB"')
        self.assertRegex(settings, r"headers = 17\b")
        self.assertIn("0.0.0.0:15674", settings)

    def test_a_wrong_setting_exits_with_2(self):
        self.assertIn("LIMITS__BODY", docker("run", "--rm", "-e", "STOMPD__LIMITS__BODY=large", IMAGE, status=2))


class Container(unittest.TestCase):
    def setUp(self):
        ports = [word for port in (15674, 61613, 15692) for word in ("-p", f"127.0.0.1::{port}")]
        self.id = docker("run", "-d", *HARDENED, *ports, IMAGE).strip()
        self.addCleanup(docker, "rm", "-f", "-v", self.id)

    def test_life(self):
        """Checks that it becomes healthy, is not root, serves clients, and stops gracefully in time."""
        wait_for("ready", self._is_ready)
        wait_for("healthy", lambda: inspect(self.id)["State"]["Health"]["Status"] == "healthy", patience=60)
        self.assertEqual(docker("top", self.id, "-eo", "pid,uid,comm").split()[-2:], ["65532", "stompd"])

        subscriber = WebSocket(self._address(15674)).connect()
        subscriber.receipt("SUBSCRIBE", {"destination": "/topic/x", "id": "1"})
        publisher = Tcp(self._address(61613)).connect()
        publisher.receipt("SEND", {"destination": "/topic/x"}, "hello")
        self.assertTrue(subscriber.until(b"MESSAGE\n").endswith(b"hello"))

        start = time.monotonic()
        stopping = subprocess.Popen(["docker", "stop", self.id], stdout=subprocess.DEVNULL)
        with self.assertRaises(EOFError):
            subscriber.receive()
        self.assertEqual(subscriber.close_code, 1001)
        stopping.wait()
        self.assertLess(time.monotonic() - start, 10)
        self.assertEqual(inspect(self.id)["State"]["ExitCode"], 0, docker("logs", self.id))
        subscriber.close()
        publisher.close()

    def _is_ready(self):
        host, port = self._address(15692)
        try:
            with urllib.request.urlopen(f"http://{host}:{port}/readyz", timeout=2) as answer:
                return answer.status == 200
        except OSError:
            return False

    def _address(self, port):
        host, published = docker("port", self.id, str(port)).split()[0].rsplit(":", 1)
        return host, int(published)


if __name__ == "__main__":
    unittest.main()
