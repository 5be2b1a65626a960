"""Every kind of file that bertedge reads, with the cheapest command that reads it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from bertedge.bundle import GOLDEN, Bundle
from bertedge.checkpoint import Checkpoint
from bertedge.cli.check import verify
from bertedge.cli.compare import compare
from bertedge.cli.info_command import info
from bertedge.cli.report import report
from bertedge.cli.use import VERBS
from bertedge.data.cache import cached_corpus
from bertedge.data.corpus import tokenize_corpus
from bertedge.data.examples import columns_in_words, read_examples
from bertedge.data.stream import PairStream
from bertedge.emulate.emulated_system import Fetched, Lock, hashed_files, open_system
from bertedge.manifest import DIGEST, MANIFEST, _digest, file_entries
from bertedge.plan import PLAN
from bertedge.quantization import export, quantize
from bertedge.recipe import Dynamic, QuantizationRecipe, Static
from bertedge.records import to_json, write_json
from bertedge.report.schema import write_report
from bertedge.runtime import load
from bertedge.tokenizer import Tokenizer
from tests.conftest import engines_for
from tests.fuzz.harness import Case
from tests.fuzz.mutators import BYTES, JSON, NPZ, SAFETENSORS, TEXT, TOML, ZIP, Mutator

SENTENCES = ["The cat sat on the mat.", "Ünïcode — 漢字, [MASK] and ##more", "x" * 200]
DYNAMIC = QuantizationRecipe(method=Dynamic())


@dataclass(frozen=True, kw_only=True)
class Samples:
    """What kinds are made of; not to be changed.

    Attributes:
        scratch: a folder of this test's own.
    """

    model: Path
    bundle: Bundle
    corpus: Path
    scratch: Path


Kind = Callable[[Samples], Case]
KINDS: dict[str, Kind] = {}
#: Kinds that take much longer for a mutation than others, and by how much.
COSTLY: dict[str, int] = {}


def kind(name: str, *, costs: int = 1) -> Callable[[Kind], Kind]:
    """Add a kind to the table."""

    def add(prepare: Kind) -> Kind:
        KINDS[name] = prepare
        COSTLY[name] = costs
        return prepare

    return add


# -- checkpoints ------------------------------------------------------------------------------------------------------
def _checkpoint(samples: Samples) -> Path:
    return Path(shutil.copytree(samples.model, samples.scratch / "model"))


def _described(folder: Path) -> Callable[[], object]:
    return lambda: info(str(folder))


def _quantized(folder: Path, *methods: QuantizationRecipe, corpus: Path | None = None) -> Callable[[], object]:
    """Read everything of a checkpoint, and make something of it."""

    def read() -> None:
        info(str(folder))
        for recipe in methods:
            made = quantize(folder, folder.parent / "made", recipe=recipe, calibration=corpus, force=True)
            load(made.folder, threads=1).fill_mask("The cat [MASK] on the mat.")

    return read


@kind("checkpoint: config.json", costs=4)
def _config(samples: Samples) -> Case:
    folder = _checkpoint(samples)
    read = _quantized(folder, DYNAMIC, corpus=samples.corpus)
    return Case(path=folder / "config.json", mutators=JSON, read=read)


@kind("checkpoint: model.safetensors", costs=3)
def _safetensors(samples: Samples) -> Case:
    folder = _checkpoint(samples)
    static = QuantizationRecipe(method=Static(examples=4, max_length=32))
    read = _quantized(folder, static, corpus=samples.corpus)
    return Case(path=folder / "model.safetensors", mutators=SAFETENSORS, read=read)


@kind("checkpoint: shards")
def _shards(samples: Samples) -> Case:
    folder = _checkpoint(samples)
    (folder / "model.safetensors").rename(folder / "model-00001-of-00001.safetensors")
    names = dict.fromkeys(Checkpoint.read(samples.model).source.shapes, "model-00001-of-00001.safetensors")
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": names}))
    return Case(path=index, mutators=JSON, read=_described(folder))


@kind("checkpoint: pytorch_model.bin")
def _pytorch(samples: Samples) -> Case:
    import torch

    folder = _checkpoint(samples)
    tensors = {name: torch.from_numpy(array.copy()) for name, array in Checkpoint.read(folder).tensors()}
    (folder / "model.safetensors").unlink()
    torch.save(tensors, folder / "pytorch_model.bin")
    return Case(
        path=folder / "pytorch_model.bin",
        mutators=ZIP,
        read=lambda: [array for _, array in Checkpoint.read(folder).tensors()],
    )


def _tokenized(folder: Path) -> Callable[[], object]:
    def read() -> None:
        checkpoint = Checkpoint.read(folder)
        tokenizer = checkpoint.tokenizer
        for encoding in tokenizer.encode_many(SENTENCES):
            tokenizer.decode(encoding.input_ids)
        tokenizer.token_ids_many(SENTENCES)
        assert tokenizer.sha256
        info(str(folder))

    return read


@kind("checkpoint: tokenizer.json")
def _tokenizer_json(samples: Samples) -> Case:
    folder = _checkpoint(samples)
    return Case(path=folder / "tokenizer.json", mutators=JSON, read=_tokenized(folder))


@kind("checkpoint: tokenizer_config.json")
def _tokenizer_config(samples: Samples) -> Case:
    folder = _checkpoint(samples)
    return Case(path=folder / "tokenizer_config.json", mutators=JSON, read=_tokenized(folder))


def _vocab_folder(samples: Samples) -> Path:
    folder = _checkpoint(samples)
    vocabulary = Checkpoint.read(folder).tokenizer.vocabulary()
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.txt").write_text(
        "\n".join(sorted(vocabulary, key=vocabulary.__getitem__)) + "\n", encoding="utf-8"
    )
    return folder


@kind("checkpoint: vocab.txt")
def _vocab(samples: Samples) -> Case:
    folder = _vocab_folder(samples)
    return Case(path=folder / "vocab.txt", mutators=TEXT, read=_tokenized(folder))


@kind("checkpoint: special_tokens_map.json")
def _special_tokens(samples: Samples) -> Case:
    folder = _vocab_folder(samples)
    path = folder / "special_tokens_map.json"
    path.write_text(json.dumps({"mask_token": "[MASK]", "additional_special_tokens": ["[A]", {"content": "[B]"}]}))
    return Case(path=path, mutators=JSON, read=_tokenized(folder))


@kind("checkpoint: added_tokens.json")
def _added_tokens(samples: Samples) -> Case:
    folder = _vocab_folder(samples)
    path = folder / "added_tokens.json"
    path.write_text(json.dumps({"[PAD]": 0}))
    return Case(path=path, mutators=JSON, read=_tokenized(folder))


def _embedder(samples: Samples) -> Path:
    folder = _checkpoint(samples)
    modules = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    entries = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{name}"}
        for i, (path, name) in enumerate(modules)
    ]
    (folder / "modules.json").write_text(json.dumps(entries))
    (folder / "1_Pooling").mkdir()
    pooling = {"word_embedding_dimension": 32, "pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}
    (folder / "1_Pooling/config.json").write_text(json.dumps(pooling))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 32, "do_lower_case": False}))
    about = {"prompts": {"query": "query: "}, "default_prompt_name": None, "similarity_fn_name": "cosine"}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(about))
    return folder


def _embedder_kind(name: str) -> None:
    @kind(f"embedder: {name}")
    def prepare(samples: Samples) -> Case:
        folder = _embedder(samples)
        return Case(path=folder / name, mutators=JSON, read=_described(folder))


for _name in (
    "modules.json", "1_Pooling/config.json", "sentence_bert_config.json", "config_sentence_transformers.json",
):  # fmt: skip
    _embedder_kind(_name)


# -- bundles ----------------------------------------------------------------------------------------------------------
def _bundle(samples: Samples) -> Path:
    return Path(shutil.copytree(samples.bundle.folder, samples.scratch / "bundle"))


def sign(folder: Path) -> None:
    """Give the manifest the hashes that the files have now, and its own, as far as it can be read."""
    path = folder / MANIFEST
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        entries = file_entries(folder)
        for name, entry in raw["files"].items():
            if name in entries:
                entry |= to_json(entries[name])
        raw.pop(DIGEST)
        text = json.dumps({**raw, DIGEST: _digest(raw)})
    except Exception:  # the mutation broke the file: it stays unchanged
        return
    path.write_text(text, encoding="utf-8")


@kind("bundle: manifest.json", costs=2)
def _manifest(samples: Samples) -> Case:
    folder = _bundle(samples)

    def read() -> None:
        info(str(folder))
        info(str(folder), as_json=True)
        VERBS["fill-mask"](bundle=folder, text="The cat [MASK] here.", threads=1, no_verify=True, allow_any_cpu=True)
        verify(folder, threads=1, allow_any_cpu=True)

    return Case(path=folder / MANIFEST, mutators=JSON, read=read, after=lambda: sign(folder))


@kind("bundle: golden.npz")
def _golden(samples: Samples) -> Case:
    folder = _bundle(samples)
    read = lambda: verify(folder, threads=1)  # noqa: E731
    return Case(path=folder / GOLDEN, mutators=NPZ, read=read, after=lambda: sign(folder))


@kind("bundle: plan.json")
def _plan(samples: Samples) -> Case:
    """Sizes and places of tensors, which the native engine checks in Python and in C++."""
    folder = _bundle(samples)

    def read() -> None:
        engine = "native" if "native" in engines_for(samples.bundle) else "onnxruntime"
        load(folder, engine=engine, check=False, threads=1).fill_mask("The cat [MASK] here.")

    return Case(path=folder / PLAN, mutators=JSON, read=read, after=lambda: sign(folder))


@kind("bundle: any file, unsigned", costs=4)
def _unsigned(samples: Samples) -> Case:
    folder = _bundle(samples)
    return Case(path=folder / "model.onnx", mutators=BYTES, read=lambda: verify(folder, threads=1))


#: Kinds whose reader may end the process; see :mod:`tests.fuzz.worker`.
NATIVE: dict[str, Kind] = {}


def _onnx(samples: Samples) -> Case:
    folder = _bundle(samples)

    def read() -> None:
        load(folder, check=False, threads=1).fill_mask("The cat [MASK] here.")
        verify(folder, threads=1)

    return Case(path=folder / "model.onnx", mutators=BYTES, read=read, after=lambda: sign(folder))


def _ort(samples: Samples) -> Case:
    made = export(samples.model, samples.scratch / "ort", format="ort")
    read = lambda: load(made.folder, check=False, threads=1).fill_mask("The cat [MASK] here.")  # noqa: E731
    return Case(path=made.model_path, mutators=BYTES, read=read, after=lambda: sign(made.folder))


NATIVE |= {"bundle: model.onnx": _onnx, "bundle: model.ort": _ort}


@kind("bundle: tokenizer.json")
def _bundle_tokenizer(samples: Samples) -> Case:
    folder = _bundle(samples)
    read = lambda: VERBS["fill-mask"](bundle=folder, text="The cat [MASK] here.", threads=1)  # noqa: E731
    return Case(path=folder / "tokenizer.json", mutators=JSON, read=read, after=lambda: sign(folder))


@kind("bundle: ranges.json", costs=4)
def _ranges(samples: Samples) -> Case:
    path = samples.scratch / "ranges.json"
    recipe = QuantizationRecipe(method=Static(examples=16, max_length=48))
    shutil.copy(samples.bundle.folder / "ranges.json", path)
    made = samples.scratch / "made"

    def read() -> None:
        quantize(samples.model, made, recipe=recipe, calibration=samples.corpus, ranges=path, force=True)

    return Case(path=path, mutators=JSON, read=read)


# -- reports ----------------------------------------------------------------------------------------------------------
def _reports(samples: Samples) -> tuple[Path, Path]:
    from tests.report.samples import ONE, model, report_of

    manifest = samples.bundle.manifest
    names = ("mlm.top1_agreement", "mlm.kl_mean", "nsp.flip_rate")
    fidelity = dict.fromkeys(names, ONE)
    made = report_of(replace(model("small", fidelity=fidelity), manifest=manifest))
    made = replace(made, reference=replace(made.reference, manifest=manifest))
    one, other = samples.scratch / "old.json", samples.scratch / "new.json"
    write_report(one, made)
    write_report(other, made)
    return one, other


@kind("report.json: report", costs=4)
def _report(samples: Samples) -> Case:
    path, _ = _reports(samples)
    page, tables = samples.scratch / "page.html", samples.scratch / "tables.md"

    def read() -> None:
        report(path)
        report(path, html_file=page, markdown_file=tables)

    return Case(path=path, mutators=JSON, read=read)


@kind("report.json: compare", costs=4)
def _compared(samples: Samples) -> Case:
    old, new = _reports(samples)
    page, tables, junit = (samples.scratch / name for name in ("page.html", "tables.md", "junit.xml"))
    read = lambda: compare(baseline=old, report=new, html=page, markdown=tables, junit=junit)  # noqa: E731
    return Case(path=old, mutators=JSON, read=read)


@kind("budgets.toml")
def _budgets(samples: Samples) -> Case:
    old, new = _reports(samples)
    path = samples.scratch / "budgets.toml"
    path.write_text(
        '["mlm.top1_agreement"]\nmax_drop = 0.01\n\n["latency.p50"]\nmax_ratio = 1.25\napart = 2.0\n\n'
        "[size_bytes]\nmax_ratio = 1.05\n"
    )
    return Case(path=path, mutators=TOML, read=lambda: compare(baseline=old, report=new, budgets_file=path))


# -- text and training ------------------------------------------------------------------------------------------------
@kind("corpus")
def _corpus(samples: Samples) -> Case:
    path = Path(shutil.copy(samples.corpus, samples.scratch / "corpus.txt"))
    tokenizer = Tokenizer.load(samples.model)
    return Case(path=path, mutators=TEXT, read=lambda: tokenize_corpus(path, tokenizer))


def _labelled_kind(name: str, content: str) -> None:
    @kind(f"labelled texts: {name}")
    def prepare(samples: Samples) -> Case:
        path = samples.scratch / name
        path.write_text(content, encoding="utf-8")
        return Case(path=path, mutators=TEXT, read=lambda: (columns_in_words(path), *read_examples(path)))


for _name, _content in {
    "pairs.csv": 'question,context,answers,label\nWho?,"It was Ada, in London.",Ada,1\nWhere?,"""Here""",,0\n' * 3,
    "texts.jsonl": '{"tokens": ["Ada", "sleeps"], "ner_tags": [1, 0]}\n{"text": "Ada", "labels": ["a", "b"]}\n' * 3,
    "words.conll": "# id 1\nAda\tNNP\tB-person\nsleeps\tVBZ\tO\n\n-DOCSTART-\tX\tO\n\n#\tX\tO\n" * 3,
}.items():
    _labelled_kind(_name, _content)


def _cache_kind(name: str) -> None:
    @kind(f"token cache: {name}")
    def prepare(samples: Samples) -> Case:
        tokenizer = Tokenizer.load(samples.model)
        cache = samples.scratch / "cache"
        cached_corpus(samples.corpus, tokenizer, cache)
        (folder,) = cache.iterdir()

        def read() -> None:
            corpus = cached_corpus(samples.corpus, tokenizer, cache)
            stream = PairStream(corpus, max_length=48, seed=0)
            stream.take(32)
            assert np.asarray(corpus.token_ids).max() < tokenizer.vocab_size

        return Case(path=folder / name, mutators=JSON if name.endswith(".json") else BYTES, read=read)


for _name in ("corpus.json", "token_ids", "sentence_starts", "document_starts"):
    _cache_kind(_name)


class Killed(Exception):
    """Stands for the end of the process."""


def _interrupted(samples: Samples) -> tuple[Path, Callable[[], object], Callable[[], object]]:
    """A training that was killed after two steps, and what goes on with it."""
    from bertedge.train.folder import log_of
    from bertedge.train.pretrain import train
    from bertedge.train.training_settings import ModelShape, TrainingSettings

    output = samples.scratch / "trained"
    settings = TrainingSettings(
        steps=12, batch_size=4, max_length=32, held_out=0.25, evaluations=1, precision="float32", save_minutes=1e-9
    )
    shape = ModelShape(layers=1, hidden=16, vocab_size=120)

    def step(progress: object) -> None:
        if progress.step == 11:  # after the first lines of the log  # type: ignore[attr-defined]
            raise Killed

    with suppress(Killed):
        train(samples.corpus, output, settings, shape=shape, on_step=step, cache=samples.scratch / "tokens")
    run = output.with_name("trained.run")
    kept = Path(shutil.copytree(run, samples.scratch / "kept"))

    def resume() -> None:
        log_of(output)
        train(samples.corpus, output, settings, shape=shape, resume=True, cache=samples.scratch / "tokens")
        log_of(output)

    def restore() -> None:
        """As it was when it was killed."""
        shutil.rmtree(run, ignore_errors=True)
        shutil.rmtree(output, ignore_errors=True)
        shutil.copytree(kept, run)

    return run, resume, restore


def _training_kind(name: str, mutators: tuple[Mutator, ...], costs: int) -> None:
    @kind(f"training: {name}", costs=costs)
    def prepare(samples: Samples) -> Case:
        run, resume, restore = _interrupted(samples)
        return Case(path=run / name, mutators=mutators, read=resume, before=restore)


_training_kind("run.json", JSON, 8)
_training_kind("metrics.jsonl", TEXT, 20)
_training_kind("state/place.json", JSON, 8)
_training_kind("state/state.pt", ZIP, 4)


# -- searches and emulated systems ------------------------------------------------------------------------------------
@kind("tune: a candidate's record")
def _tune(samples: Samples) -> Case:
    from bertedge.evaluate.goals import goals_of
    from bertedge.records import from_json, read_json
    from bertedge.tuning.choice import choose, not_beaten
    from bertedge.tuning.measured import Entry
    from tests.tuning.helpers import entry

    file, other = samples.scratch / "static-0.json", entry("a")
    write_json(file, entry("b", kl=0.1, ms=2.0, recipe=DYNAMIC))

    def read() -> None:
        goals = goals_of({"max_kl": 0.01, "max_p95_ms": 3.0})
        entries = [other, from_json(Entry, read_json(file), file.name)]
        choose(entries, goals)
        not_beaten(entries, goals)

    return Case(path=file, mutators=JSON, read=read)


@kind("emulated system: lock.json")
def _system(samples: Samples) -> Case:
    folder = samples.scratch / "system"
    (folder / "root").mkdir(parents=True)
    (folder / "root/python").write_text("x")
    (folder / "site").mkdir()
    lock = Lock(
        schema_version=1, arch="aarch64", python="3.11", packages=(Fetched(name="a", sha256="0"),), files={},
    )  # fmt: skip
    write_json(folder / "lock.json", replace(lock, files=hashed_files(folder)))
    return Case(path=folder / "lock.json", mutators=JSON, read=lambda: open_system(folder, "aarch64"))
