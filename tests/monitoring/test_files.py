"""Checks of the files that need no broker."""

import itertools
import re
import subprocess
import unittest

import dashboard
from processes import PROMTOOL, ROOT

PROMETHEUS = ROOT / "docker/prometheus"
GRAPHS = {"timeseries", "stat", "heatmap"}


class Dashboard(unittest.TestCase):
    def setUp(self):
        self.dashboard = dashboard.load()
        self.panels = dashboard.panels(self.dashboard)

    def test_grafana_accepts_it(self):
        self.assertEqual(self.dashboard["uid"], "stompd")
        self.assertTrue(self.dashboard["title"])
        self.assertGreaterEqual(self.dashboard["schemaVersion"], 36, "data sources are objects since then")
        # Grafana adds these itself.
        self.assertFalse({"id", "iteration", "__inputs"} & self.dashboard.keys())
        for panel in self.dashboard["panels"]:
            self.assertIn(panel["type"], GRAPHS | {"row"}, panel["title"])
            if panel["type"] == "row":
                self.assertEqual(panel["panels"], [], "an open row holds nothing itself")

    def test_ids_are_unique(self):
        ids = [panel["id"] for panel in self.dashboard["panels"]]
        self.assertEqual(len(ids), len(set(ids)))
        for panel in self.panels:
            references = [target["refId"] for target in panel["targets"]]
            self.assertEqual(len(references), len(set(references)), panel["title"])

    def test_each_panel_has_a_description(self):
        titles = [panel["title"] for panel in self.panels]
        self.assertEqual(len(titles), len(set(titles)))
        for panel in self.panels:
            with self.subTest(panel["title"]):
                self.assertGreater(len(panel["description"]), 20)
                self.assertTrue(panel["fieldConfig"]["defaults"]["unit"])
                self.assertTrue(panel["targets"])

    def test_panels_do_not_overlap(self):
        places = [(panel["title"], panel["gridPos"]) for panel in self.dashboard["panels"]]
        for title, place in places:
            self.assertGreater(place["h"] * place["w"], 0, title)
            self.assertLessEqual(place["x"] + place["w"], 24, title)
        for (one, a), (other, b) in itertools.combinations(places, 2):
            apart = (
                a["x"] + a["w"] <= b["x"]
                or b["x"] + b["w"] <= a["x"]
                or a["y"] + a["h"] <= b["y"]
                or b["y"] + b["h"] <= a["y"]
            )
            self.assertTrue(apart, f"{one} and {other} overlap")

    def test_data_sources_use_the_variable(self):
        variables = {variable["name"]: variable for variable in self.dashboard["templating"]["list"]}
        self.assertEqual(variables["datasource"]["type"], "datasource")
        self.assertEqual(variables["datasource"]["query"], "prometheus")
        source = {"type": "prometheus", "uid": "${datasource}"}
        askers = [variables["instance"], *self.dashboard["annotations"]["list"], *self.panels]
        askers += [target for panel in self.panels for target in panel["targets"]]
        for asker in askers:
            self.assertEqual(asker["datasource"], source, asker)

    def test_expressions_select_the_chosen_brokers(self):
        for where, expression in dashboard.expressions(self.dashboard):
            with self.subTest(where):
                metrics = re.findall(r"\b(?:stompd_|process_|up\b)\w*", re.sub(r"\{[^}]*\}", "", expression))
                self.assertTrue(metrics)
                self.assertEqual(expression.count('instance=~"$instance"'), len(metrics))


class Alerts(unittest.TestCase):
    def test_prometheus_accepts_its_configuration(self):
        self._promtool("check", "config", "prometheus.yml")

    def test_the_unit_tests_of_the_rules(self):
        self._promtool("test", "rules", "alerts_test.yml")

    def test_each_alert_says_what_to_do(self):
        for name, rule in self._rules().items():
            with self.subTest(name):
                self.assertRegex(rule, r"severity: (page|warning)\n")
                self.assertRegex(rule, r'summary: ".{20,}"\n')
                self.assertRegex(rule, r'action: ".{40,}"')

    def test_each_alert_has_a_unit_test_that_fires_and_one_that_does_not(self):
        tests = (PROMETHEUS / "alerts_test.yml").read_text()
        cases = re.split(r"\n  - name: ", tests)[1:]
        for name in self._rules():
            fires = [case for case in cases if f"alertname: {name}\n        exp_alerts" in case]
            never = [case for case in cases if f"alertname: {name}\n" in case and case not in fires]
            self.assertTrue(fires and never, name)

    def _rules(self):
        text = (PROMETHEUS / "alerts.yml").read_text()
        rules = re.split(r"\n      - alert: ", text)[1:]
        return {rule.split("\n", 1)[0]: rule for rule in rules}

    def _promtool(self, *arguments):
        done = subprocess.run([PROMTOOL, *arguments], cwd=PROMETHEUS, capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)


if __name__ == "__main__":
    unittest.main()
