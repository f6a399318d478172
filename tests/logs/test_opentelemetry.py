"""The recipe for OpenTelemetry: traces of preloaded workers, with the id that a proxy has given."""

from __future__ import annotations

import json
from pathlib import Path

from apps import ROOT
from apps.client import Client
from apps.command import Project

from fastwsgi.testing import spawn

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
APP = """
    import os
    from opentelemetry.instrumentation.wsgi import OpenTelemetryMiddleware
    def plain(environ, start_response):
        start_response("200 OK", [])
        return [environ["fastwsgi.request_id"].encode()]
    app = OpenTelemetryMiddleware(plain)
    """
EXPORTER = '''

def _exporter():
    import json
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

    class ToFile(SpanExporter):
        def export(self, spans):
            with open("spans", "a") as file:
                for span in spans:
                    file.write(json.dumps({
                        "trace": f"{span.context.trace_id:032x}", "pid": os.getpid(),
                        "made": span.resource.attributes["process.pid"]}) + "\\n")
            return SpanExportResult.SUCCESS

    return ToFile()
'''


def test_the_recipe_traces_every_worker_under_the_id_of_the_proxy(project: Project) -> None:
    recipe = (ROOT / "examples" / "opentelemetry.conf.py").read_text("utf-8")
    where: Path = project({"conf.py": recipe + EXPORTER}, app=APP)
    with spawn("-c", "conf.py", "app:app", cwd=where) as server:
        for n in range(6):
            with Client(server.address) as client:
                trace = f"{n:x}{TRACE[1:]}"
                answer = client.fetch("/", f"traceparent: 00-{trace}-00f067aa0ba902b7-01")
                assert answer.body.decode() == trace
        server.terminate()
    spans = [json.loads(line) for line in (where / "spans").read_text().splitlines()]
    assert sorted(span["trace"] for span in spans) == [f"{n:x}{TRACE[1:]}" for n in range(6)]
    assert all(span["pid"] == span["made"] for span in spans)
