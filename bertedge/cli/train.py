"""``bertedge train`` and ``bertedge distill``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from bertedge.cli.options import CasedOption, ForceOption, library
from bertedge.cli.training import run_training


class Dtype(StrEnum):
    """Types that a checkpoint may be stored in."""

    float32 = "float32"
    float16 = "float16"


class Head(StrEnum):
    """Heads that can be trained."""

    mlm = "mlm"
    nsp = "nsp"


class Precision(StrEnum):
    """Types that a step may be computed in."""

    auto = "auto"
    float32 = "float32"
    bfloat16 = "bfloat16"


BUDGET, MODEL, LEARNING, KEEPING = "Budget (one of them)", "Model", "Learning", "Keeping"
CorpusArgument = Annotated[Path, typer.Argument(help="Text: one sentence a line, a blank line between documents.")]
OutputOption = Annotated[
    Path,
    typer.Option(
        "--output", "-o", help="Where the checkpoint is written; an unfinished run is kept next to it, in OUTPUT.run."
    ),
]
StepsOption = Annotated[int | None, typer.Option(help="Stop after this many steps.", rich_help_panel=BUDGET)]
MinutesOption = Annotated[
    float | None, typer.Option(help="Stop after this many minutes; 10 if no budget is given.", rich_help_panel=BUDGET)
]
EpochsOption = Annotated[
    float | None, typer.Option(help="Stop after this many passes over the corpus.", rich_help_panel=BUDGET)
]
LayersOption = Annotated[int, typer.Option(min=1, help="Encoder blocks.", rich_help_panel=MODEL)]
HiddenOption = Annotated[int, typer.Option(min=1, help="Width of the model.", rich_help_panel=MODEL)]
HeadsOption = Annotated[
    int | None,
    typer.Option(min=1, help="Attention heads; default: one for every 32 or 64 of the width.", rich_help_panel=MODEL),
]
BatchOption = Annotated[int, typer.Option(help="Pairs in a step, over all processes.", rich_help_panel=LEARNING)]
AccumulateOption = Annotated[
    int, typer.Option(help="Parts that a step is computed in, to save memory.", rich_help_panel=LEARNING)
]
LengthOption = Annotated[int, typer.Option(help="Tokens in a pair.", rich_help_panel=LEARNING)]
RateOption = Annotated[float, typer.Option(help="Peak learning rate.", rich_help_panel=LEARNING)]
WarmupOption = Annotated[
    float, typer.Option(help="Share of the run in which the rate rises.", rich_help_panel=LEARNING)
]
DropoutOption = Annotated[
    float | None,
    typer.Option(
        help="Dropout while training; default: as config.json says, none when distilling.", rich_help_panel=LEARNING
    ),
]
WordsOption = Annotated[
    bool, typer.Option("--whole-words", help="Mask all tokens of a word, or none.", rich_help_panel=LEARNING)
]
PrecisionOption = Annotated[
    Precision, typer.Option(help="auto: bfloat16 where the machine has it, else float32.", rich_help_panel=LEARNING)
]
SeedOption = Annotated[int, typer.Option(help="Seed of weights, pairs and masks.", rich_help_panel=LEARNING)]
HeldOutOption = Annotated[
    float,
    typer.Option(help="Share of the documents that is measured on instead of learned from.", rich_help_panel=KEEPING),
]
EvaluationsOption = Annotated[
    int, typer.Option(help="How often that is measured; the best checkpoint is kept.", rich_help_panel=KEEPING)
]
SaveOption = Annotated[
    float, typer.Option("--save-minutes", help="How often the state is saved.", rich_help_panel=KEEPING)
]
ResumeOption = Annotated[
    bool, typer.Option("--resume", help="Go on with the interrupted run.", rich_help_panel=KEEPING)
]
AddHeadOption = Annotated[
    list[Head] | None,
    typer.Option(
        "--add-head",
        help="Give the model this head if it has none, and train it: mlm or nsp; may be given twice.",
        show_default=False,
        rich_help_panel=MODEL,
    ),
]
PlotOption = Annotated[
    Path | None,
    typer.Option(help="Draw the run's curves (.svg, .png or .pdf).", show_default=False, rich_help_panel=KEEPING),
]
CacheOption = Annotated[
    Path | None,
    typer.Option(
        help="Where tokenized corpora are kept; default: below the user's cache folder.",
        show_default=False,
        rich_help_panel=KEEPING,
    ),
]
DtypeOption = Annotated[Dtype, typer.Option(help="How the weights are stored.", rich_help_panel=KEEPING)]


def train(
    corpus: CorpusArgument,
    output: OutputOption,
    steps: StepsOption = None,
    minutes: MinutesOption = None,
    epochs: EpochsOption = None,
    init: Annotated[
        str | None, typer.Option(help="Go on from this checkpoint.", show_default=False, rich_help_panel=MODEL)
    ] = None,
    layers: LayersOption = 4,
    hidden: HiddenOption = 256,
    heads: HeadsOption = None,
    vocab_size: Annotated[
        int, typer.Option(min=100, help="Tokens in a new vocabulary.", rich_help_panel=MODEL)
    ] = 30522,
    add_head: AddHeadOption = None,
    cased: CasedOption = None,
    batch_size: BatchOption = 32,
    accumulate: AccumulateOption = 1,
    max_length: LengthOption = 128,
    learning_rate: RateOption = 5e-4,
    warmup_share: WarmupOption = 0.05,
    dropout: DropoutOption = None,
    whole_words: WordsOption = False,
    precision: PrecisionOption = Precision.auto,
    seed: SeedOption = 0,
    held_out: HeldOutOption = 0.01,
    evaluations: EvaluationsOption = 20,
    save_minutes: SaveOption = 10.0,
    resume: ResumeOption = False,
    plot: PlotOption = None,
    cache: CacheOption = None,
    dtype: DtypeOption = Dtype.float32,
    force: ForceOption = False,
) -> None:
    """Pretrain a BERT on plain text: masked words and next sentences. Runs under torchrun as well."""
    given = dict(locals())
    run = library("bertedge.train.run", "train")
    shape = run.ModelShape(layers=layers, hidden=hidden, heads=heads, vocab_size=vocab_size)
    run_training("training", run, given, lambda common: run.train(corpus, output, shape=shape, init=init, **common))


def distill(
    teacher: Annotated[str, typer.Argument(help="The checkpoint to imitate: a folder, a hub id or a built-in name.")],
    corpus: CorpusArgument,
    output: OutputOption,
    steps: StepsOption = None,
    minutes: MinutesOption = None,
    epochs: EpochsOption = None,
    init: Annotated[
        str | None,
        typer.Option(
            help="A student to go on with; default: the teacher, projected.", show_default=False, rich_help_panel=MODEL
        ),
    ] = None,
    layers: LayersOption = 4,
    hidden: HiddenOption = 256,
    heads: HeadsOption = None,
    keep_vocab: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Keep this many tokens of the vocabulary, those that the corpus uses most.",
            show_default=False,
            rich_help_panel=MODEL,
        ),
    ] = None,
    add_head: AddHeadOption = None,
    cased: CasedOption = None,
    logits_weight: Annotated[
        float, typer.Option(help="Weight of the teacher's answers, of the heads that it has.", rich_help_panel=LEARNING)
    ] = 1.0,
    hidden_weight: Annotated[float, typer.Option(help="Weight of its hidden states.", rich_help_panel=LEARNING)] = 1.0,
    relations_weight: Annotated[
        float, typer.Option(help="Weight of its last block's self-attention relations.", rich_help_panel=LEARNING)
    ] = 0.0,
    labels_weight: Annotated[float, typer.Option(help="Weight of the text itself.", rich_help_panel=LEARNING)] = 0.5,
    temperature: Annotated[float, typer.Option(help="Temperature of the answers.", rich_help_panel=LEARNING)] = 1.0,
    batch_size: BatchOption = 32,
    accumulate: AccumulateOption = 1,
    max_length: LengthOption = 128,
    learning_rate: RateOption = 1e-3,
    warmup_share: WarmupOption = 0.05,
    dropout: DropoutOption = None,
    whole_words: WordsOption = False,
    precision: PrecisionOption = Precision.auto,
    seed: SeedOption = 0,
    held_out: HeldOutOption = 0.01,
    evaluations: EvaluationsOption = 20,
    save_minutes: SaveOption = 10.0,
    resume: ResumeOption = False,
    plot: PlotOption = None,
    cache: CacheOption = None,
    dtype: DtypeOption = Dtype.float32,
    force: ForceOption = False,
) -> None:
    """Make a smaller BERT that imitates a larger one."""
    given = dict(locals())
    run = library("bertedge.train.run", "train")
    shape = run.ModelShape(layers=layers, hidden=hidden, heads=heads)
    weights = run.DistillationSettings(
        hidden_weight=hidden_weight,
        logits_weight=logits_weight,
        labels_weight=labels_weight,
        relations_weight=relations_weight,
        temperature=temperature,
    )

    def start(common: dict[str, Any]) -> Any:
        return run.distill(
            teacher, corpus, output, shape=shape, init=init, distillation=weights, keep_vocab=keep_vocab, **common
        )

    run_training("distilling", run, given, start)
