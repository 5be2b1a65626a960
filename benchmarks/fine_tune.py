"""Fine-tune a BERT on labelled texts with transformers: a classifier of texts or of words.

    python benchmarks/fine_tune.py banking77 --model MODEL -o banking --epochs 5
    python benchmarks/fine_tune.py wnut17 --model MODEL -o entities --epochs 4

Prints the accuracy, or the F1 of entities, on the test texts. The output is an ordinary folder of transformers, which
is replaced after every epoch. ``labelled.py`` says which files the data folder holds.
"""

from __future__ import annotations

import argparse
import copy
import json
import random
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from labelled import read_intents, read_words, span_f1
from transformers import (
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    get_linear_schedule_with_warmup,
)

from bertedge.checkpoint import write_checkpoint
from bertedge.checkpoint.locate import locate, open_checkpoint
from bertedge.checkpoint.trim import trim_to_text
from bertedge.data.calibration import default_text
from bertedge.files import sha256

#: The loss ignores tokens with this label.
NO_LABEL = -100
#: Batches are cut from this many texts, sorted by length, so that little is padded.
SORTED = 1024
WARMUP = 0.1


@dataclass
class Text:
    """Token ids of a text; its label, or a label for every token; the first token of every word."""

    ids: list[int]
    label: int | list[int]
    words: list[int] | None = None


class Intents:
    """Whole texts with one of some categories."""

    model_class = AutoModelForSequenceClassification
    score_name = "accuracy"

    def __init__(self, data: Path, first: int | None) -> None:
        self.files = {name: data / f"{name}.csv" for name in ("train", "test")}
        self.texts = {name: read_intents(path)[:first] for name, path in self.files.items()}
        self.labels = sorted({category for texts in self.texts.values() for _, category in texts})

    def plain(self) -> list[str]:
        return [text for text, _ in self.texts["train"]]

    def encode(self, split: str, tokenizer: PreTrainedTokenizerBase, max_length: int) -> list[Text]:
        texts = [text for text, _ in self.texts[split]]
        ids = tokenizer(texts, truncation=True, max_length=max_length)["input_ids"]
        return [Text(i, self.labels.index(label)) for i, (_, label) in zip(ids, self.texts[split], strict=True)]

    def score(self, split: str, texts: list[Text], logits: list[np.ndarray]) -> float:
        return float(np.mean([int(row.argmax()) == text.label for text, row in zip(texts, logits, strict=True)]))


class Entities:
    """Words with BIO tags. The first token of a word gets its tag, the others the ``I-`` of it."""

    model_class = AutoModelForTokenClassification
    score_name = "span F1"

    def __init__(self, data: Path, first: int | None) -> None:
        self.files = {name: data / f"{name}.conll" for name in ("train", "test")}
        self.texts = {name: read_words(path)[:first] for name, path in self.files.items()}
        everything = [pair for texts in self.texts.values() for text in texts for pair in text]
        kinds = sorted({tag[2:] for _, tag in everything if tag != "O"})
        self.labels = ["O", *(f"{position}-{kind}" for kind in kinds for position in "BI")]

    def plain(self) -> list[str]:
        return [" ".join(word for word, _ in text) for text in self.texts["train"]]

    def encode(self, split: str, tokenizer: PreTrainedTokenizerBase, max_length: int) -> list[Text]:
        encoded = []
        for words in self.texts[split]:
            row = tokenizer([w for w, _ in words], is_split_into_words=True, truncation=True, max_length=max_length)
            of_token, labels, firsts = row.word_ids(), [], {}
            for index, word in enumerate(of_token):
                if word is None:
                    labels.append(NO_LABEL)
                    continue
                tag = words[word][1]
                labels.append(self.labels.index(tag if word not in firsts else tag.replace("B-", "I-")))
                firsts.setdefault(word, index)
            encoded.append(Text(row["input_ids"], labels, [firsts.get(word, -1) for word in range(len(words))]))
        return encoded

    def score(self, split: str, texts: list[Text], logits: list[np.ndarray]) -> float:
        expected = [[tag for _, tag in text] for text in self.texts[split]]
        found = [
            [self.labels[int(row[first].argmax())] if first >= 0 else "O" for first in text.words or []]
            for text, row in zip(texts, logits, strict=True)
        ]
        return span_f1(expected, found)


def batches(texts: list[Text], size: int, rng: random.Random) -> list[list[Text]]:
    """The texts in random order, in batches of similar lengths."""
    order, made = rng.sample(texts, len(texts)), []
    for start in range(0, len(order), SORTED):
        chunk = sorted(order[start : start + SORTED], key=lambda text: len(text.ids))
        made += [chunk[at : at + size] for at in range(0, len(chunk), size)]
    rng.shuffle(made)
    return made


def padded(batch: list[Text], pad: int) -> dict[str, torch.Tensor]:
    """The inputs of a batch for a model of transformers."""
    length = max(len(text.ids) for text in batch)
    ids = [text.ids + [pad] * (length - len(text.ids)) for text in batch]
    mask = [[1] * len(text.ids) + [0] * (length - len(text.ids)) for text in batch]
    labels = [
        text.label if isinstance(text.label, int) else text.label + [NO_LABEL] * (length - len(text.label))
        for text in batch
    ]
    rows = {"input_ids": ids, "attention_mask": mask, "labels": labels}
    return {name: torch.tensor(value) for name, value in rows.items()}


