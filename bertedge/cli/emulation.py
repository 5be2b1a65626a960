"""``bertedge verify --on`` and ``--simulate``, and ``bertedge emulator-setup``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bertedge.bundle_folder import locate_bundle
from bertedge.cli.console import note, print_json, progress_bar, stdout
from bertedge.cli.options import ForceOption, library
from bertedge.emulate.cpus import ARCHITECTURES, emulated_cpu
from bertedge.errors import CheckFailed, UsageError, nearest
from bertedge.heads import MAIN_FIRST
from bertedge.printable import at_least
from bertedge.progress import Listener
from bertedge.records import to_json
from bertedge.report.terminal import terminal_table, without

if TYPE_CHECKING:
    from bertedge.emulate.findings import Finding

ALL = "all"
#: Metrics of the table; JSON has all of them.
SHOWN = {metric: title for head in MAIN_FIRST for metric, title in head.columns.items()}


def emulator_setup(
    arch: Annotated[str, typer.Option(help=f"Which CPUs to emulate: {', '.join(ARCHITECTURES)}, or {ALL}.")] = ALL,
    apt_sources: Annotated[
        Path | None,
        typer.Option(
            help="A list of apt sources; needed if the sources of this machine lack an architecture.",
            exists=True,
            dir_okay=False,
            show_default=False,
        ),
    ] = None,
    force: ForceOption = False,
) -> None:
    """Fetch Python and the runtime for other CPUs, which 'verify --on' needs, with apt and pip into the cache."""
    from bertedge.emulate.emulated_machine import find_qemu
    from bertedge.emulate.emulated_system import LOCK, default_folder
    from bertedge.emulate.setup import set_up

    if arch not in (ALL, *ARCHITECTURES):
        raise UsageError(f"architecture {arch!r} cannot be emulated", nearest(arch, [ALL, *ARCHITECTURES]))
    for name in ARCHITECTURES if arch == ALL else [arch]:
        find_qemu(name)  # before anything is fetched: the emulator may be missing
        folder = default_folder(name)
        if arch == ALL and not force and (folder / LOCK).is_file():
            note(f"{folder}: exists already; --force fetches it again")
            continue
        with progress_bar(name) as listen:
            lock = set_up(name, folder, sources=apt_sources, force=force, listen=listen)
        stdout.print(f"{folder}: Python {lock.python}, {len(lock.packages)} packages, every file hashed")


def verify_on_other_cpus(
    named: str,
    on: str | None,
    simulate: str | None,
    reference: str | None,
    corpus: Path | None,
    examples: int,
    as_json: bool,
) -> None:
    """``bertedge verify --on`` and ``--simulate``.

    Raises:
        CheckFailed: the bundle is wrong or refused on one of the CPUs.
    """
    bundle = locate_bundle(named)
    with progress_bar(bundle.name) as listen:
        found = _findings(bundle, on, simulate, reference, corpus, examples, listen)
    if as_json:
        print_json([{**to_json(finding), "good": finding.good} for finding in found])
    else:
        _show(found)
    bad = [f"{finding.cpu} ({finding.engine})" for finding in found if finding.judged and not finding.good]
    if bad:
        raise CheckFailed(
            f"{bundle}: differs from the machine that made it, or is refused, on {'; '.join(bad)}",
            "quantize again with --target portable",
        )


def _findings(
    bundle: Path,
    on: str | None,
    simulate: str | None,
    reference: str | None,
    corpus: Path | None,
    examples: int,
    listen: Listener,
) -> list[Finding]:
    from bertedge.emulate import findings
    from bertedge.runtime import load

    names = dict.fromkeys(name.strip() for name in (on or "").split(",") if name.strip())
    if on is not None and not names:
        raise UsageError("verify: --on names no CPU", "for example: --on cortex-a72,haswell")
    cpus = [emulated_cpu(name) for name in names]
    model: Any = None
    if simulate is not None:
        model = library("bertedge.emulate.simulate", "tools").simulate(bundle, simulate)
    here = load(bundle, allow_any_cpu=True)  # so that errors of the bundle are reported before emulation starts
    machines = findings.open_machines(cpus)
    found, sample = [], None
    if reference is not None:
        listen(0.0, "the float model")
        sample = library("bertedge.emulate.sample", "tools").draw_sample(here, reference, corpus, examples)
        found.append(findings.on_this_machine(here, sample))
    if simulate is not None:
        listen(0.0, f"{simulate}, simulated")
        found.append(findings.simulated(model, simulate, sample))
    return [*found, *findings.emulated(machines, bundle, sample, listen)]


def _show(findings: list[Finding]) -> None:
    """Print a table of all CPUs, a line for each refusal, and a line for each layer with many saturated sums."""
    metrics = {name: title for name, title in SHOWN.items() if any(name in finding.fidelity for finding in findings)}
    counted = any(finding.saturation for finding in findings)
    head = ["CPU", "engine", "target there", "loader", "best answers", "differs by", "rounding", "from float", "cosine"]
    rows = [[*head, *(["sums cut"] if counted else []), *metrics.values(), "verdict"]]
    rows += [_cells(finding, list(metrics), counted=counted) for finding in findings]
    stdout.print(terminal_table("", [rows, without(rows, "target there", "loader")], width=stdout.width))
    stdout.print(
        "Differences of probabilities: from the machine that made the bundle, allowed for rounding, and from float."
    )
    for finding in findings:
        if finding.refusal:
            stdout.print(f"{finding.cpu}, {finding.engine}: {finding.refusal}")
        worst = sorted(finding.saturation.items(), key=lambda item: -item[1].wrong_sums)[:5]
        for layer, cut in worst:
            if cut.wrong_sums:
                stdout.print(
                    f"{finding.cpu}: {layer}: {100 * cut.wrong_sums / cut.sums:.2f} % of the sums saturate, "
                    f"{100 * cut.cut_pairs / cut.pairs:.3f} % of the pairs"
                )


def _cells(finding: Finding, metrics: list[str], *, counted: bool) -> list[str]:
    seen, cut = finding.verification, finding.all_saturation
    difference, tolerance = seen.max_prob_diff, seen.tolerance
    if difference is None:  # a model without probabilities
        difference, tolerance = seen.max_state_diff, seen.state_tolerance
    return [
        finding.cpu,
        finding.engine,
        finding.target,
        "refuses it" if finding.refusal else "-" if finding.saturation else "takes it",
        seen.words,
        f"{difference:.2g}",
        f"{tolerance:.2g}",
        "-" if seen.max_prob_diff_to_float is None else f"{seen.max_prob_diff_to_float:.2g}",
        at_least(seen.min_cosine_to_float),
        *([f"{100 * cut.wrong_sums / cut.sums:.2f} %" if cut.sums else "-"] if counted else []),
        *(f"{finding.fidelity[name].value:.4g}" if name in finding.fidelity else "-" for name in metrics),
        "good" if finding.good else "BAD",
    ]
