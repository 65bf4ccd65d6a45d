"""The dashboard and the alerts with real brokers, real clients and a real Prometheus."""

import math
import re
import tempfile
import time
import unittest
from pathlib import Path

import dashboard
from load import Load
from processes import ROOT, Prometheus, wait_for

RULES = ROOT / "docker/prometheus/alerts.yml"

# Alerts that need more than a minute, or a machine out of memory or CPU. The unit tests of the rules cover these.
NOT_PROVOKED = {"StompdAcceptErrors", "StompdConsumersStarved", "StompdMemoryNearLimit", "StompdPublishToWriteSlow"}
AT_THE_END = {"StompdDown", "StompdRestartLoop"}
# Queries that return only zeros here, or data only after a restart.
ZERO = {"Starved consumers, A"}
LATER = {"annotation Restarts"}

CONFIG = """
global:
  scrape_interval: 1s
  evaluation_interval: 1s
rule_files: [alerts.yml]
scrape_configs:
  - job_name: stompd
    static_configs:
      - targets: [{targets}]
"""


def impatient(rules):
    """The rules without waiting times, and with rates over a short time."""
    return re.sub(r"for: \w+", "for: 0s", rules).replace("[5m]", "[10s]")


class Live(unittest.TestCase):
    """Runs in the order of the names: the last test stops the brokers."""

    @classmethod
    def setUpClass(cls):
        cls._folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls._folder.cleanup)
        folder = Path(cls._folder.name)
        cls.load = Load()
        cls.addClassCleanup(lambda: [broker.stop() for broker in cls.load.brokers])
        cls.addClassCleanup(cls.load.stop)
        targets = ", ".join(f'"{broker.instance}"' for broker in cls.load.brokers)
        (folder / "prometheus.yml").write_text(CONFIG.format(targets=targets))
        (folder / "alerts.yml").write_text(impatient(RULES.read_text()))
        cls.prometheus = Prometheus(folder / "prometheus.yml", folder)
        cls.addClassCleanup(cls.prometheus.stop)
        up = 'count(up{job="stompd"} == 1) == 2 and count(count_over_time(up[1m]) > 1) == 2'
        wait_for("both brokers are read", lambda: cls.prometheus.query(up))
        wait_for("no alert fires in quiet", lambda: not cls.prometheus.firing(), patience=10)
        cls.load.start()

    def test_load_is_seen(self):
        silent = set(re.findall(r"alert: (\w+)", RULES.read_text())) - NOT_PROVOKED - AT_THE_END
        empty = {
            where: dashboard.filled_in(expression)
            for where, expression in dashboard.expressions(dashboard.load())
            if where not in LATER
        }

        def all_seen():
            self.load.check()
            silent.difference_update(alert for alert, _ in self.prometheus.firing())
            for where, expression in list(empty.items()):
                numbers = [number for _, number in self.prometheus.query(expression)]
                if any(math.isfinite(number) and (number > 0 or where in ZERO) for number in numbers):
                    del empty[where]
            return not silent and not empty

        try:
            wait_for("each alert fires and each expression gives data", all_seen, patience=180)
        except AssertionError as late:
            lacking = [*silent, *(f"{where}: {expression}" for where, expression in empty.items())]
            raise AssertionError("\n  ".join([f"{late}; not so:", *lacking])) from None

    def test_restarts_and_the_end(self):
        self.load.check()
        self.load.stop()
        cutting, dropping = self.load.brokers
        for _ in range(3):
            self._restart(dropping)
        wait_for("StompdRestartLoop", self._fires("StompdRestartLoop", dropping))
        restarts = dict(dashboard.expressions(dashboard.load()))["annotation Restarts"]
        self.assertTrue(self.prometheus.query(dashboard.filled_in(restarts)))
        cutting.kill()
        wait_for("StompdDown", self._fires("StompdDown", cutting))
        self.assertNotIn(("StompdDown", dropping.instance), self.prometheus.firing())

    def _restart(self, broker):
        """Kills the broker and starts it in a different second: the metric has whole seconds."""
        question = f'process_start_time_seconds{{instance="{broker.instance}"}}'
        before = wait_for("the broker is read", lambda: self.prometheus.query(question))
        broker.kill()
        wait_for("another second", lambda: time.time() > before[0][1] + 2)
        broker.up()
        wait_for("the restart is seen", lambda: self.prometheus.query(question) not in ([], before))

    def _fires(self, alert, broker):
        return lambda: (alert, broker.instance) in self.prometheus.firing()


if __name__ == "__main__":
    unittest.main()
