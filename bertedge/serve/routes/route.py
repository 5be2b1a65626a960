"""A route: the body that it takes, and the ways in which a model can answer it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bertedge.runtime import BertRuntime
from bertedge.serve.schemas import Body


@dataclass(frozen=True, kw_only=True)
class Ran:
    """What a model did for a request.

    Attributes:
        bundle: the name that it is served by.
        tokens: how many it read.
    """

    bundle: str
    tokens: int


def _as_is(answer: Any, ran: Ran) -> Any:
    return answer


def _always(model: BertRuntime, body: Any) -> bool:
    return True


@dataclass(frozen=True, kw_only=True)
class Task:
    """One way to answer a request.

    Attributes:
        verb: the command that a model must have for it; empty if any model can.
        answer: called with the model and the body. It may take long, and raises what the model's methods raise.
        finish: the answer as JSON, with arrays of numpy in it.
        suits: whether a body looks like this task; if it does not, other tasks come first.
    """

    verb: str
    answer: Callable[[BertRuntime, Any], Any]
    finish: Callable[[Any, Ran], Any] = _as_is
    suits: Callable[[BertRuntime, Any], bool] = _always

    def fits(self, model: BertRuntime) -> bool:
        """Whether a model can do it."""
        return not self.verb or self.verb in model.verbs


@dataclass(frozen=True, kw_only=True)
class Route:
    """A path that takes POST requests.

    Attributes:
        tag: the group that it stands in on the page of the API.
        tasks: the tasks that would answer a body, the preferred one first.
        items: the texts, pairs and token ids that a model reads for a body.
        example: a body that a model answers, if it can answer this route at all.
        answers: the JSON schema of an answer.
    """

    path: str
    tag: str
    summary: str
    schema: type[Body]
    tasks: Callable[[Any], Sequence[Task]]
    items: Callable[[Any], Sequence[Any]]
    example: Callable[[BertRuntime], Mapping[str, Any]]
    answers: Mapping[str, Any]
