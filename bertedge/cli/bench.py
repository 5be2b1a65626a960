"""``bertedge bench``."""

from __future__ import annotations

import shlex
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from bertedge.cli.added_options import Command, added
from bertedge.cli.console import note, progress_bar, stdout
from bertedge.cli.judging import Gate, judging_options
from bertedge.cli.options import (
    CasedOption,
    ColumnOption,
    ThreadsOption,
    folders,
    library,
    require_column_has_file,
)
from bertedge.engines import AUTO, ENGINES
from bertedge.errors import UsageError

#: Seconds to measure latency over all workloads: without a verdict, and at most to decide a verdict.
MEASURING_S, JUDGING_S = 45.0, 120.0
DataOption = Annotated[
    Path | None,
    typer.Option(
        help="Texts of the model's task to compare on, with or without labels: .csv, .tsv, .jsonl, .conll or .txt.",
        show_default=False,
    ),
]
ROUNDS, MAX_ROUNDS, EXAMPLES, OWN_EXAMPLES = 24, 400, 256, 5000
BundlesArgument = Annotated[
    list[str],
    typer.Argument(
        help="Bundles to measure: folders, or OWNER/NAME on the hub.", autocompletion=folders, show_default=False
    ),
]
AgainstOption = Annotated[
    str | None,
    typer.Option(
        help="An earlier bundle to judge by, measured in the same rounds.",
        metavar="BUNDLE",
        autocompletion=folders,
        show_default=False,
    ),
]
#: Options for how much to measure.
MEASURING: dict[str, Any] = {
    "examples": Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Sentence pairs, or single texts, to compare on; fewer if the text has fewer.",
            show_default=f"{EXAMPLES}; with --data all, up to {OWN_EXAMPLES}",
        ),
    ],
    "rounds": Annotated[
        int | None,
        typer.Option(min=2, help="The least timed rounds of each workload.", show_default=f"{ROUNDS}, or --max-rounds"),
    ],
    "max_rounds": Annotated[
        int | None,
        typer.Option(
            min=2, help="The most rounds, added while times are not precise enough.", show_default=str(MAX_ROUNDS)
        ),
    ],
    "seconds": Annotated[
        float | None,
        typer.Option(
            min=0,
            help="No rounds are added that would end after this time.",
            show_default=f"{MEASURING_S:g}; {JUDGING_S:g} for a verdict",
        ),
    ],
    "lengths": Annotated[
        str | None,
        typer.Option(help="Workloads as BATCHxTOKENS, separated by commas.", show_default="1x16,1x64,1x128,8x64"),
    ],
    "engine": Annotated[
        list[str] | None,
        typer.Option(
            help=f"Engine that runs the candidates: {', '.join(ENGINES)}; may be repeated, to compare engines.",
            metavar="ENGINE",
            show_default=AUTO,
        ),
    ],
    "threads": ThreadsOption,
    "seed": Annotated[int | None, typer.Option(min=0, help="Seed of the texts and masks.", show_default="0")],
}


def measuring_options(command: Command) -> Command:
    """Add the options of measuring to a command that takes ``measuring``: name -> value of the given options."""
    return added(MEASURING, "measuring", lambda given: {k: v for k, v in given.items() if v is not None})(command)


