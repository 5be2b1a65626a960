"""From a request to its answer: the body is read, a bundle is chosen, and its answer becomes JSON."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from bertedge.errors import BertEdgeError, CheckpointError, UsageError
from bertedge.runtime import BertRuntime
from bertedge.serve.refusals import Refused
from bertedge.serve.routes.error_responses import error_response
from bertedge.serve.routes.route import Ran, Route, Task
from bertedge.serve.schemas import BadBody, Body, read_body
from bertedge.serve.service import ServedModel, Service

JSON = "application/json"
Endpoint = Callable[[Request], Awaitable[Response]]


def endpoint_of(route: Route) -> Endpoint:
    """The function that answers the requests of a route."""

    async def endpoint(request: Request) -> Response:
        try:
            return await _answered(route, request)
        except BadBody as error:
            return error_response(route.path, error.status, error.message, field=error.field)
        except Refused as error:
            field = "model" if error.status == 404 else None
            return error_response(route.path, error.status, error.message, headers=error.headers, field=field)
        except (UsageError, CheckpointError) as error:
            return error_response(route.path, 422 if isinstance(error, UsageError) else 424, in_one_line(error))

    return endpoint


async def _answered(route: Route, request: Request) -> Response:
    service: Service = request.app.state.service
    body = read_body(route.schema, await _json_of(request))
    items = route.items(body)
    if not items:
        message = "there is no text: the list is empty"
        return error_response(route.path, 400, message, error_type="Empty")
    require_short(service, items)
    served, task = choose(service, body, route.tasks(body), request.query_params.get("model"))

    def work(model: BertRuntime) -> orjson.Fragment:
        return orjson.Fragment(to_json(task.answer(model, body)))

    answered = await service.answer(request, served, work, texts=len(items))
    ran = Ran(bundle=served.name, tokens=answered.tokens)
    return Response(to_json(task.finish(answered.value, ran)), media_type=JSON)


def require_short(service: Service, items: Sequence[Any]) -> None:
    """Refuse a body that is short, but whose pairs repeat a long text.

    Raises:
        Refused: the texts are longer than the longest body.
    """
    length = sum(sum(map(len, item)) if isinstance(item, tuple) else len(item) for item in items)
    most = service.settings.max_body_bytes
    if length > most:
        raise Refused(413, f"the texts of all pairs have {length} characters, expected at most {most}")


async def _json_of(request: Request) -> bytes:
    """The bytes of a body that says it is JSON.

    Raises:
        BadBody: it says that it is something else. A page in a browser can send other types to any server.
    """
    kind, _, rest = request.headers.get("content-type", "").partition(";")
    charset = rest.strip().lower().removeprefix("charset=").strip('"')
    if kind.strip().lower() != JSON or charset not in ("", "utf-8", "utf8"):
        raise BadBody(415, f"send the body as JSON in UTF-8, with the header Content-Type: {JSON}")
    if request.headers.get("content-encoding", "identity") != "identity":
        raise BadBody(415, "send the body without Content-Encoding: compressed bodies are not read")
    return await request.body()


def choose(service: Service, body: Body, tasks: Sequence[Task], asked: str | None) -> tuple[ServedModel, Task]:
    """The bundle that answers a body, and how: the first one with a task that suits the body, or else with any.

    Args:
        asked: the bundle that the address of the request names; a body may name another.

    Raises:
        Refused: no bundle has this name, or none can answer.
    """
    name = body.model if body.model is not None else asked
    served = [service.pick(one) for one in (service.names if name is None else (name,))]
    able = [(one, task) for one in served for task in tasks if task.fits(one.runtime)]
    for one, task in able:
        if task.suits(one.runtime, body):
            return one, task
    if able:
        return able[0]
    needed = " or ".join(dict.fromkeys(task.verb for task in tasks))
    found = ", ".join(dict.fromkeys(verb for one in served for verb in one.verbs))
    whose = "no bundle has it" if name is None else f"the bundle {name} has none"
    raise Refused(424, f"this takes a model for {needed}: {whose}, only {found}")


def to_json(answer: Any) -> bytes:
    """JSON of an answer, with arrays of numpy in it; NaN is null."""
    return orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)


def in_one_line(error: BertEdgeError) -> str:
    """What is wrong, and what to do."""
    return f"{error.message} ({error.hint})"
