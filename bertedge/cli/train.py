"""``bertedge train`` and ``bertedge distill``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from bertedge.cli.console import note, progress_bar
from bertedge.cli.options import ForceOption, library


class Dtype(StrEnum):
    """Types that a checkpoint may be stored in."""

    float32 = "float32"
    float16 = "float16"


CorpusArgument = Annotated[Path, typer.Argument(help="Text: one sentence a line, a blank line between documents.")]
OutputOption = Annotated[Path, typer.Option("--output", "-o", help="Where the checkpoint is written.")]
LayersOption = Annotated[int, typer.Option(min=1, help="Encoder blocks.")]
HiddenOption = Annotated[int, typer.Option(min=1, help="Width of the model.")]
HeadsOption = Annotated[
    int | None, typer.Option(min=1, help="Attention heads; default: one for every 32 or 64 of the width.")
]
StepsOption = Annotated[int | None, typer.Option(min=1, help="Stop after so many steps.")]
MinutesOption = Annotated[float | None, typer.Option(help="Stop after so many minutes. [default: 10, without --steps]")]
BatchOption = Annotated[int, typer.Option(min=1, help="Pairs in a step.")]
LengthOption = Annotated[int, typer.Option(min=8, help="Tokens in a pair.")]
RateOption = Annotated[float, typer.Option(help="Peak learning rate.")]
SeedOption = Annotated[int, typer.Option(help="Seed of weights, pairs and masks.")]

DtypeOption = Annotated[Dtype, typer.Option(help="How the weights are stored.")]


def train(
    corpus: CorpusArgument,
    output: OutputOption,
    init: Annotated[str | None, typer.Option(help="Go on from this checkpoint.")] = None,
    layers: LayersOption = 4,
    hidden: HiddenOption = 256,
    heads: HeadsOption = None,
    vocab_size: Annotated[int, typer.Option(min=100, help="Pieces in a new vocabulary.")] = 30522,
    steps: StepsOption = None,
    minutes: MinutesOption = None,
    batch_size: BatchOption = 32,
    max_length: LengthOption = 128,
    learning_rate: RateOption = 5e-4,
    seed: SeedOption = 0,
    dtype: DtypeOption = Dtype.float32,
    force: ForceOption = False,
) -> None:
    """Pretrain a BERT on plain text: masked words and next sentences."""
    run = library("bertedge.train.run", "train")
    settings = _settings(run, steps, minutes, batch_size, max_length, learning_rate, seed)
    shape = run.ModelShape(layers=layers, hidden=hidden, heads=heads, vocab_size=vocab_size)
    with _listener("training") as listen:
        done = run.train(
            corpus, output, settings, shape=shape, init=init, dtype=dtype.value, force=force, on_step=listen
        )
    _report(output, done)


def distill(
    teacher: Annotated[str, typer.Argument(help="The checkpoint to imitate: a folder, a hub id or a built-in name.")],
    corpus: CorpusArgument,
    output: OutputOption,
    layers: LayersOption = 4,
    hidden: HiddenOption = 256,
    heads: HeadsOption = None,
    steps: StepsOption = None,
    minutes: MinutesOption = None,
    batch_size: BatchOption = 32,
    max_length: LengthOption = 128,
    learning_rate: RateOption = 1e-3,
    seed: SeedOption = 0,
    dtype: DtypeOption = Dtype.float32,
    force: ForceOption = False,
) -> None:
    """Make a smaller BERT that imitates a larger one."""
    run = library("bertedge.train.run", "train")
    settings = _settings(run, steps, minutes, batch_size, max_length, learning_rate, seed)
    shape = run.ModelShape(layers=layers, hidden=hidden, heads=heads)
    with _listener("distilling") as listen:
        done = run.distill(
            teacher, corpus, output, settings, shape=shape, dtype=dtype.value, force=force, on_step=listen
        )
    _report(output, done)


def _settings(
    run: Any,
    steps: int | None,
    minutes: float | None,
    batch_size: int,
    max_length: int,
    learning_rate: float,
    seed: int,
) -> Any:
    return run.TrainingSettings(
        steps=steps,
        minutes=10.0 if steps is None and minutes is None else minutes,
        batch_size=batch_size,
        max_length=max_length,
        learning_rate=learning_rate,
        seed=seed,
    )


@contextmanager
def _listener(label: str) -> Iterator[Callable[[Any], None]]:
    """A live line with loss, accuracies and speed; where there is no terminal, a line every hundred steps."""
    with progress_bar(label) as show:

        def listen(progress: Any) -> None:
            line = _line(progress)
            show(progress.share_done, line)
            if progress.step % 100 == 0:
                note(f"{label}: {progress.share_done:.0%} {line}")

        yield listen


def _line(progress: Any) -> str:
    return (
        f"step {progress.step} loss {progress.loss:.3f} "
        f"mlm {progress.mlm_accuracy:.3f} nsp {progress.nsp_accuracy:.3f} "
        f"{progress.tokens / max(progress.elapsed_s, 1e-9):.0f} tokens/s"
    )


def _report(output: Path, done: Any) -> None:
    note(f"{output}: written after {_line(done)}")
