"""Options that come from tables: goals, and settings of dataclasses."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from typing import Annotated, Any

import typer

from bertedge.cli.options import choices
from bertedge.evaluate.goals import GOALS, goals_of
from bertedge.heads import HEADS
from bertedge.keys import Key
from bertedge.metric import GoalKind

Command = Callable[..., None]


def goal_panel(goal: GoalKind) -> str:
    """The heading of a goal in help: each head has its own, because there are many."""
    return "Goals" if goal.head is None else f"Goals: {HEADS[goal.head].words}"


def goal_options(names: Iterable[str]) -> Callable[[Command], Command]:
    """Add an option for each goal to a command that takes ``goals``."""
    options = {
        name: Annotated[
            float | None,
            typer.Option(
                help=GOALS[name].help, show_default=False, rich_help_panel=goal_panel(GOALS[name]), metavar="NUMBER"
            ),
        ]
        for name in names
    }
    return added(options, "goals", goals_of)


def setting_options(keys: Mapping[str, Iterable[Key]]) -> Callable[[Command], Command]:
    """Add an option for each setting to a command that takes ``settings``: name -> value of the given options.

    Args:
        keys: heading in help -> settings.
    """
    options = {
        key.name: Annotated[
            key.kind | None,
            typer.Option(
                help=key.help,
                show_default=key.shown_default() or False,
                rich_help_panel=panel,
                **(choices(map(str, key.one_of)) if key.one_of else {}),
            ),
        ]
        for panel, listed in keys.items()
        for key in listed
    }
    return added(options, "settings", lambda given: {name: v for name, v in given.items() if v is not None})


def added(options: dict[str, Any], into: str, gather: Callable[[dict[str, Any]], Any]) -> Callable[[Command], Command]:
    """Add options whose default is None. The command gets the result of ``gather`` as its argument ``into``."""

    def decorate(command: Command) -> Command:
        @wraps(command)
        def extended(**given: Any) -> None:
            chosen = {name: given.pop(name, None) for name in options}
            command(**given, **{into: gather(chosen)})

        new = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
            for name, annotation in options.items()
        ]
        parameters: list[inspect.Parameter] = []
        for parameter in inspect.signature(command, eval_str=True).parameters.values():
            own = parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
            parameters += new if parameter.name == into else [own]
        extended.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        extended.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return extended

    return decorate