@judging_options
@measuring_options
def bench(
    candidates: BundlesArgument,
    reference: Annotated[
        str,
        typer.Option("--reference", "-r", help="The float model: a checkpoint or a float bundle.", show_default=False),
    ],
    measuring: dict[str, Any],
    judging: dict[str, Any],
    corpus: Annotated[
        Path | None, typer.Option(help="Running text to compare on; default: the built-in text.", show_default=False)
    ] = None,
    data: DataOption = None,
    column: ColumnOption = None,
    cased: CasedOption = None,
    baseline: Annotated[Path | None, typer.Option(help="An earlier report to judge by.", show_default=False)] = None,
    against: AgainstOption = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the report as JSON.", show_default=False)
    ] = None,
) -> None:
    """Measure size, start, latency and fidelity of bundles against their float model, and judge them by a baseline."""
    benchmark = library("bertedge.benchmark", "tools")
    from bertedge.report.gate import interrupted

    require_column_has_file(column, data, "--data")
    gate = Gate(inputs={"--corpus": corpus, "--data": data}, baseline_file=baseline, json=json_file, **judging)
    judges = baseline or against
    for option, given in (("--strict", gate.strict), ("--budgets", gate.budgets_file), ("--junit", gate.junit)):
        if given and not judges:
            raise UsageError(f"{option}: there is nothing to judge by", "give --baseline FILE or --against BUNDLE")
    settings = _settings(measuring, JUDGING_S if judges else MEASURING_S)
    earlier = gate.baseline()
    standard = benchmark.Standard(baseline=None if gate.update else earlier, against=against, budgets=gate.budgets())
    gate.require_writable()
    with progress_bar("measuring") as listen:
        report = benchmark.bench(
            candidates,
            reference=reference,
            corpus=corpus,
            data=data,
            columns=column or (),
            cased=cased,
            settings=settings,
            standard=standard,
            listen=listen,
            keep=lambda report: gate.write(replace(report, run=this_run()), interrupted(report)),
        )
    asked = measuring.get("examples", 0)
    if report.corpus.examples < asked:
        note(f"{report.corpus.name}: has {report.corpus.examples} texts to compare on, fewer than {asked}")
    _conclude(gate, replace(report, run=this_run()), earlier)


def _settings(measuring: dict[str, Any], seconds: float) -> Any:
    """The settings of a run.

    Args:
        seconds: how long latency is measured by default.
    """
    from bertedge.benchmark import BenchSettings
    from bertedge.evaluate.study import Effort

    options = dict(measuring)
    rounds, most = options.pop("rounds", None), options.pop("max_rounds", None)
    options["effort"] = Effort(
        rounds=rounds or min(ROUNDS, most or ROUNDS),
        max_rounds=most or max(MAX_ROUNDS, rounds or 0),
        seconds=options.pop("seconds", seconds),
    )
    if "lengths" in options:
        options["grid"] = parse_grid(options.pop("lengths"))
    if engines := options.pop("engine", None):
        options["engines"] = tuple(dict.fromkeys(engines))
    return BenchSettings(**options)


def _conclude(gate: Gate, report: Any, baseline: Any) -> None:
    """Judge the report. If it cannot be judged, still write it, because measuring took minutes."""
    from bertedge.report.gate import judge
    from bertedge.report.render import rich_report

    try:
        baseline = gate.judgeable(report, baseline)
        verdicts = judge(report, baseline, gate.budgets()) if baseline or report.against else ()
    except Exception:
        gate.write(report, ())
        raise
    gate.conclude(report, verdicts, lambda: stdout.print(rich_report(report, verdicts, width=stdout.width)))


def this_run() -> Any:
    """The command as it was typed, and the time."""
    from bertedge.report.schema import Run

    return Run(command=shlex.join(["bertedge", *sys.argv[1:]]), ended=datetime.now(UTC).isoformat(timespec="seconds"))


def parse_grid(text: str) -> tuple:
    """``1x16,8x64`` -> workloads, each once.

    Raises:
        UsageError: the text has another form.
    """
    from bertedge.evaluate.latency import Workload

    try:
        sizes = [tuple(int(number) for number in part.split("x")) for part in text.split(",")]
        grid = tuple(Workload(batch_size=batch_size, seq_len=seq_len) for batch_size, seq_len in dict.fromkeys(sizes))
    except ValueError as error:
        raise UsageError(
            f"--lengths {text!r} is not a list of BATCHxTOKENS", "for instance --lengths 1x16,1x128,8x64"
        ) from error
    if any(workload.batch_size < 1 or workload.seq_len < 3 for workload in grid):
        raise UsageError(f"--lengths {text!r}: at least 1 text of 3 tokens", "for instance --lengths 1x16,1x128,8x64")
    return grid
