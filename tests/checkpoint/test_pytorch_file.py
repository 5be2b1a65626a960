"""``pytorch_model.bin`` without torch: tensors equal those that torch wrote, and other files are refused."""

from __future__ import annotations

import io
import json
import pickle
import struct
import subprocess
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bertedge.checkpoint import Checkpoint
from bertedge.checkpoint.sources import open_source
from bertedge.checkpoint.torch_pickle import MAX_BYTES
from bertedge.encoders import BERT, EncoderConfig, names, write_config
from bertedge.errors import BertEdgeError, CheckpointError, FileError
from bertedge.heads.parts import Parts
from bertedge.tokenizer import Tokenizer
from tests.conftest import random_tensors

BIN, INDEX = "pytorch_model.bin", "pytorch_model.bin.index.json"
HEADS = Parts(("mlm", "nsp"))
FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
SPECIAL = [0.0, -0.0, 1.0, -1.5, 3e-5, 1e-42, 65504.0, float("inf"), -float("inf"), float("nan")]


def tensors_of(dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """Every way in which a tensor may lie in its storage."""
    generator = torch.Generator().manual_seed(0)
    table = torch.randn(6, 8, generator=generator, dtype=torch.float64).to(dtype)
    class_attribute = table.clone()
    class_attribute.note = "attributes make torch write it in another way"  # type: ignore[attr-defined]
    parameter = torch.nn.Parameter(table.clone())
    parameter.note = "as above"  # type: ignore[attr-defined]
    return {
        "plain": table,
        "special": torch.tensor(SPECIAL, dtype=torch.float64).to(dtype),
        "transposed": table.T,
        "rows": table[2:5],
        "columns": table[:, 3:7],
        "every second": table[::2, ::3],
        "permuted": torch.arange(24, dtype=dtype).reshape(2, 3, 4).permute(2, 0, 1),
        "scalar": table[3, 4],
        "empty": torch.zeros(0, 4, dtype=dtype),
        "one of one": table[:1, :1].expand(1, 1),
        "parameter": torch.nn.Parameter(table.clone()),
        "parameter with attributes": parameter,
        "tensor with attributes": class_attribute,
    }


#: Opens folders where torch cannot be imported, and writes what was found as float32.
READER = """
import sys
sys.modules["torch"] = None
import numpy as np
from pathlib import Path
from bertedge.checkpoint.sources import open_source
from bertedge.encoders.foreign_names import ForeignNames
for folder in map(Path, sys.argv[1:]):
    source = open_source(folder, ForeignNames())
    np.savez(folder / "found.npz", **{name: source.load(name) for name in source.shapes})
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, np.ndarray]]:
    """What a process without torch reads of files that torch wrote."""
    root = tmp_path_factory.mktemp("found")
    for dtype in FLOATS:
        (root / str(dtype)).mkdir()
        torch.save(tensors_of(dtype), root / str(dtype) / BIN)
    for protocol in (3, 4, 5):
        (root / str(protocol)).mkdir()
        torch.save(OrderedDict(tensors_of(torch.float32)), root / str(protocol) / BIN, pickle_protocol=protocol)
    folders = sorted(root.iterdir())
    subprocess.run([sys.executable, "-c", READER, *map(str, folders)], check=True)
    return {folder.name: dict(np.load(folder / "found.npz")) for folder in folders}


def assert_bits(found: np.ndarray, tensor: torch.Tensor) -> None:
    expected = tensor.detach().float().numpy()
    assert found.dtype == np.float32
    assert found.shape == expected.shape
    assert found.flags.c_contiguous
    numbers = ~np.isnan(expected)
    assert (np.isnan(found) == ~numbers).all()
    bits = np.ascontiguousarray(found).view(np.uint32), np.ascontiguousarray(expected).view(np.uint32)
    np.testing.assert_array_equal(bits[0][numbers], bits[1][numbers])


@pytest.mark.parametrize("name", tensors_of(torch.float32))
@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_every_tensor_comes_back_bit_by_bit(found: dict, dtype: torch.dtype, name: str) -> None:
    assert_bits(found[str(dtype)][name], tensors_of(dtype)[name])


@pytest.mark.parametrize("protocol", ["3", "4", "5"])
def test_every_pickle_protocol(found: dict, protocol: str) -> None:
    for name, tensor in tensors_of(torch.float32).items():
        assert_bits(found[protocol][name], tensor)


@pytest.fixture
def folder(model_folder: Path, tmp_path: Path) -> Path:
    """The tiny checkpoint without weights."""
    for path in model_folder.iterdir():
        if path.suffix == ".json":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


@pytest.fixture(scope="module")
def weights(config: EncoderConfig) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(array) for name, array in random_tensors(config, HEADS).items()}


def assert_same(checkpoint: Checkpoint, weights: dict[str, torch.Tensor]) -> None:
    assert checkpoint.parts == HEADS
    for name, array in checkpoint.tensors():
        assert_bits(array, weights[name])


def test_a_bundle_is_made_where_torch_is_not_installed(
    folder: Path, weights: dict[str, torch.Tensor], corpus_file: Path
) -> None:
    torch.save(weights, folder / BIN)
    code = "import sys; sys.modules['torch'] = None; from bertedge.__main__ import main; sys.exit(main())"
    command = [sys.executable, "-c", code, "quantize", folder, "-o", folder / "bundle", "--calibration", corpus_file]
    done = subprocess.run([*map(str, command), "--examples", "4"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (folder / "bundle" / "model.onnx").is_file()


def test_weights_that_transformers_made(folder: Path, config: EncoderConfig) -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    fields = write_config(config)
    model = transformers.BertForPreTraining(transformers.BertConfig(**fields))
    torch.save(model.state_dict(), folder / BIN)
    checkpoint = Checkpoint.read(folder)
    assert checkpoint.left_out == ()
    assert_same(checkpoint, {BERT.names.canonical(name): tensor for name, tensor in model.state_dict().items()})


@pytest.mark.parametrize(
    "nested",
    [
        lambda state: {"epoch": 3, "state_dict": state, "optimizer": {"lr": 1e-4, "betas": (0.9, 0.98)}},
        lambda state: {"model_state_dict": state, "size": torch.Size([2]), "device": torch.device("cpu")},
        lambda state: {"model": {"state_dict": state}, "dtype": torch.float32, "done": True, "best": None},
        lambda state: {"module": OrderedDict(state), "loss": [1.5, 2**70]},
    ],
    ids=["Lightning", "model_state_dict", "twice", "DeepSpeed"],
)
def test_a_state_dict_among_other_things(
    folder: Path, weights: dict[str, torch.Tensor], nested: Callable[[dict], dict]
) -> None:
    torch.save(nested(weights), folder / BIN)
    assert_same(Checkpoint.read(folder), weights)


def test_shards(folder: Path, weights: dict[str, torch.Tensor]) -> None:
    where = {name: f"pytorch_model-{1 + index % 2:05}-of-00002.bin" for index, name in enumerate(weights)}
    for file in set(where.values()):
        torch.save({name: tensor for name, tensor in weights.items() if where[name] == file}, folder / file)
    (folder / INDEX).write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": where}))
    checkpoint = Checkpoint.read(folder)
    assert_same(checkpoint, weights)
    assert [path.name for path in checkpoint.source.files] == sorted(set(where.values()))
    (folder / "pytorch_model-00001-of-00002.bin").unlink()
    with pytest.raises(FileError, match=r"shards missing: pytorch_model-00001-of-00002\.bin"):
        Checkpoint.read(folder)


def test_files_without_checksums(tmp_path: Path) -> None:
    torch.serialization.set_crc32_options(False)
    try:
        torch.save({"x": torch.ones(2)}, tmp_path / BIN)
    finally:
        torch.serialization.set_crc32_options(True)
    assert open_source(tmp_path, BERT.names).load("x").tolist() == [1.0, 1.0]


def test_big_endian_files(tmp_path: Path) -> None:
    write_archive(tmp_path, {"data.pkl": pickled("x", kind="FloatStorage", count=2), "byteorder": b"big"}, ">2f")
    assert open_source(tmp_path, BERT.names).load("x").tolist() == [1.0, 2.0]


def quantized(shape: tuple[int, ...]) -> torch.Tensor:
    return torch.quantize_per_tensor(torch.ones(shape), 0.1, 0, torch.qint8)


#: How a weight may be stored that is no plain float -> what is said of it.
REFUSED: dict[str, Callable[[tuple[int, ...]], Any]] = {
    "int64": lambda shape: torch.ones(shape, dtype=torch.int64),
    "int8": lambda shape: torch.ones(shape, dtype=torch.int8),
    "bool": lambda shape: torch.ones(shape, dtype=torch.bool),
    "uint16": lambda shape: torch.ones(shape).to(torch.uint16),
    "complex64": lambda shape: torch.ones(shape, dtype=torch.complex64),
    "float8_e4m3fn": lambda shape: torch.ones(shape).to(torch.float8_e4m3fn),
    "float8_e5m2": lambda shape: torch.ones(shape).to(torch.float8_e5m2),
    "sparse": lambda shape: torch.ones(shape).to_sparse(),
    "sparse, compressed": lambda shape: torch.ones(shape).to_sparse_csr(),
    "quantized": quantized,
    "meta": lambda shape: torch.empty(shape, device="meta"),
    "nested": lambda shape: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]),
    "lazily conjugated or negated": lambda shape: torch.ones(shape, dtype=torch.complex64).conj().imag,
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", REFUSED)
def test_weights_that_are_no_plain_floats_are_named(folder: Path, weights: dict[str, torch.Tensor], kind: str) -> None:
    shape = tuple(weights[names.WORD_EMBEDDINGS].shape)
    torch.save({**weights, names.WORD_EMBEDDINGS: REFUSED[kind](shape)}, folder / BIN)
    with pytest.raises(CheckpointError) as caught:
        Checkpoint.read(folder)
    assert f"{names.WORD_EMBEDDINGS} has type {kind.partition(',')[0]}, expected float32" in caught.value.message
    assert str(caught.value).count("\n") == 1


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", REFUSED)
def test_the_same_in_a_tensor_that_is_not_needed(folder: Path, weights: dict[str, torch.Tensor], kind: str) -> None:
    torch.save({**weights, "embeddings.position_ids": REFUSED[kind]((1, 64))}, folder / BIN)
    checkpoint = Checkpoint.read(folder)
    assert checkpoint.left_out == ()
    assert_same(checkpoint, weights)


def test_a_float64_beyond_float32_is_named(folder: Path, weights: dict[str, torch.Tensor]) -> None:
    broken = weights[names.POSITION_EMBEDDINGS].double() * 1e200
    torch.save({**weights, names.POSITION_EMBEDDINGS: broken}, folder / BIN)
    with pytest.raises(CheckpointError, match="position_embeddings.weight holds NaN or infinity"):
        dict(Checkpoint.read(folder).tensors())


def test_the_old_format_is_refused_with_the_way_out(folder: Path, weights: dict[str, torch.Tensor]) -> None:
    for protocol in (4, 2):
        torch.save(weights, folder / BIN, _use_new_zipfile_serialization=False, pickle_protocol=protocol)
        with pytest.raises(FileError, match="has the format of torch before 1.6") as caught:
            Checkpoint.read(folder)
    command = caught.value.hint.partition('python -c "')[2].rstrip('"')
    subprocess.run([sys.executable, "-c", command], cwd=folder, check=True)
    assert_same(Checkpoint.read(folder), weights)


def test_a_whole_model_is_refused(tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(2, 2), tmp_path / BIN)
    with pytest.raises(FileError, match="it holds torch.nn.modules.linear.Linear, not only tensors") as caught:
        open_source(tmp_path, BERT.names)
    assert "model.state_dict()" in caught.value.hint


@pytest.mark.filterwarnings("ignore")
def test_a_torchscript_program_is_refused(tmp_path: Path) -> None:
    torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 2), torch.ones(1, 2)), tmp_path / BIN)
    with pytest.raises(FileError, match="is a TorchScript program, not a state dict"):
        open_source(tmp_path, BERT.names)


def write_archive(
    folder: Path, records: dict[str, bytes], layout: str = "<2f", compression: int = zipfile.ZIP_STORED
) -> None:
    """An archive as torch lays it out, with one storage of the numbers 1 and 2."""
    with zipfile.ZipFile(folder / BIN, "w", compression) as archive:
        for name, data in {"data/0": struct.pack(layout, 1, 2), **records}.items():
            archive.writestr(f"archive/{name}", data)


class Reduced:
    """Is pickled as a call of any function with any arguments."""

    def __init__(self, function: str, *arguments: Any) -> None:
        self.function, self.arguments = function, arguments


class Pickler(pickle._Pickler):  # type: ignore[misc, name-defined]
    """Writes names that need not exist, and storages as torch refers to them."""

    def persistent_id(self, value: Any) -> Any:
        return value.arguments if isinstance(value, Reduced) and value.function == "storage" else None

    def save(self, value: Any, save_persistent_id: bool = True) -> None:
        if isinstance(value, Reduced) and value.function != "storage":
            self.write(b"c" + value.function.replace(" ", "\n").encode() + b"\n")
            if value.arguments:
                self.save(value.arguments)
                self.write(b"R")
        else:
            super().save(value, save_persistent_id)


def pickled(
    name: str = "x", *, kind: str, count: int, shape: Any = None, strides: Any = (1,), offset: Any = 0
) -> bytes:
    """A state dict of one tensor, as ``torch.save`` would write it."""
    storage = Reduced("storage", "storage", Reduced(f"torch {kind}"), "0", "cpu", count)
    tensor = Reduced("torch._utils _rebuild_tensor_v2", storage, offset, shape or (count,), strides, False, {})
    file = io.BytesIO()
    Pickler(file, 2).dump({name: tensor})
    return file.getvalue()


@pytest.mark.parametrize(
    "changes",
    [
        {"shape": (2**31,), "strides": (0,)},
        {"shape": (2**40, 2**40), "strides": (0, 0)},
        {"shape": (3,)},
        {"shape": (2,), "offset": 1},
        {"shape": (2,), "strides": (2**40,)},
        {"shape": (2,), "strides": (1, 1)},
        {"shape": (-2,)},
        {"shape": (2,), "offset": -1},
        {"shape": (2.0,)},
        {"shape": (2,), "strides": (-1,)},
        {"shape": (2**70,)},
        {"shape": ("2",)},
        {"shape": (True,), "strides": (1,)},
    ],
    ids=str,
)
def test_tensors_that_their_data_cannot_hold(tmp_path: Path, changes: dict[str, Any]) -> None:
    write_archive(tmp_path, {"data.pkl": pickled(kind="FloatStorage", count=2, **changes)})
    with pytest.raises(FileError, match=r"pytorch_model\.bin: (x of shape .* does not fit|.*is damaged)"):
        open_source(tmp_path, BERT.names)


def test_a_record_that_is_missing(tmp_path: Path) -> None:
    write_archive(
        tmp_path,
        {"data.pkl": pickled(kind="FloatStorage", count=2).replace(b"X\x01\x00\x00\x000", b"X\x01\x00\x00\x009")},
    )
    with pytest.raises(FileError, match=r"has no archive/data/9"):
        open_source(tmp_path, BERT.names)


def test_what_is_compressed_is_refused(tmp_path: Path) -> None:
    data = {"data.pkl": pickled(kind="FloatStorage", count=2), "bomb": bytes(1 << 20)}
    write_archive(tmp_path, data, compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(FileError, match=r"data\.pkl is compressed"):
        open_source(tmp_path, BERT.names)


def test_an_archive_of_something_else(tmp_path: Path) -> None:
    write_archive(tmp_path, {"word/document.xml": b"<x/>"})
    with pytest.raises(FileError, match=r"is an archive without data\.pkl"):
        open_source(tmp_path, BERT.names)


DEEP = b"\x80\x02" + b")" + b"\x85" * 100_000 + b"."
#: A tuple of two of a tuple of two of ...: short to write, endless to print.
WIDE = b")" + b"".join(b"q" + bytes([i]) + b"0h" + bytes([i]) + b"h" + bytes([i]) + b"\x86" for i in range(200))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x80\x02}.",
        b"\x80\x02].",
        b"\x80\x02}",
        b"\x80\x02.",
        b"\x80\x02}r\xff\xff\xff\xff.",
        b"\x80\x02j\xff\xff\xff\xff.",
        b"\x80\x02}q\x00X\x05\x00\x00\x00modelh\x00s.",
        b"\x80\x02B\xff\xff\xff\x7fx.",
        b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7fx.",
        b"\x80\x02}" + DEEP[2:-1] + b"Ns.",
        b"\x80\x02}(NNNt.",
        b"\x80\x02ctorch\ndevice\n" + WIDE.replace(b"0h", b"h") + b"R.",
        b"\x80\x04" + WIDE.replace(b"0h", b"h") + b"X\x01\x00\x00\x00x\x93.",
        b"\x80\x02ctorch\nload\nX\x01\x00\x00\x00x\x85R.",
        b"\x80\x02c" + b"x" * 100_000 + b"\n" + b"y" * 1000 + b"\n.",
        b"\x80\x02cbuiltins\neval\nX\x0b\x00\x00\x001/0 # boom!\x85R.",
        b"\x80\x02(ibuiltins\neval\n.",
        b"N" * (MAX_BYTES + 1),
    ],
    ids=range(19),
)
def test_pickles_that_mean_harm(tmp_path: Path, data: bytes) -> None:
    write_archive(tmp_path, {"data.pkl": data})
    with pytest.raises(FileError) as caught:
        open_source(tmp_path, BERT.names)
    assert str(caught.value).count("\n") == 1
    assert len(caught.value.message) < 400 + len(str(tmp_path))


@pytest.mark.parametrize("name", ["a\nb", "a\x1b[31mb", "x" * 600])
def test_names_that_no_tensor_has(tmp_path: Path, name: str) -> None:
    write_archive(tmp_path, {"data.pkl": pickled(name, kind="FloatStorage", count=2)})
    with pytest.raises(FileError, match="is not a tensor.s name") as caught:
        open_source(tmp_path, BERT.names)
    assert str(caught.value).isascii()


@pytest.fixture(scope="module")
def whole_file() -> bytes:
    file = io.BytesIO()
    state = tensors_of(torch.float32)
    torch.save({name: state[name] for name in ("plain", "transposed", "parameter", "empty")}, file)
    return file.getvalue()


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_files_are_read_or_refused(tmp_path: Path, whole_file: bytes, data: st.DataObject) -> None:
    pickle_end = whole_file.index(b"PK\x07\x08")
    altered = bytearray(whole_file)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, pickle_end) | st.integers(0, len(altered) - 1))
        altered[place] = data.draw(st.integers(0, 255))
    (tmp_path / BIN).write_bytes(altered[: data.draw(st.integers(0, len(altered)) | st.just(len(altered)))])
    try:
        source = open_source(tmp_path, BERT.names)
        for name in source.shapes:
            source.load(name)
    except BertEdgeError as error:
        assert BIN in error.message
        assert str(error).count("\n") == 1


def test_a_tokenizer_reads_as_before(folder: Path, weights: dict[str, torch.Tensor], tokenizer: Tokenizer) -> None:
    torch.save(weights, folder / BIN)
    assert Checkpoint.read(folder).tokenizer.vocabulary() == tokenizer.vocabulary()
