"""Compare tokens per second of `bertedge train` with a plain transformers loop, on the same batches in turn.

    python benchmarks/training_speed.py [--layers 6 --hidden 384] [--precision bfloat16] [--rounds 12]

Both learn the same two tasks from the same masked pairs with AdamW and gradient clipping. The plain loop is the
usual one with `transformers`: `BertForPreTraining` on whole padded batches, labels of -100 where nothing is masked.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from transformers import BertConfig as TheirConfig
from transformers import BertForPreTraining as TheirModel

from bertedge.checkpoint import open_checkpoint
from bertedge.data.batches import Layout
from bertedge.data.calibration import default_text
from bertedge.data.corpus import tokenize_corpus
from bertedge.encoders import write_config
from bertedge.evaluate.latency import paired_ratio
from bertedge.predictor import NO_LABEL
from bertedge.train.inputs import Feed
from bertedge.train.loop import Trainer, pretraining_loss
from bertedge.train.model import BertForPreTraining
from bertedge.train.training_settings import ModelShape, TrainingSettings
from bertedge.train.world import World

#: Labels of transformers that are not learned.
NOT_MASKED = -100


def plain_loop(feed: Feed, shape: ModelShape, settings: TrainingSettings, vocab_size: int) -> Callable[[], None]:
    """One step of the loop in the module's text."""
    config = shape.config(vocab_size)
    model = TheirModel(
        TheirConfig(**{**write_config(config), "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0})
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings.learning_rate)
    model.train()

    def step() -> None:
        (inputs,) = feed.next()
        labels = torch.full_like(inputs.input_ids, NOT_MASKED).flatten()
        labels[inputs.masked_index] = inputs.labels["mlm"]
        mask = torch.ones_like(inputs.input_ids) if inputs.attention_mask is None else inputs.attention_mask
        follows = inputs.labels["nsp"]
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=settings.precision == "bfloat16"):
            loss = model(
                input_ids=inputs.input_ids,
                attention_mask=mask,
                token_type_ids=inputs.token_type_ids,
                labels=labels.view_as(inputs.input_ids),
                next_sentence_label=follows.where(follows != NO_LABEL, NOT_MASKED),
            ).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return step


def main() -> None:
    """Print tokens per second of both and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--hidden", type=int, default=384)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="bfloat16")
    parser.add_argument("--rounds", type=int, default=12)
    options = parser.parse_args()
    shape = ModelShape(layers=options.layers, hidden=options.hidden)
    settings = TrainingSettings(steps=10_000, batch_size=options.batch_size, precision=options.precision, dropout=0.0)
    checkpoint = open_checkpoint("bertedge-small-en")  # for its vocabulary
    size = checkpoint.config.vocab_size
    corpus, layout = tokenize_corpus(default_text(), checkpoint.tokenizer), Layout.of(checkpoint.tokenizer, size)
    feeds = [Feed(corpus, layout, settings, World()) for _ in range(2)]
    theirs = plain_loop(feeds[0], shape, settings, size)
    model = BertForPreTraining(shape.config(size))
    model.set_dropout(0.0)
    ours = Trainer(model, feeds[1], pretraining_loss, settings, World()).step
    seconds = np.empty((2, options.rounds))
    for step in (theirs, ours) * 2:
        step()
    for turn in range(options.rounds):
        for index, step in enumerate((theirs, ours)):
            start = time.perf_counter()
            step()
            seconds[index, turn] = time.perf_counter() - start
    tokens = options.batch_size * settings.max_length
    ratio = paired_ratio(1 / seconds[1], 1 / seconds[0])
    print(f"{options.layers} x {options.hidden}, {options.batch_size} x {settings.max_length}, {options.precision}")
    for name, row in zip(("transformers", "bertedge"), seconds, strict=True):
        print(f"{name:13} {tokens / np.median(row):8.0f} tokens/s")
    print(f"ratio         {ratio.value:8.2f} ({ratio.low:.2f} to {ratio.high:.2f})")


if __name__ == "__main__":
    main()
