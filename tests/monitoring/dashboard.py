"""The dashboard as Grafana would read it."""

import json
from pathlib import Path

FILE = Path(__file__).resolve().parents[2] / "docker/grafana/dashboards/stompd.json"


def load():
    return json.loads(FILE.read_text())


def panels(dashboard):
    """Those that show something, which rows do not."""
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def expressions(dashboard):
    """All that is asked of Prometheus, with where it stands."""
    for panel in panels(dashboard):
        for target in panel["targets"]:
            yield f"{panel['title']}, {target['refId']}", target["expr"]
    for annotation in dashboard["annotations"]["list"]:
        yield f"annotation {annotation['name']}", annotation["expr"]


def filled_in(expression, instance=".*", interval="1m"):
    """The expression with the variables of Grafana replaced by what it would put there."""
    return expression.replace("$instance", instance).replace("$__rate_interval", interval)
