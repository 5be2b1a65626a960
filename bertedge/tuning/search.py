"""The search: makes and measures candidates one by one. Results stay on the disk, so a search can be resumed."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bertedge.checkpoint import Checkpoint, open_checkpoint
from bertedge.data.calibration import default_text
from bertedge.data.text_files import text_sha256
from bertedge.engines.onnxruntime.cpu_check import require_correct_here
from bertedge.errors import FileError, UsageError
from bertedge.evaluate.goals import Goal, goals_in_words, require_measurable
from bertedge.evaluate.machine_record import this_machine
from bertedge.files import alone_in
from bertedge.layers import Role, planned_layers
from bertedge.progress import Listener, no_progress
from bertedge.quantization.promote import HELD_OUT
from bertedge.recipe import QuantizationRecipe, matching, require_examples
from bertedge.scratch import settle_inside, temporary_folder
from bertedge.target import resolve_target
from bertedge.tuning.candidates import listed
from bertedge.tuning.choice import finalists, loss_metric
from bertedge.tuning.measured import Entry, Records
from bertedge.tuning.outcome import BEST, CANDIDATES, PARETO, PICTURE, Tuned, write_outcome
from bertedge.tuning.rounds import Rounds
from bertedge.tuning.tuning_settings import TuneSettings
from bertedge.tuning.workbench import Workbench

#: Rounds of timing for the finalists.
FINAL_ROUNDS = 25
_log = logging.getLogger(__name__)
Note = Callable[[str], None]


def tune(
    models: Sequence[str | Path],
    output: str | Path,
    *,
    goals: Collection[Goal],
    settings: TuneSettings | None = None,
    cased: bool | None = None,
    force: bool = False,
    listen: Listener = no_progress,
    note: Note = _log.info,
) -> Tuned:
    """Search for the fastest bundle that meets the goals.

    Each candidate is made, measured and saved in ``output/candidates`` before the next. The same call resumes an
    interrupted search. At the end the best candidates are timed together, and ``best``, ``pareto.json`` and
    ``pareto.svg`` are written.

    Args:
        models: checkpoints; the first is the reference for hits; the others may be its students.
        goals: at least one.
        cased: whether the models' tokenizers keep capital letters; default: what their files say.
        force: discard the results of an earlier search in ``output``.
        note: called with a line about every candidate; default: bertedge's logger.

    Raises:
        UnfitMachineError: the target's bundles are not correct on this CPU.
        UsageError: no goal, goals that cannot be measured, patterns that name no layer, models of different
            vocabularies.
        BertEdgeError: a model or a text cannot be read, ``output`` holds something else.
    """
    settings, output = settings or TuneSettings(), Path(output)
    if not goals:
        raise UsageError("tune: no goal is given", f"for instance {Goal(option='max_mlm_drop', bound=0.005).example}")
    require_correct_here(resolve_target(settings.target).name)  # the candidates run on this machine
    checkpoints = [open_checkpoint(model, cased=cased) for model in models]
    for checkpoint in checkpoints:
        _require_recipes(checkpoint, settings)
    with temporary_folder() as scratch:
        bench = Workbench(checkpoints, settings, scratch, listen)
        for checkpoint in checkpoints:
            require_measurable(goals, checkpoint.parts, bench.text.why_not, checkpoint.name)
        with alone_in(output, "searching"):
            _prepare(output, force=force)
            return _search(output, bench, goals, note)


def _require_recipes(checkpoint: Checkpoint, settings: TuneSettings) -> None:
    """Refuse recipes that a model cannot have now, not after hours of searching.

    Raises:
        UsageError: a pattern names no layer, or a recipe calibrates with too many texts.
    """
    layers = [layer.name for layer in planned_layers(checkpoint.parts.layers(checkpoint.config))]
    matching("exclude", settings.exclude, layers)
    for recipe in (settings.recipes or {}).values():
        require_examples(getattr(recipe.method, "examples", 1))
        matching("exclude", recipe.exclude, layers)
        matching("float16", recipe.float16, layers)
        matching("finer", getattr(recipe.method, "finer", ()), layers)


def _search(output: Path, bench: Workbench, goals: Collection[Goal], note: Note) -> Tuned:
    settings, checkpoints = bench.settings, bench.checkpoints
    conditions = conditions_of(settings, checkpoints)
    work = [work_of(checkpoint, settings.length) for checkpoint in checkpoints]
    cheapest_first = sorted(enumerate(prefixes_of(checkpoints)), key=lambda pair: work[pair[0]])
    base = QuantizationRecipe(exclude=settings.exclude, held_out=0.0 if settings.corpus else HELD_OUT)

    def tell(entry: Entry, new: bool) -> None:
        if new:
            write_outcome(output, conditions, rounds.entries, goals)
        note(f"{len(rounds.entries)}: {_line(entry, goals)}{'' if new else ' (measured before)'}")

    rounds = Rounds(bench, Records(output / CANDIDATES, conditions), goals, work, tell)
    complete = rounds.try_all(listed(cheapest_first, base, settings.recipes))
    timed = _time_together(finalists(rounds.entries, goals), output / CANDIDATES, bench)
    return write_outcome(output, conditions, rounds.entries, goals, timed=timed, complete=complete)


def _prepare(output: Path, *, force: bool) -> None:
    """Create the folder of a search, or remove incomplete files of an earlier search.

    Raises:
        FileError: the folder has other content.
    """
    settle_inside(output)
    settle_inside(output / CANDIDATES)
    if output.exists() and not output.is_dir():
        raise FileError(f"{output}: is a file", "choose another name for --output")
    if output.is_dir() and any(output.iterdir()) and not (output / CANDIDATES).is_dir():
        raise FileError(
            f"{output}: is not empty, and is not the folder of a search", "choose another name for --output"
        )
    if force:
        for name in (CANDIDATES, BEST):
            shutil.rmtree(output / name, ignore_errors=True)
        for name in (PARETO, PICTURE):
            (output / name).unlink(missing_ok=True)
    (output / CANDIDATES).mkdir(parents=True, exist_ok=True)


def _time_together(entries: Sequence[Entry], folder: Path, bench: Workbench) -> list[Entry]:
    """The candidates with new latencies, all measured in one run."""
    runs = [(folder / entry.folder, timed.threads) for entry in entries for timed in entry.latency]
    bench.listen(0.9, f"timing {len(entries)} finalists together")
    times = iter(bench.time(runs, rounds=FINAL_ROUNDS))
    return [
        replace(entry, latency=tuple(sorted((next(times) for _ in entry.latency), key=lambda t: t.p95_ms)))
        for entry in entries
    ]


def _line(entry: Entry, goals: Collection[Goal]) -> str:
    """The results of a candidate in one line."""
    metrics = dict.fromkeys([*(goal.kind.metric for goal in goals), loss_metric(entry)])
    values = [f"{m} {entry.measured[m].value:.4g}" for m in metrics if m in entry.measured]
    return f"{entry.name}: {', '.join(values)}: {goals_in_words(goals, entry.measured)}"


def conditions_of(settings: TuneSettings, checkpoints: Sequence[Checkpoint]) -> dict[str, Any]:
    """Everything except the recipe that the measurements of a search depend on."""
    machine = this_machine()
    return {
        "models": [f"{checkpoint.name} {checkpoint.model_sha256}" for checkpoint in checkpoints],
        "target": resolve_target(settings.target).name,
        "calibration_sha256": text_sha256(Path(settings.calibration or default_text())),
        "corpus_sha256": text_sha256(Path(settings.corpus)) if settings.corpus else None,
        "columns": list(settings.columns),
        **{name: getattr(settings, name) for name in ("examples", "seed", "batch_size", "length")},
        "threads": list(settings.numbers),
        "machine": f"{machine.cpu}, {machine.target}",
        "versions": f"bertedge {machine.bertedge}, onnxruntime {machine.onnxruntime}, numpy {machine.numpy}",
    }


def prefixes_of(checkpoints: Sequence[Checkpoint]) -> list[str]:
    """The prefix of candidates' names for each model: empty for a single model, otherwise its name, made unique."""
    if len(checkpoints) == 1:
        return [""]
    names = [checkpoint.name for checkpoint in checkpoints]
    if len(set(names)) < len(names):
        return [f"{index + 1} {name} " for index, name in enumerate(names)]
    return [f"{name} " for name in names]


def work_of(checkpoint: Checkpoint, tokens: int) -> float:
    """Approximate multiply-accumulates for a text: the blocks, and the decoder at 15 % of the positions."""
    config = checkpoint.config
    masked = [layer for layer in checkpoint.parts.layers(config) if layer.role == Role.DECODER]
    decoder = sum(layer.inputs * layer.outputs for layer in masked)
    return tokens * (config.block_macs + 0.15 * decoder)
