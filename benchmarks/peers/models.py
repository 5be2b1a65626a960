"""The checkpoints and texts that every peer gets."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from bertedge.checkpoint import BUILT_IN, Checkpoint, open_checkpoint, write_checkpoint
from bertedge.data.batches import Layout, masked_batch
from bertedge.data.corpus import TokenizedCorpus, tokenize_corpus
from bertedge.data.pairs import Pair
from bertedge.encoders import BERT
from bertedge.evaluate.fidelity import evaluation_batches
from bertedge.evaluate.latency import Workload, workload_batch
from bertedge.heads.parts import Parts
from bertedge.predictor import Batch

#: name -> layers, hidden size, heads; random weights, the built-in model's vocabulary.
RANDOM = {"random-12x768": (12, 768, 12), "random-6x384": (6, 384, 12)}
LENGTHS = (8, 16, 32, 64, 128, 256, 512)
MIXED, MIXED_ROWS = "32 sentences", 32
#: Workloads that are also run to the mean of the last states, where all peers compute the same.
TO_VECTORS, SUFFIX = ("16 tokens", "128 tokens", MIXED), ", to vectors"
#: Multiply-accumulates per token in the blocks; larger models would take half an hour for thousands of sentences.
THROUGHPUT_LIMIT = 20_000_000
SEED = 0


@dataclass(frozen=True, kw_only=True)
class Model:
    """A checkpoint on disk.

    Attributes:
        real: trained weights; with random weights fidelity is not measured.
    """

    name: str
    folder: Path
    real: bool
    checkpoint: Checkpoint


def open_model(name: str, scratch: Path) -> Model:
    """A name of :data:`RANDOM`, a built-in name, or the folder of a checkpoint."""
    if name in RANDOM:
        folder = scratch / name
        _write_random(folder, *RANDOM[name])
        return Model(name=name, folder=folder, real=False, checkpoint=Checkpoint.read(folder))
    checkpoint = open_checkpoint(name)
    folder = checkpoint.folder
    if folder is None:
        raise SystemExit(f"{name}: is no folder on this machine")
    return Model(name=folder.name, folder=folder.resolve(), real=True, checkpoint=checkpoint)


def _write_random(folder: Path, layers: int, hidden: int, heads: int) -> None:
    """Weights as BERT's are before training."""
    config = BERT.config(
        num_hidden_layers=layers, hidden_size=hidden, num_attention_heads=heads, intermediate_size=4 * hidden
    )
    rng = np.random.default_rng(SEED)
    tensors = {}
    for name, shape in Parts(("mlm", "nsp")).shapes(config).items():
        values = rng.normal(scale=config.initializer_range, size=shape) if len(shape) > 1 else np.zeros(shape)
        tensors[name] = (values + name.endswith("LayerNorm.weight")).astype(np.float32)
    folder.mkdir(parents=True)
    write_checkpoint(folder, config, tensors, open_checkpoint(BUILT_IN[0]).tokenizer)


@dataclass(frozen=True, kw_only=True)
class Texts:
    """What is run: batches of encoded texts, and plain sentences.

    Attributes:
        workloads: name -> batch, 15 % of the positions masked.
        to_vectors: the same, for mean vectors of texts; their names end with :data:`SUFFIX`.
        evaluation: sentence pairs that fidelity is measured on.
        sentences: for throughput.
    """

    workloads: dict[str, Batch]
    evaluation: list[Batch]
    sentences: list[str]
    to_vectors: dict[str, Batch] = field(default_factory=dict)


def texts_for(model: Model, text: Path, *, lengths: tuple[int, ...], examples: int, sentences: int) -> Texts:
    """The same texts for all peers; if the text has fewer sentences, they are repeated."""
    tokenizer, size = model.checkpoint.tokenizer, model.checkpoint.config.vocab_size
    corpus, layout = tokenize_corpus(text, tokenizer), Layout.of(tokenizer, size)
    workloads = {
        f"{length} tokens": workload_batch(Workload(batch_size=1, seq_len=length), corpus, layout)
        for length in lengths
        if length <= model.checkpoint.config.max_length
    }
    workloads[MIXED] = _mixed(corpus, layout, model.checkpoint.config.max_length)
    lines = [line for line in text.read_text(encoding="utf-8").splitlines() if line.strip()]
    return Texts(
        workloads=workloads,
        evaluation=evaluation_batches(corpus, layout, examples=examples, max_length=128, seed=SEED),
        sentences=np.resize(np.array(lines, dtype=object), sentences).tolist(),
        to_vectors={name + SUFFIX: without_masks(workloads[name]) for name in TO_VECTORS if name in workloads},
    )


def without_masks(batch: Batch) -> Batch:
    """The same texts, without positions where the MLM head is asked."""
    return replace(batch, masked_positions=batch.masked_positions[:, :0])


def _mixed(corpus: TokenizedCorpus, layout: Layout, longest: int) -> Batch:
    """Consecutive sentences, padded to the longest."""
    room = longest - 2
    pairs = [Pair(first=corpus.sentence(i)[:room], second=[], label=None) for i in range(MIXED_ROWS)]
    return masked_batch(pairs, layout, np.random.default_rng(SEED), always_mask=True)
