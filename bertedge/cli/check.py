"""``bertedge verify``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bertedge.cli.console import print_json, stdout
from bertedge.cli.emulation import verify_on_other_cpus
from bertedge.cli.options import AnyCpuOption, BundleArgument, EngineOption, JsonFlag, ThreadsOption
from bertedge.emulate.cpus import CPUS, SIMULATED
from bertedge.engines import AUTO
from bertedge.errors import CheckFailed, UsageError
from bertedge.printable import at_least

if TYPE_CHECKING:
    from bertedge.runtime import BertRuntime

#: Few texts, because an emulated CPU is slow.
FEW_EXAMPLES = 16


def verify(
    bundle: BundleArgument,
    on: Annotated[
        str | None,
        typer.Option(help=f"Emulate these CPUs, separated by commas: {', '.join(CPUS)}.", show_default=False),
    ] = None,
    simulate: Annotated[
        str | None,
        typer.Option(
            help=f"Imitate in numpy a target that adds two products in 16 bits: {', '.join(SIMULATED)}.",
            show_default=False,
        ),
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(
            help="With --on or --simulate: the float model, to measure fidelity on those CPUs.", show_default=False
        ),
    ] = None,
    corpus: Annotated[
        Path | None,
        typer.Option(help="With --reference: text to measure on; default: the built-in text."),
    ] = None,
    examples: Annotated[
        int | None,
        typer.Option(min=1, help="With --reference: sentence pairs to measure on.", show_default=str(FEW_EXAMPLES)),
    ] = None,
    engine: EngineOption = AUTO,
    threads: ThreadsOption = None,
    allow_any_cpu: AnyCpuOption = False,
    as_json: JsonFlag = False,
) -> None:
    """Check a bundle's files, and compute its golden vectors again on this CPU or on others."""
    from bertedge.runtime import load

    for option, given in (("--corpus", corpus), ("--examples", examples)):
        if reference is None and given is not None:
            raise UsageError(f"verify: {option} needs the float model", "name it with --reference MODEL")
    if on is not None or simulate is not None:
        for option, is_given in (
            ("--allow-any-cpu", allow_any_cpu),
            ("--threads", threads is not None),
            ("--engine", engine != AUTO),
        ):
            if is_given:
                raise UsageError(f"verify: {option} is for this CPU", "leave it out, or leave out --on and --simulate")
        return verify_on_other_cpus(bundle, on, simulate, reference, corpus, examples or FEW_EXAMPLES, as_json)
    if reference is not None:
        raise UsageError(
            "verify: --reference is for other CPUs", "add --on or --simulate; on this CPU use: bertedge bench"
        )
    _verify_here(load(bundle, engine=engine, threads=threads, allow_any_cpu=allow_any_cpu), as_json)


def _verify_here(runtime: BertRuntime, as_json: bool) -> None:
    from bertedge.runtime.golden import verify as replay

    result = replay(runtime)
    if as_json:
        print_json(result)
    else:
        stdout.print(f"files            as in the manifest\ngolden examples  {result.examples}")
        stdout.print(f"engine           {runtime.engine.name}: {runtime.engine.describe()}")
        stdout.print(f"CPU              {runtime.bundle.manifest.fit_here(runtime.engine.weight_range)}")
        for line in _replayed(result):
            stdout.print(line)
        stdout.print("verified" if result.passed else "FAILED")
    if not result.passed:
        raise CheckFailed(
            f"{runtime.bundle.folder}: results differ from those on the machine that made it: {result.differences}",
            "quantize again on this machine, or with --target portable",
        )


def _replayed(result: Any) -> list[str]:
    """The result of the golden vectors, as lines of text."""
    vectors = f"vectors have a cosine of {at_least(result.min_cosine_to_float)} or more"
    lines = [f"vectors          differ by {result.max_state_diff:.2g} at most (rounding: {result.state_tolerance:.2g})"]
    if result.max_prob_diff is None:
        return [
            "probabilities    not measured: no head of the model gives probabilities",
            *lines,
            f"from float       {vectors}",
        ]
    difference = result.max_prob_diff_to_float
    to_float = "" if difference is None else f"probabilities differ by {difference:.2g} at most, "
    return [
        f"best answers     {result.words}",
        f"probabilities    differ by {result.max_prob_diff:.2g} at most (rounding: {result.tolerance:.2g})",
        *lines,
        f"from float       {to_float}{vectors}",
    ]
