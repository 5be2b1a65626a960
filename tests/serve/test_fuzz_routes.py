"""Requests that schemathesis makes up from the document of the API: each gets an answer that the document describes."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings

pytest.importorskip("fastapi", reason="fastapi is not installed: pip install 'bertedge[serve]'")
schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed: pip install 'bertedge[dev]'")
pytestmark = pytest.mark.filterwarnings("ignore::bertedge.errors.UnknownTextWarning")
PATHS = [route.path for route in importlib.import_module("bertedge.serve.routes").all_routes()]
#: For each route, of bodies that fit its schema and of those that do not.
EXAMPLES = 12
#: The answer is one that the document describes, and a body that does not fit the schema is refused.
CHECKS = (
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
)


@pytest.fixture(scope="module")
def operations(url: str) -> dict[str, Any]:
    """Path -> the operation of each route that takes a body."""
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    found = [result.ok() for result in schema.get_all_operations()]
    return {operation.path: operation for operation in found if operation.method.lower() == "post"}


@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode))
@pytest.mark.parametrize("path", PATHS)
def test_any_body_gets_an_answer(operations: dict[str, Any], path: str, mode: Any) -> None:
    checks = importlib.import_module("schemathesis.specs.openapi.checks")
    seen = set()

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operations[path].as_strategy(generation_mode=mode))
    def run(case: Any) -> None:
        response = case.call()
        case.validate_response(response, [getattr(checks, name) for name in CHECKS])
        seen.add(response.status_code)

    run()
    assert seen
    assert max(seen) < 500