@torch.no_grad()
def answers(model: PreTrainedModel, texts: list[Text], pad: int) -> list[np.ndarray]:
    """Logits of every text, in their order."""
    model.eval()
    order, found = sorted(range(len(texts)), key=lambda index: len(texts[index].ids)), {}
    for start in range(0, len(order), 64):
        rows = order[start : start + 64]
        inputs = padded([texts[row] for row in rows], pad)
        del inputs["labels"]
        found.update(zip(rows, model(**inputs).logits.numpy(), strict=True))
    return [found[row] for row in range(len(texts))]


def trained(
    model: PreTrainedModel, texts: list[Text], pad: int, options: argparse.Namespace
) -> Iterator[tuple[int, float]]:
    """Train; yields the epoch and its mean loss after every epoch."""
    rng = random.Random(options.seed)
    steps = -(-len(texts) // options.batch_size) * options.epochs
    weights = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": weights, "weight_decay": 0.01}, {"params": others, "weight_decay": 0.0}],
        lr=options.learning_rate,
        fused=True,
    )
    schedule = get_linear_schedule_with_warmup(optimizer, int(steps * WARMUP), steps)
    for epoch in range(1, options.epochs + 1):
        model.train()
        losses = []
        for batch in batches(texts, options.batch_size, rng):
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=options.bfloat16):
                loss = model(**padded(batch, pad)).loss
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
        yield epoch, float(np.mean(losses))


def start_folder(options: argparse.Namespace, texts: list[str], scratch: Path) -> Path:
    """The folder to start from: the model's own, or one in ``scratch`` with fewer tokens."""
    if options.keep_vocab is None:
        return locate(options.model)
    checkpoint = open_checkpoint(options.model)
    text = scratch / "texts.txt"
    text.write_text("\n".join(texts) + "\n\n" + default_text().read_text(encoding="utf-8"), encoding="utf-8")
    trimmed, found = trim_to_text(checkpoint, options.keep_vocab, text)
    print(f"{found.tokens} tokens kept, {found.coverage:.4f} of those in the texts", file=sys.stderr)
    folder = scratch / "start"
    folder.mkdir()
    write_checkpoint(folder, trimmed.config, dict(trimmed.tensors()), trimmed.tokenizer)
    return folder


def save(folder: Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, about: dict[str, object]) -> None:
    """Write the folder of transformers under another name and rename it, so that readers see a whole one."""
    made, old = folder.with_name(folder.name + ".new"), folder.with_name(folder.name + ".old")
    for path in (made, old):
        shutil.rmtree(path, ignore_errors=True)
    model.save_pretrained(made)
    tokenizer.save_pretrained(made)
    (made / "training.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    if folder.exists():
        folder.rename(old)
    made.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def options_of(arguments: list[str] | None = None) -> argparse.Namespace:
    """What the user asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with train and test texts")
    parser.add_argument("--model", default="bertedge-small-en", help="checkpoint folder or built-in name")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--learning-rate", type=float, default=2e-4)
    parser.add_argument("--max-length", type=int, default=128, help="longer texts are cut")
    parser.add_argument("--layers", type=int, help="keep only the first N layers")
    parser.add_argument("--keep-vocab", type=int, help="keep the N tokens that training and calibration texts use most")
    parser.add_argument("--dtype", choices=["float32", "float16"], default="float32", help="of the saved weights")
    parser.add_argument("--bfloat16", action="store_true", help="compute in bfloat16, which newer CPUs do faster")
    parser.add_argument("--first", type=int, help="train and test on the first N texts only")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(arguments)


def main() -> None:
    """Train, and print the score of every epoch."""
    options, began = options_of(), time.monotonic()
    torch.manual_seed(options.seed)
    task = (Intents if (options.data / "train.csv").exists() else Entities)(options.data, options.first)
    changes = {} if options.layers is None else {"num_hidden_layers": options.layers}
    with tempfile.TemporaryDirectory() as scratch:
        folder = start_folder(options, task.plain(), Path(scratch))
        tokenizer = AutoTokenizer.from_pretrained(folder)
        model = task.model_class.from_pretrained(
            folder,
            id2label=dict(enumerate(task.labels)),
            label2id={label: index for index, label in enumerate(task.labels)},
            dtype=torch.float32,
            **changes,
        )
    texts = {split: task.encode(split, tokenizer, options.max_length) for split in task.files}
    pad = tokenizer.pad_token_id
    print(f"| epoch | loss | {task.score_name} on {len(texts['test'])} test texts | minutes |")
    print("| --- | --- | --- | --- |", flush=True)
    for epoch, loss in trained(model, texts["train"], pad, options):
        score = task.score("test", texts["test"], answers(model, texts["test"], pad))
        minutes = (time.monotonic() - began) / 60
        print(f"| {epoch} | {loss:.3f} | {score:.4f} | {minutes:.1f} |", flush=True)
        about = {
            "kind": "fine-tuning",
            "from": str(options.model),
            "data": {path.name: sha256(path) for path in task.files.values()},
            "settings": {k: v for k, v in vars(options).items() if k not in ("data", "model", "output")},
            "epoch": epoch,
            task.score_name: round(score, 4),
            "command": shlex.join(
                [
                    "python",
                    "benchmarks/fine_tune.py",
                    *(Path(word).name if "/" in word else word for word in sys.argv[1:]),
                ]
            ),
        }
        saved = copy.deepcopy(model).to(getattr(torch, options.dtype))
        save(options.output, saved, tokenizer, about)


if __name__ == "__main__":
    main()
