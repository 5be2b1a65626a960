"""Tensors out of every file format, and out of files that are broken or mean harm."""

from __future__ import annotations

import json
import os
import pickle
import struct
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_torch_file

from bertedge.checkpoint.sources import ArraysSource, TensorSource, open_source
from bertedge.encoders import BERT
from bertedge.encoders.foreign_names import ForeignNames
from bertedge.errors import BertEdgeError, CheckpointError, FileError, MissingExtraError
from tests.encoders.test_names import TENSORFLOW_VARIABLES

FUZZ = settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
INDEX = "model.safetensors.index.json"


def arrays_of(seed: int = 0) -> dict[str, np.ndarray]:
    """A matrix, a vector and a scalar with values that float16 and bfloat16 hold exactly."""
    rng = np.random.default_rng(seed)
    shapes: dict[str, tuple[int, ...]] = {"a.matrix": (3, 5), "b.vector": (7,), "c.scalar": (), "d.empty": (0, 4)}
    return {name: np.asarray(rng.integers(-64, 64, size=shape) / 8, dtype=np.float32) for name, shape in shapes.items()}


def assert_holds(source: TensorSource, arrays: Mapping[str, np.ndarray]) -> None:
    assert dict(source.shapes) == {name: array.shape for name, array in arrays.items()}
    for name, array in arrays.items():
        loaded = source.load(name)
        assert loaded.dtype == np.float32
        assert loaded.flags.c_contiguous
        np.testing.assert_array_equal(loaded, array)


def write_header(path: Path, header: object, data: bytes = b"") -> None:
    """A safetensors file with any header."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def load_all(folder: Path) -> None:
    source = open_source(folder, BERT.names)
    for name in source.shapes:
        source.load(name)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16], ids=str)
def test_safetensors_of_every_float_type(tmp_path: Path, dtype: torch.dtype) -> None:
    arrays = arrays_of()
    tensors = {name: torch.from_numpy(array).to(dtype) for name, array in arrays.items()}
    save_torch_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    source = open_source(tmp_path, BERT.names)
    assert_holds(source, arrays)
    assert list(source.files) == [tmp_path / "model.safetensors"]


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.floats(width=32), min_size=1, max_size=20))
def test_bfloat16_is_widened_as_torch_does(tmp_path: Path, values: list[float]) -> None:
    tensor = torch.tensor(values).bfloat16()
    save_torch_file({"x": tensor}, tmp_path / "model.safetensors")
    np.testing.assert_array_equal(open_source(tmp_path, BERT.names).load("x"), tensor.float().numpy())


@pytest.mark.parametrize("dtype", [torch.int8, torch.int64, torch.bool, torch.float8_e4m3fn], ids=str)
def test_a_type_that_holds_no_weights_is_refused_when_it_is_read(tmp_path: Path, dtype: torch.dtype) -> None:
    save_torch_file({"x": torch.ones(2).to(dtype), "y": torch.ones(2)}, tmp_path / "model.safetensors")
    source = open_source(tmp_path, BERT.names)
    assert source.load("y").tolist() == [1, 1]
    with pytest.raises(CheckpointError, match=f"x has type {str(dtype).removeprefix('torch.')},"):
        source.load("x")


def test_names_become_canonical(tmp_path: Path) -> None:
    save_file({"embeddings.LayerNorm.gamma": np.ones(2, np.float32)}, tmp_path / "model.safetensors")
    assert list(open_source(tmp_path, BERT.names).shapes) == ["embeddings.LayerNorm.weight"]


def write_shards(folder: Path) -> dict[str, np.ndarray]:
    arrays = arrays_of()
    files = {name: f"model-0000{1 + index % 2}-of-00002.safetensors" for index, name in enumerate(arrays)}
    for file in set(files.values()):
        save_file({name: array for name, array in arrays.items() if files[name] == file}, folder / file)
    (folder / INDEX).write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": files}))
    return arrays


def test_shards(tmp_path: Path) -> None:
    arrays = write_shards(tmp_path)
    source = open_source(tmp_path, BERT.names)
    assert_holds(source, arrays)
    assert [file.name for file in source.files] == [
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
    ]


def test_missing_shards_are_named(tmp_path: Path) -> None:
    write_shards(tmp_path)
    (tmp_path / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(FileError, match=r"shards missing: model-00002-of-00002\.safetensors"):
        open_source(tmp_path, BERT.names)


def test_an_index_reaches_no_other_folder(tmp_path: Path) -> None:
    save_file(arrays_of(), tmp_path / "outside.safetensors")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / INDEX).write_text(json.dumps({"weight_map": {"x": "../outside.safetensors"}}))
    with pytest.raises(FileError, match="shards missing"):
        open_source(tmp_path / "model", BERT.names)


@pytest.mark.parametrize("index", [[], {}, {"weight_map": []}, {"weight_map": {"a": 1}}, {"weight_map": {}}, None])
def test_a_broken_index_is_named(tmp_path: Path, index: object) -> None:
    (tmp_path / INDEX).write_text(json.dumps(index))
    with pytest.raises(FileError, match=INDEX):
        open_source(tmp_path, BERT.names)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_pytorch_model_bin(tmp_path: Path, dtype: torch.dtype) -> None:
    arrays = arrays_of()
    state = {name: torch.nn.Parameter(torch.from_numpy(array).to(dtype)) for name, array in arrays.items()}
    torch.save(state, tmp_path / "pytorch_model.bin")
    source = open_source(tmp_path, BERT.names)
    assert_holds(source, arrays)
    assert list(source.files) == [tmp_path / "pytorch_model.bin"]


def test_pytorch_tensors_that_are_views(tmp_path: Path) -> None:
    table = torch.arange(12.0).reshape(3, 4)
    torch.save({"pooler.dense.weight": table.T, "x": table[1]}, tmp_path / "pytorch_model.bin")
    expected = {"pooler.dense.weight": table.numpy().T, "x": table[1].numpy()}
    assert_holds(open_source(tmp_path, BERT.names), expected)


class Harmful:
    """Unpickling this makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("bare", [False, True], ids=["torch", "pickle"])
