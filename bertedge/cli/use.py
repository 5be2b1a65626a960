"""The commands that use a bundle: one for each head, from the table of heads."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from bertedge.cli.console import print_json, stdout
from bertedge.cli.options import AnyCpuOption, BundleArgument, EngineOption, JsonFlag, NoVerifyOption, ThreadsOption
from bertedge.engines import AUTO
from bertedge.heads import HEADS
from bertedge.heads.verb import REQUIRED, Option, Verb


def _use(
    verb: Verb,
    bundle: BundleArgument,
    given: dict[str, Any],
    engine: EngineOption = AUTO,
    threads: ThreadsOption = None,
    allow_any_cpu: AnyCpuOption = False,
    no_verify: NoVerifyOption = False,
    as_json: JsonFlag = False,
) -> None:
    """Load a bundle, call the method of a verb, and print its answer."""
    from bertedge.runtime import load

    runtime = load(bundle, engine=engine, threads=threads, check=not no_verify, allow_any_cpu=allow_any_cpu)
    texts = {argument.parameter or argument.name: given.pop(argument.name) for argument in verb.arguments}
    answer = getattr(runtime, verb.method)(**texts, **given)
    if as_json:
        print_json(verb.to_json(answer))
        return
    for line in verb.lines(answer):
        stdout.print(line)


def _command(verb: Verb) -> Callable[..., None]:
    """A command for typer: the bundle, the arguments of the verb, and the common options."""
    texts = {
        argument.name: (
            Annotated[list[str] if argument.many else str, typer.Argument(help=argument.help, show_default=False)],
            inspect.Parameter.empty,
        )
        for argument in verb.arguments
    }
    numbers = {
        option.name: (_annotated(option), inspect.Parameter.empty if option.default is REQUIRED else option.default)
        for option in verb.options
    }

    def command(**given: Any) -> None:
        own = {name: given.pop(name, default) for name, (_, default) in (texts | numbers).items()}
        _use(verb, given=own, **given)

    bundle, _, *shared = list(inspect.signature(_use, eval_str=True).parameters.values())[1:]
    own = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default)
        for name, (annotation, default) in (texts | numbers).items()
    ]
    parameters = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in (bundle, *own, *shared)]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    command.__name__, command.__doc__ = verb.method, verb.help
    return command


def _annotated(option: Option) -> Any:
    """The type of an option, as typer reads it."""
    kind = option.kind if option.default is not None else option.kind | None
    shown = option.default is not None and option.default is not REQUIRED
    return Annotated[kind, typer.Option(min=option.least, help=option.help, show_default=shown)]


#: Name -> command.
VERBS = {head.verb.name: _command(head.verb) for head in HEADS.values()}
