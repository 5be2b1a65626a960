"""A server for bundles: requests run together, queues are bounded, and no reload drops a request."""

from bertedge.serve.asgi_app import create_app
from bertedge.serve.serve_settings import ServeSettings

__all__ = ["ServeSettings", "create_app"]