def test_code_in_a_pickle_is_refused_and_not_run(tmp_path: Path, bare: bool) -> None:
    state = {"x": Harmful(tmp_path / "harm")}
    if bare:
        (tmp_path / "pytorch_model.bin").write_bytes(pickle.dumps(state, protocol=2))
    else:
        torch.save(state, tmp_path / "pytorch_model.bin")
    with pytest.raises(
        FileError, match=r"pytorch_model\.bin: (cannot be read: it holds posix\.mkdir|is not a zip archive)"
    ):
        open_source(tmp_path, BERT.names)
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize("state", [torch.ones(2), [torch.ones(2)], {3: torch.ones(2)}], ids=["tensor", "list", "keys"])
def test_a_pickle_that_is_no_state_dict(tmp_path: Path, state: object) -> None:
    torch.save(state, tmp_path / "pytorch_model.bin")
    with pytest.raises(FileError, match="holds no state dict"):
        open_source(tmp_path, BERT.names)


@FUZZ
@given(st.binary(max_size=200))
def test_any_bytes_as_a_pickle(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(data)
    with pytest.raises(FileError):
        open_source(tmp_path, BERT.names)


def test_formats_in_order_of_preference(tmp_path: Path) -> None:
    torch.save({"x": torch.zeros(1)}, tmp_path / "pytorch_model.bin")
    save_file({"x": np.ones(1, np.float32)}, tmp_path / "model.safetensors")
    assert open_source(tmp_path, BERT.names).load("x").tolist() == [1]


def test_a_folder_without_weights(tmp_path: Path) -> None:
    (tmp_path / "weights.h5").write_bytes(b"x")
    with pytest.raises(FileError, match=r"no weights; expected one of model\.safetensors, .*\*\.ckpt\.index"):
        open_source(tmp_path, BERT.names)


@pytest.fixture(scope="module")
def whole_file(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("whole") / "model.safetensors"
    save_file(arrays_of(), path)
    return path.read_bytes()


@FUZZ
@given(data=st.data())
def test_a_file_cut_off_anywhere(tmp_path: Path, whole_file: bytes, data: st.DataObject) -> None:
    stop = data.draw(st.integers(0, len(whole_file) - 1))
    (tmp_path / "model.safetensors").write_bytes(whole_file[:stop])
    with pytest.raises(FileError, match=r"model\.safetensors: is "):
        open_source(tmp_path, BERT.names)


@FUZZ
@given(data=st.data())
def test_a_file_with_altered_bytes(tmp_path: Path, whole_file: bytes, data: st.DataObject) -> None:
    altered = bytearray(whole_file)
    for _ in range(data.draw(st.integers(1, 3))):
        altered[data.draw(st.integers(0, len(altered) - 1))] = data.draw(st.integers(0, 255))
    (tmp_path / "model.safetensors").write_bytes(altered)
    try:
        load_all(tmp_path)
    except BertEdgeError as error:
        assert "model.safetensors" in error.message


@FUZZ
@given(st.binary(max_size=300))
def test_any_bytes_as_safetensors(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "model.safetensors").write_bytes(data)
    try:
        load_all(tmp_path)
    except BertEdgeError as error:
        assert "model.safetensors" in error.message


numbers = st.integers(-3, 9) | st.sampled_from([2**31, 2**63, 10**400]) | st.booleans() | st.none() | st.floats()
lists = st.lists(numbers, max_size=3)
entries = st.fixed_dictionaries(
    {},
    optional={
        "dtype": st.sampled_from(["F32", "BF16", "I8", "F7"]) | lists | st.none(),
        "shape": lists | numbers,
        "data_offsets": lists | numbers,
    },
)
plausible = st.fixed_dictionaries(
    {"dtype": st.just("F32"), "shape": st.lists(st.integers(-4, 4), max_size=3), "data_offsets": lists}
)


@FUZZ
@given(st.dictionaries(st.sampled_from(["x", "y", "__metadata__"]), entries | plausible | numbers | lists) | lists)
def test_any_header_as_safetensors(tmp_path: Path, header: object) -> None:
    write_header(tmp_path / "model.safetensors", header, bytes(16))
    try:
        load_all(tmp_path)
    except BertEdgeError as error:
        assert "model.safetensors" in error.message


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F32", "shape": [2], "data_offsets": [-8, 0]},
        {"dtype": "F32", "shape": [2], "data_offsets": [8, 0]},
        {"dtype": "F32", "shape": [-1, -2], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": [2], "data_offsets": [0, 8, 8]},
        {"dtype": "F32", "shape": [True], "data_offsets": [0, 4]},
        {"dtype": ["F32"], "shape": [2], "data_offsets": [0, 8]},
        {"shape": [2], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": [3], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": [2**32, 2**32, 2], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": [2], "data_offsets": [12, 20]},
        7,
    ],
    ids=str,
)
def test_an_impossible_tensor(tmp_path: Path, entry: object) -> None:
    write_header(tmp_path / "model.safetensors", {"x": entry}, bytes(16))
    with pytest.raises(FileError, match=r"model\.safetensors"):
        load_all(tmp_path)


def test_a_header_nested_without_end(tmp_path: Path) -> None:
    write_header(tmp_path / "model.safetensors", b"[" * 200_000)
    with pytest.raises(FileError, match="is not a safetensors file"):
        open_source(tmp_path, BERT.names)


def test_a_file_that_goes_away(tmp_path: Path) -> None:
    save_file(arrays_of(), tmp_path / "model.safetensors")
    source = open_source(tmp_path, BERT.names)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(FileError, match="cannot be read"):
        source.load("a.matrix")


def test_arrays_of_a_library_are_copied_row_by_row() -> None:
    matrix = np.arange(6, dtype=np.float64).reshape(2, 3).T
    assert_holds(ArraysSource({"x": matrix}), {"x": matrix.astype(np.float32)})


def test_a_missing_library_gives_the_pip_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorflow", None)  # what import finds where a package is not installed
    (tmp_path / "bert_model.ckpt.index").write_bytes(b"x")
    with pytest.raises(MissingExtraError, match="tensorflow") as caught:
        open_source(tmp_path, BERT.names)
    assert "pip install '.[tensorflow]'" in caught.value.hint


def test_tensorflow_checkpoint(tmp_path: Path) -> None:
    tensorflow = pytest.importorskip("tensorflow", reason="tensorflow is not installed")
    v1 = tensorflow.compat.v1
    rng = np.random.default_rng(0)
    arrays = {name: rng.normal(size=shape).astype(np.float32) for name, shape in TENSORFLOW_VARIABLES.items()}
    with v1.Graph().as_default(), v1.Session() as session:
        variables = [v1.get_variable(name, initializer=array) for name, array in arrays.items()]
        session.run(v1.global_variables_initializer())
        v1.train.Saver(variables).save(session, str(tmp_path / "bert_model.ckpt"), write_meta_graph=False)
    expected = {}
    for foreign, array in arrays.items():
        name, transposed = BERT.names.canonical_tensorflow(foreign)
        expected[name] = array.T if transposed else array
    assert_holds(open_source(tmp_path, BERT.names), expected)


def test_a_broken_tensorflow_checkpoint(tmp_path: Path) -> None:
    pytest.importorskip("tensorflow", reason="tensorflow is not installed")
    (tmp_path / "bert_model.ckpt.index").write_bytes(b"x")
    with pytest.raises(FileError, match="is not a readable TensorFlow checkpoint"):
        open_source(tmp_path, BERT.names)


@pytest.mark.parametrize(
    ("file", "form"), [("model.onnx", "ONNX"), ("onnx/model.onnx", "ONNX"), ("model.gguf", "GGUF")]
)
def test_a_folder_with_a_model_for_inference_only(tmp_path: Path, file: str, form: str) -> None:
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_bytes(b"x")
    for config, source in (("{}", ""), ('{"_name_or_path": "me/my-model"}', "'me/my-model'"), ("[", "")):
        (tmp_path / "config.json").write_text(config)
        with pytest.raises(FileError, match=f"holds only an {form} model") as caught:
            open_source(tmp_path, ForeignNames())
        assert source in caught.value.hint
        assert ("names" in caught.value.hint) == bool(source)
        assert len(str(caught.value).splitlines()) == 2
    (tmp_path / "manifest.json").write_text('{"provenance": {"source": "my-float"}}')
    with pytest.raises(FileError, match="my-float"):
        open_source(tmp_path, ForeignNames())
