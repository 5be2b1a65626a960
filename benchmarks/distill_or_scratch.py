"""Compare distillation with training the same student from scratch in the same time.

    python benchmarks/distill_or_scratch.py TEACHER train.txt valid.txt [--minutes 4] [--seeds 3]

The two runs of a seed follow each other on the same machine, each with the same minutes.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import torch

from bertedge.checkpoint import open_checkpoint
from bertedge.data.batches import Layout
from bertedge.data.corpus import tokenize_corpus
from bertedge.train.distill import distill
from bertedge.train.model import BertForPreTraining
from bertedge.train.pretrain import train
from bertedge.train.training_settings import ModelShape, TrainingSettings
from bertedge.train.validation import HeldOut, Score

PAIRS = 640


def score(folder: Path, text: Path) -> Score:
    """Both tasks on held-out text, ``[MASK]`` at every chosen position."""
    checkpoint = open_checkpoint(folder)
    corpus = tokenize_corpus(text, checkpoint.tokenizer)
    layout = Layout.of(checkpoint.tokenizer, checkpoint.config.vocab_size)
    held_out = HeldOut(corpus, layout, max_length=128, seed=0, pairs=PAIRS)
    model = BertForPreTraining.from_checkpoint(checkpoint)
    return held_out.score(model, torch.device("cpu"), "float32")


def main() -> None:
    """Print a row for each seed and way."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("teacher", type=Path)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("valid", type=Path)
    parser.add_argument("--minutes", type=float, default=4.0)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--hidden", type=int, default=256)
    options = parser.parse_args()
    shape = ModelShape(layers=options.layers, hidden=options.hidden)
    print("| seed | way | steps | loss | MLM top-1 | NSP accuracy |")
    print("| --- | --- | --- | --- | --- | --- |", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        for seed in range(options.seeds):
            settings = TrainingSettings(minutes=options.minutes, learning_rate=1e-3, seed=seed, dropout=0.0)
            for way in ("distilled", "from scratch"):
                output = Path(scratch) / f"{way}-{seed}"
                if way == "distilled":
                    done = distill(options.teacher, options.corpus, output, settings, shape=shape)
                else:
                    done = train(options.corpus, output, settings, shape=shape)
                found = score(output, options.valid)
                nsp = f"{found.accuracies['nsp']:.3f}" if "nsp" in found.accuracies else "-"
                row = f"| {seed} | {way} | {done.step} | {found.loss:.3f} | {found.accuracies['mlm']:.3f} | {nsp} |"
                print(row, flush=True)


if __name__ == "__main__":
    main()
