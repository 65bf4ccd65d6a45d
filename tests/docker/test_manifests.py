"""Checks compose.yaml and kubernetes.yaml against their schemas, and their references."""

import os
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

import kubernetes_validate
import yaml

ROOT = Path(__file__).resolve().parents[2]
DOCKER = ROOT / "docker"
STOMPD = os.environ.get("STOMPD_BIN") or ROOT / "target/release/stompd"


class Compose(unittest.TestCase):
    def setUp(self):
        self.services = yaml.safe_load((DOCKER / "compose.yaml").read_text())["services"]

    def test_nothing_has_more_rights_than_it_needs(self):
        for name, service in self.services.items():
            with self.subTest(name):
                self.assertIs(service["read_only"], True)
                self.assertEqual(service["cap_drop"], ["ALL"])
                self.assertEqual(service["security_opt"], ["no-new-privileges:true"])
                self.assertNotIn("cap_add", service)
                self.assertNotIn("privileged", service)

    def test_ports_are_on_loopback(self):
        for name, service in self.services.items():
            for port in service["ports"]:
                self.assertTrue(port.startswith("127.0.0.1:"), f"{name}: {port}")

    def test_all_have_a_health_check_and_depend_on_it(self):
        for name, service in self.services.items():
            self.assertEqual(service["healthcheck"]["test"][0], "CMD", name)
            for condition in service.get("depends_on", {}).values():
                self.assertEqual(condition, {"condition": "service_healthy"})

    def test_mounted_files_exist(self):
        mounts = [mount for service in self.services.values() for mount in service["volumes"]]
        for path in (mount.split(":")[0] for mount in mounts if mount.startswith(".")):
            self.assertTrue((DOCKER / path).exists(), path)
        build = self.services["stompd"]["build"]
        self.assertTrue((DOCKER / build["context"] / build["dockerfile"]).exists())

    def test_the_services_find_each_other(self):
        scrape = yaml.safe_load((DOCKER / "prometheus/prometheus.yml").read_text())["scrape_configs"][0]
        self.assertEqual(scrape["static_configs"], [{"targets": ["stompd:15692"]}])
        self.assertIn("127.0.0.1:15692:15692", self.services["stompd"]["ports"])
        source = yaml.safe_load((DOCKER / "grafana/provisioning/datasources/prometheus.yaml").read_text())
        self.assertEqual([one["url"] for one in source["datasources"]], ["http://prometheus:9090"])
        provider = yaml.safe_load((DOCKER / "grafana/provisioning/dashboards/stompd.yaml").read_text())
        folder = provider["providers"][0]["options"]["path"]
        self.assertIn(f"./grafana/dashboards:{folder}:ro", self.services["grafana"]["volumes"])

    def test_compose_accepts_it(self):
        compose = next((words for words in (["docker", "compose"], ["docker-compose"]) if works(words)), None)
        if compose is None:
            self.skipTest("neither docker compose nor docker-compose is installed")
        check = [*compose, "-f", DOCKER / "compose.yaml", "config", "-q"]
        done = subprocess.run(check, capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)


class Kubernetes(unittest.TestCase):
    def setUp(self):
        self.objects = {one["kind"]: one for one in yaml.safe_load_all((DOCKER / "kubernetes.yaml").read_text())}
        self.pod = self.objects["StatefulSet"]["spec"]["template"]
        self.container = self.pod["spec"]["containers"][0]

    def test_it_is_valid(self):
        for kind, thing in self.objects.items():
            with self.subTest(kind):
                kubernetes_validate.validate(thing, kubernetes_validate.latest_version(), strict=True)

    def test_labels_and_ports_fit(self):
        labels = self.pod["metadata"]["labels"]
        self.assertEqual(self.objects["Service"]["spec"]["selector"], labels)
        self.assertEqual(self.objects["StatefulSet"]["spec"]["selector"]["matchLabels"], labels)
        ports = {port["name"]: port["containerPort"] for port in self.container["ports"]}
        self.assertEqual(ports, {"websocket": 15674, "tcp": 61613, "admin": 15692})
        for port in self.objects["Service"]["spec"]["ports"]:
            self.assertEqual(ports[port["targetPort"]], port["port"])
        self.assertEqual(self.pod["metadata"]["annotations"]["prometheus.io/port"], str(ports["admin"]))
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            self.assertEqual(self.container[probe]["httpGet"]["port"], "admin")

    def test_it_is_restricted(self):
        """Checks the requirements of the Pod Security Standard of that name."""
        pod, container = self.pod["spec"]["securityContext"], self.container["securityContext"]
        self.assertIs(pod["runAsNonRoot"], True)
        self.assertEqual(pod["seccompProfile"], {"type": "RuntimeDefault"})
        self.assertIs(container["allowPrivilegeEscalation"], False)
        self.assertEqual(container["capabilities"], {"drop": ["ALL"]})
        self.assertIs(container["readOnlyRootFilesystem"], True)

    def test_the_broker_accepts_its_configuration(self):
        mounted = {volume["name"]: volume for volume in self.pod["spec"]["volumes"]}["config"]["configMap"]["name"]
        self.assertEqual(mounted, self.objects["ConfigMap"]["metadata"]["name"])
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "broker.toml")
            file.write_text(self.objects["ConfigMap"]["data"]["broker.toml"])
            check = [STOMPD, "check-config", "--config", file]
            done = subprocess.run(check, capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)


def works(words):
    if shutil.which(words[0]) is None:
        return False
    return subprocess.run([*words, "version"], capture_output=True, check=False).returncode == 0


if __name__ == "__main__":
    unittest.main()
