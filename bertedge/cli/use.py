"""The commands that use a bundle: one for each head, from the table of heads."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import fields
from typing import Annotated, Any

import typer

from bertedge.cli.console import print_json, stdout
from bertedge.cli.file_rows import FileOptions, answer_file
from bertedge.cli.options import AnyCpuOption, BundleArgument, EngineOption, JsonFlag, NoVerifyOption, ThreadsOption
from bertedge.engines import AUTO
from bertedge.errors import UsageError
from bertedge.heads import HEADS
from bertedge.heads.verb import REQUIRED, Argument, Option, Verb


def _use(
    verb: Verb,
    bundle: BundleArgument,
    given: dict[str, Any],
    files: FileOptions,
    engine: EngineOption = AUTO,
    threads: ThreadsOption = None,
    allow_any_cpu: AnyCpuOption = False,
    no_verify: NoVerifyOption = False,
    as_json: JsonFlag = False,
) -> None:
    """Load a bundle, call the method of a verb, and print its answer; or answer the rows of a file."""
    from bertedge.runtime import load

    texts = {argument: given.pop(argument.name) for argument in verb.arguments}
    files.require_use(verb, [argument.name for argument, text in texts.items() if text], as_json=as_json)
    if files.input is None:
        _require_all(verb, texts, given)

    def loaded() -> Any:
        return load(bundle, engine=engine, threads=threads, check=not no_verify, allow_any_cpu=allow_any_cpu)

    if files.input is not None:
        answer_file(verb, loaded, files, given)
        return
    by_parameter = {argument.parameter or argument.name: text for argument, text in texts.items()}
    answer = getattr(loaded(), verb.method)(**by_parameter, **given)
    if as_json:
        print_json(verb.to_json(answer))
        return
    for line in verb.lines(answer):
        stdout.print(line)


def _require_all(verb: Verb, texts: dict[Argument, Any], given: dict[str, Any]) -> None:
    """Refuse a call without a text or an option that it needs.

    Raises:
        UsageError: something is missing.
    """
    missing = [f"argument '{argument.name.upper()}'" for argument, text in texts.items() if text in (None, [])]
    missing += [f"option '{_flag(option)}'" for option in verb.options if _is_missing(option, given)]
    if missing:
        raise UsageError(f"missing {missing[0]}", f"bertedge {verb.name} --help, or give a file: --input FILE")


def _is_missing(option: Option, given: dict[str, Any]) -> bool:
    return option.default is REQUIRED and given[option.name] is None


def _flag(option: Option) -> str:
    return f"--{option.name.replace('_', '-')}"


def _command(verb: Verb) -> Callable[..., None]:
    """A command for typer: the bundle, the arguments and options of the verb, those of files, and the common ones."""
    texts = {
        argument.name: (
            Annotated[list[str] | None if argument.many else str | None, _argument(argument)],
            None,
        )
        for argument in verb.arguments
    }
    numbers = {option.name: (_annotated(option), _default(option)) for option in verb.options}
    files = {one.name: (FileOptions.annotations()[one.name], one.default) for one in fields(FileOptions)}

    def command(**given: Any) -> None:
        of_files = FileOptions(**{name: given.pop(name, default) for name, (_, default) in files.items()})
        own = {name: given.pop(name, default) for name, (_, default) in (texts | numbers).items()}
        _use(verb, given=own, files=of_files, **given)

    bundle, _, _, *shared = list(inspect.signature(_use, eval_str=True).parameters.values())[1:]
    own = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default)
        for name, (annotation, default) in (texts | numbers | files).items()
    ]
    parameters = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in (bundle, *own, *shared)]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    command.__name__, command.__doc__ = verb.method, verb.help
    return command


def _argument(argument: Argument) -> Any:
    return typer.Argument(help=argument.help, show_default=False)


def _default(option: Option) -> Any:
    """The default; an option that must be given may be missing next to ``--input``."""
    return None if option.default is REQUIRED else option.default


def _annotated(option: Option) -> Any:
    """The type of an option, as typer reads it."""
    default = _default(option)
    kind = option.kind if default is not None else option.kind | None
    return Annotated[kind, typer.Option(min=option.least, help=option.help, show_default=default is not None)]


#: Name -> command.
VERBS = {head.verb.name: _command(head.verb) for head in HEADS.values()}
