"""Archives that are damaged or hostile: errors of two lines that cost nothing."""

from __future__ import annotations

import io
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bertedge.archives import open_archive
from bertedge.array_spec import ArraySpec
from bertedge.arrays import read_arrays
from bertedge.errors import BundleError, FileError

SCHEMA = {
    "ids": ArraySpec(dtype="int64", shape=("B", "S")),
    "states": ArraySpec(dtype="float32", shape=("B", 4)),
    "noise": ArraySpec(dtype="float64", shape=(), required=False),
}
SIZES = {"B": range(1, 65), "S": range(1, 129)}
IDS = np.arange(6).reshape(2, 3)
STATES = np.ones((2, 4), dtype=np.float32)


def written(path: Path, **arrays: np.ndarray) -> Path:
    np.savez_compressed(path, **{"ids": IDS, "states": STATES, **arrays})  # type: ignore[arg-type]
    return path


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def zipped(path: Path, members: list[tuple[str, bytes]], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return path


def test_arrays_come_back(tmp_path: Path) -> None:
    in_columns = np.asfortranarray(IDS)
    arrays = read_arrays(written(tmp_path / "a.npz", ids=in_columns, noise=np.array(0.5), other=IDS), SCHEMA, SIZES)
    assert sorted(arrays) == ["ids", "noise", "states"]
    assert np.array_equal(arrays["ids"], IDS)
    assert arrays["ids"].flags.writeable
    assert float(arrays["noise"]) == 0.5
    assert "noise" not in read_arrays(written(tmp_path / "b.npz"), SCHEMA, SIZES)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"ids": IDS.astype(np.int32)}, "ids is int32, expected int64"),
        ({"ids": np.arange(6)}, r"ids has shape \(6,\), expected \(1 to 64, 1 to 128\)"),
        ({"states": np.ones((3, 4), np.float32)}, r"states has shape \(3, 4\), expected \(2, 4\)"),
        ({"states": np.ones((2, 5), np.float32)}, r"expected \(2, 4\)"),
        ({"ids": np.zeros((0, 3), np.int64)}, "ids has shape"),
        ({"ids": np.array([[None]], dtype=object)}, "ids is object"),
        ({"ids": np.zeros((2, 3), dtype="i4,f8")}, "ids is"),
        ({"ids": IDS.astype(">i8")}, "ids is >i8, expected int64"),
        ({"ids": np.zeros((64, 100_000), np.int64)}, "expected"),
    ],
)
def test_what_the_schema_does_not_say_is_refused(tmp_path: Path, arrays: dict, words: str) -> None:
    with pytest.raises(BundleError, match=words):
        read_arrays(written(tmp_path / "a.npz", **arrays), SCHEMA, SIZES, error=BundleError, hint="again")


