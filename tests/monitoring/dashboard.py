"""The dashboard as Grafana reads it."""

import json
from pathlib import Path

FILE = Path(__file__).resolve().parents[2] / "docker/grafana/dashboards/stompd.json"


def load():
    return json.loads(FILE.read_text())


def panels(dashboard):
    """Returns the panels that show data, which rows do not."""
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def expressions(dashboard):
    """Returns all Prometheus queries, with their location."""
    for panel in panels(dashboard):
        for target in panel["targets"]:
            yield f"{panel['title']}, {target['refId']}", target["expr"]
    for annotation in dashboard["annotations"]["list"]:
        yield f"annotation {annotation['name']}", annotation["expr"]


def filled_in(expression, instance=".*", interval="1m"):
    """Returns the expression with Grafana's variables replaced as Grafana does."""
    return expression.replace("$instance", instance).replace("$__rate_interval", interval)
