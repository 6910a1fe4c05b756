"""What a Prometheus on the management network reads of the lab's gateway."""

import http.client

from prometheus_client.parser import text_string_to_metric_families

from pcg.lab import ns
from pcg.lab.lab import Lab

METRICS = 9464


def management(lab: Lab) -> str:
    return lab.desired.gateway.interfaces.management.addresses[0].partition("/")[0]


def scraped(lab: Lab) -> dict[tuple, float]:
    """(name, label values by the labels' names...) -> value."""
    with ns.inside(lab.layout.ns("svc")):
        connection = http.client.HTTPConnection(management(lab), METRICS, timeout=10)
        connection.request("GET", "/metrics")
        page = connection.getresponse().read().decode()
    families = text_string_to_metric_families(page)
    return {(s.name, *s.labels.values()): s.value for f in families for s in f.samples}