def test_a_missing_array_is_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", ids=IDS)
    with pytest.raises(FileError, match="has no array states"):
        read_arrays(tmp_path / "a.npz", SCHEMA, SIZES)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda data: b"", "is empty"),
        (lambda data: npy(IDS), "is a single array"),
        (lambda data: b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
        (lambda data: data[: len(data) // 2], "not a zip archive"),
        (lambda data: b"\0" * len(data), "not a zip archive"),
        (lambda data: data[:60] + b"\xff" * 20 + data[80:], "is damaged"),
    ],
)
def test_damage_is_named(tmp_path: Path, damage: Callable[[bytes], bytes], words: str) -> None:
    path = written(tmp_path / "a.npz")
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(FileError, match=words) as caught:
        read_arrays(path, SCHEMA, SIZES)
    assert "\n" not in caught.value.message


def test_a_checksum_is_compared(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.npz", [("ids.npy", npy(IDS)), ("states.npy", npy(STATES))], zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    data[data.index(IDS.tobytes()) + 8] ^= 1
    path.write_bytes(data)
    with pytest.raises(FileError, match=r"ids.npy is damaged \(Bad CRC-32"):
        read_arrays(path, SCHEMA, SIZES)


@pytest.mark.parametrize("header_says", [(64, 2**40), (64, 128), (2, 2)])
def test_a_header_that_lies_is_refused(tmp_path: Path, header_says: tuple[int, int]) -> None:
    data = npy(IDS).replace(b"(2, 3), }", f"{header_says}, }}".encode())
    path = zipped(tmp_path / "a.npz", [("ids.npy", data), ("states.npy", npy(STATES))])
    with pytest.raises(FileError, match="ids"):
        read_arrays(path, SCHEMA, SIZES)


@pytest.mark.parametrize("header", [b"((" * 2000, b"{'descr': 'V2000000000', 'fortran_order': 0, 'shape': (1,)}", b"1"])
def test_strange_headers(tmp_path: Path, header: bytes) -> None:
    data = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    path = zipped(tmp_path / "a.npz", [("ids.npy", data), ("states.npy", npy(STATES))])
    with pytest.raises(FileError, match="ids"):
        read_arrays(path, SCHEMA, SIZES)


def test_gigabytes_are_refused_before_they_are_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("ids.npy", "w") as member:
        member.write(npy(np.zeros((0, 3), np.int64)).replace(b"(0, 3), }          ", b"(1000000, 3), }    "))
        for _ in range(24):
            member.write(bytes(1_000_000))
    tracemalloc.start()
    with pytest.raises(FileError, match=r"ids has shape \(1000000, 3\)"):
        read_arrays(path, SCHEMA, SIZES)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4_000_000


def test_a_size_that_the_file_cannot_hold(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", [("big", b"x")])
    data = bytearray(path.read_bytes())
    at = data.rindex(b"PK\x01\x02") + 24
    data[at : at + 4] = (2**31).to_bytes(4, "little")
    path.write_bytes(data)
    with pytest.raises(FileError, match="big has 2147483648 bytes, more than the file can hold"), open_archive(path):
        pass


def test_a_name_that_is_there_twice(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="Duplicate"):
        path = zipped(tmp_path / "a.zip", [("one", b"x"), ("one", b"y")])
    with pytest.raises(FileError, match="has one twice"), open_archive(path):
        pass


def test_too_many_members_and_unusual_compression(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", [(f"m{i}", b"") for i in range(20)])
    with pytest.raises(FileError, match="has 20 members, expected 10"), open_archive(path, most_members=10):
        pass
    path = zipped(tmp_path / "b.zip", [("one", b"x" * 100)], zipfile.ZIP_LZMA)
    with pytest.raises(FileError, match="one is encrypted or compressed in an unusual way"), open_archive(path):
        pass


def test_members_are_read_and_found(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", [("one", b"0123456789")], zipfile.ZIP_STORED)
    with open_archive(path) as archive:
        assert archive.sizes == {"one": 10}
        assert archive.read("one", most=10) == b"0123456789"
        with archive.open("one") as member:
            member.seek(4)
            assert member.read(2) == b"45"
        with pytest.raises(FileError, match="one has 10 bytes, expected 9 at most"):
            archive.read("one", most=9)
        with pytest.raises(FileError, match="has no two"):
            archive.read("two", most=9)
        with pytest.raises(FileError, match="has 10 bytes unpacked, expected 5"):
            archive.extract_all(tmp_path / "out", most=5)
        archive.extract_all(tmp_path / "out", most=10)
    assert (tmp_path / "out" / "one").read_bytes() == b"0123456789"


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere.npz", tmp_path):
        with pytest.raises(FileError, match="cannot be read"), open_archive(path):
            pass


def test_every_checksum_is_compared(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", [("one", b"0123456789"), ("two", b"abcdefghij")], zipfile.ZIP_STORED)
    with open_archive(path) as archive:
        archive.check(most=20)
        with pytest.raises(FileError, match="has 20 bytes unpacked, expected 19"):
            archive.check(most=19)
    path.write_bytes(path.read_bytes().replace(b"abcdefghij", b"abcdefghiX", 1))
    with open_archive(path) as archive, pytest.raises(FileError, match="two is damaged"):
        archive.check(most=20)
