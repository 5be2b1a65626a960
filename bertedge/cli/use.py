"""``bertedge fill-mask`` and ``bertedge next-sentence``."""

from __future__ import annotations

from typing import Annotated

import typer

from bertedge.cli.console import print_json, stdout
from bertedge.cli.options import AnyCpuOption, BundleArgument, EngineOption, JsonFlag, NoVerifyOption, ThreadsOption
from bertedge.engines import AUTO


def fill_mask(
    bundle: BundleArgument,
    text: Annotated[
        str, typer.Argument(help="A text with [MASK] where words are to be filled in.", show_default=False)
    ],
    top_k: Annotated[int, typer.Option(min=1, help="Proposals for each [MASK].")] = 5,
    engine: EngineOption = AUTO,
    threads: ThreadsOption = None,
    allow_any_cpu: AnyCpuOption = False,
    no_verify: NoVerifyOption = False,
    as_json: JsonFlag = False,
) -> None:
    """Fill in the [MASK]s of a text."""
    from bertedge.runtime import load

    runtime = load(bundle, engine=engine, threads=threads, check=not no_verify, allow_any_cpu=allow_any_cpu)
    fills = runtime.fill_mask(text, top_k=top_k)
    if as_json:
        print_json(fills)
        return
    for index, proposals in enumerate(fills):
        if index:
            stdout.print()
        for fill in proposals:
            stdout.print(f"{fill.probability:8.4f}  {fill.token}")


def next_sentence(
    bundle: BundleArgument,
    first: Annotated[str, typer.Argument(help="The first sentence.", show_default=False)],
    second: Annotated[str, typer.Argument(help="The one that may follow.", show_default=False)],
    engine: EngineOption = AUTO,
    threads: ThreadsOption = None,
    allow_any_cpu: AnyCpuOption = False,
    no_verify: NoVerifyOption = False,
    as_json: JsonFlag = False,
) -> None:
    """Judge whether the second sentence follows the first."""
    from bertedge.runtime import load

    runtime = load(bundle, engine=engine, threads=threads, check=not no_verify, allow_any_cpu=allow_any_cpu)
    probability = runtime.next_sentence(first, second)
    if as_json:
        print_json({"is_next": probability})
        return
    verdict, share = ("follows", probability) if probability >= 0.5 else ("does not follow", 1 - probability)
    stdout.print(f"{share:8.4f}  {verdict}")
