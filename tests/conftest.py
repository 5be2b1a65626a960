"""Tiny models built in memory, shared by all tests."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest

from bertedge.bundle import Bundle
from bertedge.checkpoint import BUILT_IN, Checkpoint, write_checkpoint
from bertedge.encoders import BERT, EncoderConfig
from bertedge.engines import ENGINES, Engine
from bertedge.errors import UnfitMachineError, UsageError
from bertedge.heads import HEADS
from bertedge.heads.parts import Parts
from bertedge.quantization import export, model_files, quantize
from bertedge.recipe import METHODS, RECIPES, Calibrated, QuantizationRecipe
from bertedge.tokenizer import Tokenizer

#: A slow example is no failure, and no example is stored in the source folder.
hypothesis.settings.register_profile("any machine", deadline=None, database=None)
hypothesis.settings.load_profile("any machine")
FLOAT = "float32"
#: Every kind of bundle that can be made.
KINDS = tuple(dict.fromkeys((FLOAT, *METHODS, *(name for name in RECIPES if name != "default"))))
SHARED = Path(__file__).resolve().parents[2] / "shared"
ENGLISH_L6 = SHARED / "models" / "english-l6"

DOCUMENTS = (
    ("The cat sat on the mat.", "It was a warm day.", "Then the cat went to sleep.", "Nobody came to the door."),
    ("A ship left the port at dawn.", "The sea was calm and the wind was low.", "By noon it was far from land."),
    ("Bread needs flour, water, salt and time.", "Mix the dough and let it rest.", "Bake it until the crust is dark."),
    ("The court heard the case in May.", "Both sides spoke for an hour.", "The judge gave no answer that day."),
)


@pytest.fixture(scope="session", autouse=True)
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Tokenized corpora are kept here, not in the user's cache; subprocesses inherit it.

    Nor does a test add to the page of the GitHub job that it runs in.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("GITHUB_STEP_SUMMARY", raising=False)
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("XDG_CACHE_HOME", str(folder))
        yield folder


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    """A WordPiece tokenizer of a few hundred pieces."""
    lines = [sentence for document in DOCUMENTS for sentence in document]
    return Tokenizer.train(lines * 4, vocab_size=300, max_length=64)


@pytest.fixture(scope="session")
def config(tokenizer: Tokenizer) -> EncoderConfig:
    """Two layers x 32, four heads."""
    return BERT.config(
        vocab_size=tokenizer.vocab_size,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=64,
    )


def random_tensors(config: EncoderConfig, parts: Parts, seed: int = 0) -> dict[str, np.ndarray]:
    """Weights large enough that outputs differ clearly from text to text."""
    rng = np.random.default_rng(seed)
    tensors = {}
    for name, shape in parts.shapes(config).items():
        values = rng.normal(scale=0.15, size=shape).astype(np.float32)
        tensors[name] = values + 1 if name.endswith("LayerNorm.weight") else values
    return tensors


def plain_metrics(parts: Parts) -> set[str]:
    """The metrics of a model's heads that need neither labels nor many texts."""
    found = {metric for name, head in HEADS.items() if parts.has(name) for metric in head.metrics}
    return {name for name in found if "spearman" not in name} - {"embedding.neighbours_at_10"}


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory, config: EncoderConfig, tokenizer: Tokenizer) -> Path:
    """A float checkpoint with both heads on disk; not to be changed by tests."""
    folder = tmp_path_factory.mktemp("models") / "tiny-bert"
    folder.mkdir()
    write_checkpoint(folder, config, random_tensors(config, Parts(("mlm", "nsp"))), tokenizer)
    return folder


@pytest.fixture(scope="session")
def checkpoint(model_folder: Path) -> Checkpoint:
    """The tiny checkpoint, opened."""
    return Checkpoint.read(model_folder)


@pytest.fixture(scope="session")
def corpus_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus of four documents."""
    path = tmp_path_factory.mktemp("corpus") / "corpus.txt"
    path.write_text("\n\n".join("\n".join(document) for document in DOCUMENTS) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def long_corpus_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same documents several times: enough texts for a verdict on fidelity."""
    path = tmp_path_factory.mktemp("corpus") / "long.txt"
    path.write_text("\n\n".join("\n".join(document) for document in DOCUMENTS * 3) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def english_l6() -> Path:
    """A real checkpoint, which only some machines have next to the repository."""
    if not ENGLISH_L6.is_dir():
        pytest.skip(f"the real checkpoint {ENGLISH_L6.name} is missing")
    return ENGLISH_L6


@pytest.fixture(scope="session")
def bundle_of(tmp_path_factory: pytest.TempPathFactory, model_folder: Path, corpus_file: Path) -> Callable[..., Bundle]:
    """Make, or find again, the bundle of a kind; not to be changed by tests.

    Its weights are in ``model.onnx``, or in a file of their own where ``layout`` is ``split``.
    """
    made: dict[tuple, Bundle] = {}
    root = tmp_path_factory.mktemp("bundles")

    def make(kind: str, target: str = "portable", positions: str = "masked", layout: str = "one-file") -> Bundle:
        key = (kind, target, positions, layout)
        if key not in made:
            with pytest.MonkeyPatch.context() as patch:
                if layout == "split":
                    patch.setattr(model_files, "EXTERNAL_WEIGHTS_MIN_BYTES", 0)
                made[key] = new(kind, root / "-".join(key), target, positions)
        return made[key]

    def new(kind: str, folder: Path, target: str, positions: Any) -> Bundle:
        if kind == FLOAT:
            return export(model_folder, folder, positions=positions)
        recipe = RECIPES.get(kind) or QuantizationRecipe(method=METHODS[kind]())
        if isinstance(recipe.method, Calibrated):
            recipe = recipe.changed(examples=16, max_length=48)
        return quantize(
            model_folder, folder, target=target, recipe=recipe, calibration=corpus_file, positions=positions
        )

    return make


def skip_where_unfit(engine: Engine, bundle: Bundle) -> None:
    """Skip a test of an engine that is not built, or fits neither the machine nor the bundle."""
    try:
        engine.check(bundle.manifest)
    except (UnfitMachineError, UsageError) as error:
        pytest.skip(error.message)


def engines_for(bundle: Bundle) -> list[str]:
    """The engines that users of this machine run a bundle on."""
    found = []
    for name, engine in ENGINES.items():
        with suppress(UnfitMachineError, UsageError):
            engine.check(bundle.manifest)
            found += [name] if engine.automatic else []
    return found


@pytest.fixture(scope="session")
def built_in_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Bundle]:
    """Make, or find again, the built-in model in int8 for a target; not to be changed by tests."""
    root = tmp_path_factory.mktemp("built-in")
    return cache(lambda target: quantize(BUILT_IN[0], root / target, target=target))


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium as the system has it, or else as playwright brings it."""
    library = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed: pip install 'bertedge[browser]'"
    )
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    found = next(filter(None, map(shutil.which, names)), None)
    with library.sync_playwright() as playwright:
        if found is None and not Path(playwright.chromium.executable_path).exists():
            pytest.skip("no Chromium: apt-get install chromium, or playwright install chromium")
        opened = playwright.chromium.launch(executable_path=found)
        yield opened
        opened.close()
