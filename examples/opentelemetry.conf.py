"""fastwsgi -c examples/opentelemetry.conf.py shop.wsgi:application

Traces with OpenTelemetry (pip install opentelemetry-sdk opentelemetry-exporter-otlp). The
exporter has a thread and a connection, which a fork does not copy. So the import may make what only
wraps the application, and each worker makes the provider for itself.

In shop/wsgi.py: application = OpenTelemetryMiddleware(application), from
opentelemetry.instrumentation.wsgi.
"""

import os

preload_app = True
workers = 2
request_id = "on"  # the trace id of a trusted proxy's traceparent is the id of the request

_providers = []


def post_fork(server, worker):
    from opentelemetry import trace
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=Resource.create({
        "service.name": os.environ.get("OTEL_SERVICE_NAME", "shop"), "process.pid": os.getpid()}))
    provider.add_span_processor(BatchSpanProcessor(_exporter()))
    trace.set_tracer_provider(provider)
    _providers.append(provider)


def worker_exit(server, worker):
    for provider in _providers:
        provider.shutdown()  # sends what has gathered


def _exporter():
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter()  # OTEL_EXPORTER_OTLP_ENDPOINT says where
