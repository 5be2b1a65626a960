"""``bertedge verify --on`` and ``--simulate``, and ``bertedge emulator-setup``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bertedge.cli.console import at_least, note, print_json, progress_bar, stdout
from bertedge.cli.options import ForceOption, library
from bertedge.emulate.cpus import ARCHITECTURES, emulated_cpu
from bertedge.errors import CheckFailed, UsageError, nearest
from bertedge.heads import MAIN_FIRST
from bertedge.records import to_json
from bertedge.report.terminal import terminal_table, without

if TYPE_CHECKING:
    from bertedge.emulate.elsewhere import Finding

ALL = "all"
#: Metrics of the table; JSON has all of them.
SHOWN = {metric: title for head in MAIN_FIRST for metric, title in head.columns.items()}


def emulator_setup(
    arch: Annotated[str, typer.Option(help=f"Which CPUs to emulate: {', '.join(ARCHITECTURES)}, or {ALL}.")] = ALL,
    apt_sources: Annotated[
        Path | None,
        typer.Option(
            help="A list of apt sources to take in place of this machine's, where those lack an architecture.",
            exists=True,
            dir_okay=False,
            show_default=False,
        ),
    ] = None,
    force: ForceOption = False,
) -> None:
    """Fetch what 'verify --on' runs, by apt and pip into the cache: Python and the runtime's wheels for other CPUs."""
    from bertedge.emulate.machine import find_qemu
    from bertedge.emulate.setup import set_up
    from bertedge.emulate.sysroot import LOCK, default_folder

    if arch not in (ALL, *ARCHITECTURES):
        raise UsageError(f"architecture {arch!r} cannot be emulated", nearest(arch, [ALL, *ARCHITECTURES]))
    for name in ARCHITECTURES if arch == ALL else [arch]:
        find_qemu(name)  # it would be a pity to fetch for nothing
        folder = default_folder(name)
        if arch == ALL and not force and (folder / LOCK).is_file():
            note(f"{folder}: is there already; fetch it again with --force")
            continue
        with progress_bar(name) as listen:
            lock = set_up(name, folder, sources=apt_sources, force=force, listen=listen)
        stdout.print(f"{folder}: Python {lock.python}, {len(lock.packages)} packages, every file hashed")


def verify_elsewhere(
    bundle: Path,
    on: str | None,
    simulate: str | None,
    reference: str | None,
    corpus: Path | None,
    examples: int,
    as_json: bool,
) -> None:
    """The other half of ``verify``.

    Raises:
        CheckFailed: the bundle is not right on one of the CPUs.
    """
    with progress_bar(bundle.name) as listen:
        findings = _find_out(bundle, on, simulate, reference, corpus, examples, listen)
    if as_json:
        print_json([{**to_json(finding), "good": finding.good} for finding in findings])
    else:
        _show(findings)
    bad = [finding.cpu for finding in findings if finding.judged and not finding.good]
    if bad:
        raise CheckFailed(
            f"{bundle}: is not what it was where it was made, or is refused, on {'; '.join(bad)}",
            "quantize again with --target portable",
        )


def _find_out(
    bundle: Path,
    on: str | None,
    simulate: str | None,
    reference: str | None,
    corpus: Path | None,
    examples: int,
    listen: Any,
) -> list[Finding]:
    from bertedge.emulate import elsewhere
    from bertedge.runtime import load

    names = dict.fromkeys(name.strip() for name in (on or "").split(",") if name.strip())
    if on is not None and not names:
        raise UsageError("verify: --on names no CPU", "for example: --on cortex-a72,haswell")
    cpus = [emulated_cpu(name) for name in names]
    simulated = (
        library("bertedge.emulate.simulate", "tools").simulated(bundle, simulate) if simulate is not None else None
    )
    here = load(bundle, allow_any_cpu=True)  # whatever is wrong with it is said before anything is emulated
    machines = elsewhere.open_machines(cpus)
    findings = []
    sample = None
    if reference is not None:
        listen(0.0, "the float model")
        sample = library("bertedge.emulate.sample", "tools").draw_sample(here, reference, corpus, examples)
        findings.append(elsewhere.find_out_here(here, sample))
    if simulated is not None and simulate is not None:
        listen(0.0, f"{simulate}, simulated")
        findings.append(elsewhere.find_out_simulated(simulated, simulate, sample))
    return [*findings, *elsewhere.find_out_emulated(machines, bundle, sample, listen)]


def _show(findings: list[Finding]) -> None:
    metrics = {name: title for name, title in SHOWN.items() if any(name in finding.fidelity for finding in findings)}
    counted = any(finding.saturation for finding in findings)
    head = ["CPU", "target there", "loader", "best words", "differs by", "rounding", "from float", "cosine"]
    rows = [[*head, *(["sums cut"] if counted else []), *metrics.values(), "verdict"]]
    for finding in findings:
        seen = finding.verification
        cells = [
            finding.cpu,
            finding.target,
            "refuses it" if finding.refusal else "-" if finding.saturation else "takes it",
            seen.words,
            *(
                (f"{seen.max_state_diff:.2g}", f"{seen.state_tolerance:.2g}")
                if seen.max_prob_diff is None
                else (f"{seen.max_prob_diff:.2g}", f"{seen.tolerance:.2g}")
            ),
            "-" if seen.max_prob_diff_to_float is None else f"{seen.max_prob_diff_to_float:.2g}",
            at_least(seen.min_cosine_to_float),
        ]
        if counted:
            cut = finding.all_saturation
            cells.append(f"{100 * cut.wrong_sums / cut.sums:.2f} %" if cut.sums else "-")
        cells += [f"{finding.fidelity[name].value:.4g}" if name in finding.fidelity else "-" for name in metrics]
        rows.append([*cells, "good" if finding.good else "BAD"])
    stdout.print(terminal_table("", [rows, without(rows, "target there", "loader")], width=stdout.width))
    stdout.print(
        "Probabilities: by how much they differ from where it was made, what rounding explains of that, from float."
    )
    for finding in findings:
        if finding.refusal:
            stdout.print(f"{finding.cpu}: {finding.refusal}")
        worst = sorted(finding.saturation.items(), key=lambda item: -item[1].wrong_sums)[:5]
        for layer, cut in worst:
            if cut.wrong_sums:
                stdout.print(
                    f"{finding.cpu}: {layer}: {100 * cut.wrong_sums / cut.sums:.2f} % of the sums are cut somewhere, "
                    f"{100 * cut.cut_pairs / cut.pairs:.3f} % of the pairs"
                )
