"""Bundles that are altered, incomplete, of a newer schema, or not bundles at all."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bertedge.bundle import Bundle
from bertedge.errors import BertEdgeError, BundleError, CheckFailed, CheckpointError, FileError, UsageError
from bertedge.manifest import _digest
from bertedge.quantization import export, quantize
from bertedge.recipe import Dynamic, QuantizationRecipe
from bertedge.runtime import load
from tests.cli.test_cli import typed


@pytest.fixture
def copy(bundle_of: Callable[..., Bundle], tmp_path: Path) -> Path:
    """A bundle that a test may spoil."""
    return Path(shutil.copytree(bundle_of("dynamic").folder, tmp_path / "bundle"))


def edit_manifest(folder: Path, **changes: object) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_an_altered_file_is_named(copy: Path) -> None:
    data = bytearray((copy / "model.onnx").read_bytes())
    data[len(data) // 2] ^= 1
    (copy / "model.onnx").write_bytes(data)
    with pytest.raises(BundleError, match="model.onnx was altered"):
        load(copy)
    load(copy, check=False)


def test_every_missing_file_is_named(copy: Path) -> None:
    (copy / "model.onnx").unlink()
    (copy / "golden.npz").unlink()
    with pytest.raises(BundleError, match=r"golden.npz is missing, model.onnx is missing"):
        Bundle.open(copy)


def test_a_newer_schema(copy: Path) -> None:
    edit_manifest(copy, schema_version=99)
    with pytest.raises(BundleError, match="schema 99 is newer") as caught:
        Bundle.open(copy)
    assert "install a newer bertedge" in caught.value.hint


@pytest.mark.parametrize(
    "changes",
    [
        {"schema_version": "1"},
        {"extra": 1},
        {"files": {}},
        {"files": {"../x": {"sha256": "", "size_bytes": 1}}},
        {"coverage": 3},
        {"config": {}},
        {"positions": "some"},
        {"target": "z80"},
        {"min_onnxruntime": "new"},
        {"target": "portable", "recipe": None},
        {"heads": []},
        {"digest": "0" * 64},
    ],
)
def test_a_manifest_edited_by_hand(copy: Path, changes: dict) -> None:
    edit_manifest(copy, **changes)
    with pytest.raises(BundleError):
        Bundle.open(copy)


def test_a_target_changed_by_hand_is_noticed(bundle_of: Callable[..., Bundle], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(bundle_of("dynamic", "avx512-vnni").folder, tmp_path / "bundle"))
    load(folder, allow_any_cpu=True)
    edit_manifest(folder, target="portable")
    for check in (True, False):
        with pytest.raises(BundleError, match=r"manifest.json: was changed after bertedge wrote it"):
            load(folder, check=check, allow_any_cpu=True)


def test_a_manifest_without_its_digest(copy: Path) -> None:
    raw = json.loads((copy / "manifest.json").read_text())
    del raw["digest"]
    (copy / "manifest.json").write_text(json.dumps(raw))
    with pytest.raises(BundleError, match="was changed"):
        Bundle.open(copy)


def test_a_manifest_may_be_laid_out_anew(copy: Path) -> None:
    raw = json.loads((copy / "manifest.json").read_text())
    (copy / "manifest.json").write_text(json.dumps(dict(reversed(raw.items())), separators=(",", ":")))
    Bundle.open(copy)


def test_an_older_schema(copy: Path) -> None:
    edit_manifest(copy, schema_version=1)
    with pytest.raises(BundleError, match="schema 1 is older") as caught:
        Bundle.open(copy)
    assert "make it again" in caught.value.hint


@pytest.mark.parametrize("names", [[], ["model.onnx", "model.ort"]])
def test_a_bundle_has_one_model(copy: Path, names: list[str]) -> None:
    entry = {"sha256": "", "size_bytes": 1}
    edit_manifest(copy, files=dict.fromkeys(names, entry))
    with pytest.raises(BundleError, match=r"no model|'onnx', 'ort'"):
        Bundle.open(copy)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=400))
def test_any_bytes_as_a_manifest(copy: Path, data: bytes) -> None:
    (copy / "manifest.json").write_bytes(data)
    with pytest.raises(BertEdgeError):
        Bundle.open(copy)


@pytest.mark.parametrize("engine", ["auto", "onnxruntime"])
def test_a_broken_model_behind_right_hashes(copy: Path, engine: str) -> None:
    path = copy / "model.onnx"
    path.write_bytes(b"\xff" * path.stat().st_size)
    with pytest.raises(BundleError, match="cannot load|not finite"):
        load(copy, engine=engine, check=False)


@pytest.mark.parametrize("name", ["nowhere", "file"])
def test_not_a_bundle(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(FileError):
        Bundle.open(tmp_path / name)


def test_a_checkpoint_is_not_a_bundle(model_folder: Path) -> None:
    with pytest.raises(BundleError, match="is not a bundle") as caught:
        Bundle.open(model_folder)
    assert "bertedge quantize" in caught.value.hint


def test_nothing_is_overwritten_without_force(copy: Path, model_folder: Path) -> None:
    before = (copy / "manifest.json").read_bytes()
    with pytest.raises(FileError, match="already there"):
        export(model_folder, copy)
    assert (copy / "manifest.json").read_bytes() == before
    export(model_folder, copy, force=True)
    assert Bundle.open(copy).manifest.recipe is None


def test_force_spares_a_strangers_folder(tmp_path: Path, model_folder: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_bytes(b"x")
    with pytest.raises(FileError, match="not something that bertedge wrote"):
        export(model_folder, tmp_path / "photos", force=True)
    assert (tmp_path / "photos" / "cat.jpg").exists()


def test_an_interrupted_write_leaves_nothing(
    tmp_path: Path, model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("bertedge.quantization.maker.write_manifest", stop)
    with pytest.raises(KeyboardInterrupt):
        export(model_folder, tmp_path / "bundle")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_nothing(tmp_path: Path, model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device", str(tmp_path / "bundle"))

    monkeypatch.setattr("bertedge.graph.builder.GraphBuilder.write", full)
    with pytest.raises(FileError, match="No space left on device"):
        export(model_folder, tmp_path / "bundle")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"target": "avx513"}, "avx513"),
        ({"recipe": QuantizationRecipe(method=Dynamic(), exclude=("encoder.layer.9.*",))}, "matches no layer"),
    ],
)
def test_unknown_names_list_the_known_ones(tmp_path: Path, model_folder: Path, arguments: dict, words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        quantize(model_folder, tmp_path / "bundle", **arguments)
    assert "one of" in caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_excluded_layers_stay_float(tmp_path: Path, model_folder: Path, corpus_file: Path) -> None:
    whole = quantize(model_folder, tmp_path / "a", recipe=QuantizationRecipe(method=Dynamic()), calibration=corpus_file)
    recipe = QuantizationRecipe(method=Dynamic(), exclude=("encoder.layer.0.*", "mlm.decoder"))
    part = quantize(model_folder, tmp_path / "b", recipe=recipe, calibration=corpus_file)
    assert part.manifest.coverage.macs < whole.manifest.coverage.macs
    assert part.size_bytes > whole.size_bytes


def test_error_kinds_have_their_exit_codes() -> None:
    assert [kind.exit_code for kind in (CheckFailed, UsageError, FileError, CheckpointError, BundleError)] == [
        1,
        2,
        3,
        3,
        3,
    ]


def test_paths_may_be_plain_strings(model_folder: Path, copy: Path, tmp_path: Path) -> None:
    assert export(str(model_folder), str(tmp_path / "made")).config == Bundle.open(str(copy)).config


def signed(folder: Path, change: Callable[[dict], object]) -> None:
    """Change a manifest and give it its hash, as a program would that writes bundles."""
    path = folder / "manifest.json"
    raw = json.loads(path.read_text())
    del raw["digest"]
    change(raw)
    path.write_text(json.dumps({**raw, "digest": _digest(json.loads(json.dumps(raw)))}))


CONTRADICTIONS: dict[str, tuple[Callable[[dict], object], str]] = {
    "coverage": (lambda m: m["coverage"].update(macs=float("nan")), "coverage.macs: nan is not a number from 0 to 1"),
    "null": (lambda m: m["coverage"].update(bytes=None), "coverage.bytes: None is not a number from 0 to 1"),
    "share": (lambda m: m["fidelity"]["agreement"]["mlm"].update(equal=-1), "agreement.mlm.equal: -1 is not a number"),
    "cosine": (lambda m: m["fidelity"].update(min_cosine=float("nan")), "min_cosine: nan is not a number from -1 to 1"),
    "cosines": (lambda m: m["fidelity"].update(min_cosine=1.01), "min_cosine: 1.01 is not a number from -1 to 1"),
    "size": (lambda m: m["files"]["config.json"].update(size_bytes=-1), "size_bytes: -1 is not"),
    "sizes": (lambda m: m["bytes_by_part"].update(mlm=10**30), "bytes_by_part.mlm: 1000"),
    "schema": (lambda m: m["config"].update(hidden_size=10**30), "config: hidden_size"),
    "version": (lambda m: m.update(min_onnxruntime="1" * 5000), "min_onnxruntime '1111.*' is not a version"),
    "numerals": (lambda m: m.update(min_onnxruntime="١.٢"), "is not a version"),
    "positions": (lambda m: m.update(positions="all"), "inputs are .*, expected .*logits_end"),
    "no inputs": (lambda m: m.update(inputs=[]), "inputs are none, expected"),
    "an output less": (lambda m: m["outputs"].remove("nsp_logits"), "outputs are .*, expected"),
    "a head more": (lambda m: m["heads"].append("ner"), "head 'ner' is not known"),
    "a head less": (lambda m: m["heads"].remove("nsp"), "outputs are"),
    "recipe": (lambda m: m["recipe"].update(held_out=7), "recipe: held_out is 7"),
    "goal": (lambda m: m["goals"].update(max_kl=dict.fromkeys(GOAL, 1.0)), r"goals.max_kl.*metric"),
}
GOAL = ("metric", "bound", "value", "low", "high", "n", "met")


@pytest.mark.parametrize(("change", "words"), CONTRADICTIONS.values(), ids=CONTRADICTIONS)
@pytest.mark.parametrize("command", ["info", "fill-mask"])
def test_a_manifest_that_contradicts_itself(copy: Path, change: Callable, words: str, command: str) -> None:
    signed(copy, change)
    with pytest.raises(BundleError, match=words):
        Bundle.open(copy, check=False)
    done = typed(command, copy, *(["a [MASK]", "--no-verify"] if command == "fill-mask" else []))
    assert (done.returncode, len(done.stderr.splitlines())) == (3, 2)


def test_a_config_without_a_field_has_its_default(copy: Path) -> None:
    signed(copy, lambda m: [m["config"].pop(name) for name in ("layer_norm_eps", "type_vocab_size")])
    assert "2 layers x 32" in typed("info", copy).stdout
    signed(copy, lambda m: m["config"].pop("max_position_embeddings"))
    done = typed("info", copy)
    assert (done.returncode, "up to 512 tokens" in done.stdout) == (0, True)


def test_goals_of_a_later_version_are_shown(copy: Path) -> None:
    goal = {"metric": "x", "bound": 1.0, "value": 0.5, "low": 0.5, "high": 0.5, "n": 3, "met": True}
    signed(copy, lambda m: m["goals"].update(max_heat=goal))
    assert "x is 0.5, the goal is at most 1" in typed("info", copy).stdout
