"""The mirror of ``api.h``, and libraries that are not there or not ours."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from bertedge.engines.native import build, library
from bertedge.engines.native.compiler import Compiler, NoCompilerError
from bertedge.engines.native.library import ABI, ACTIVATIONS, DTYPES, FUNCTIONS, READS, STRUCTS
from bertedge.errors import UnfitMachineError

SOURCE = Path(library.__file__).parent / "src"
HEADER = (SOURCE / "api.h").read_text(encoding="utf-8")


def compiled(text: str, output: Path, *flags: str) -> Path:
    """Compile C++ text against ``api.h``."""
    try:
        command = Compiler.find().command
    except NoCompilerError as error:
        pytest.skip(str(error))
    source = output.with_suffix(".cpp")
    source.write_text(f'#include <cstddef>\n#include <cstdio>\n#include "{SOURCE / "api.h"}"\n{text}')
    subprocess.run([*command, *flags, str(source), "-o", str(output)], check=True)
    return output


def test_every_struct_is_laid_out_as_the_compiler_does(tmp_path: Path) -> None:
    lines = []
    for name, mirror in STRUCTS.items():
        lines.append(f'std::printf("%zu\\n", sizeof({name}));')
        lines += [f'std::printf("%zu\\n", offsetof({name}, {field[0]}));' for field in mirror._fields_]
    program = compiled(f"int main() {{ {' '.join(lines)} }}", tmp_path / "layout")
    theirs = iter(subprocess.run([program], capture_output=True, text=True, check=True).stdout.split())
    for name, mirror in STRUCTS.items():
        assert int(next(theirs)) == library.ctypes.sizeof(mirror), name
        for field in mirror._fields_:
            assert int(next(theirs)) == getattr(mirror, field[0]).offset, f"{name}.{field[0]}"


def test_every_struct_field_and_function_is_mirrored() -> None:
    structs = re.findall(r"typedef struct (be_\w+) \{(.*?)\} \1;", HEADER, re.DOTALL)
    assert {name for name, _ in structs} == STRUCTS.keys()
    for name, body in structs:
        declared = re.sub(r"//.*", "", body)
        fields = re.findall(r"(\w+)\s*[,;]", declared)
        assert fields == [field[0] for field in STRUCTS[name]._fields_], name
    assert set(re.findall(r"^BE_API .*?(be_\w+)\(", HEADER, re.MULTILINE)) == {*FUNCTIONS, "be_abi"}
    assert f"#define BE_ABI {ABI}\n" in HEADER


@pytest.mark.parametrize(
    ("kind", "values"), [("be_dtype", DTYPES), ("be_activation", ACTIVATIONS), ("be_reads", READS)]
)
def test_numbers_are_those_of_the_header(kind: str, values: dict[str, int]) -> None:
    (body,) = re.findall(rf"enum {kind} \{{(.*?)\}};", HEADER)
    found = dict(re.findall(r"BE_(\w+) = (\d+)", body))
    assert {name.upper(): str(number) for name, number in values.items()} == found


@pytest.fixture
def empty_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(library, "FOLDER", tmp_path)
    monkeypatch.setattr(library, "library", library.library.__wrapped__)
    return tmp_path


@pytest.mark.parametrize("record", [None, "", "[]", '{"reason": ""}'])
def test_a_library_that_is_missing(record: str | None, empty_package: Path) -> None:
    if record is not None:
        (empty_package / library.RECORD).write_text(record)
    with pytest.raises(UnfitMachineError, match="is not built: there is no libbertedge") as caught:
        library.kernels_here()
    assert "bertedge.engines.native.build" in caught.value.hint


def test_the_reason_of_the_build_is_told(empty_package: Path) -> None:
    assert library.RECORD == build.RECORD
    (empty_package / library.RECORD).write_text(json.dumps({"reason": "no C++17 compiler was found"}))
    with pytest.raises(UnfitMachineError, match="the native engine is not built: no C\\+\\+17 compiler was found"):
        library.library()


def test_a_file_that_is_no_library(tmp_path: Path) -> None:
    (tmp_path / "x.so").write_bytes(b"\x7fELF")
    with pytest.raises(UnfitMachineError, match="the native engine cannot be loaded"):
        library.opened(tmp_path / "x.so")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('extern "C" BE_API int32_t be_abi(void) { return BE_ABI + 1; }', f"has interface {ABI + 1}"),
        ("int other() { return 0; }", "cannot be loaded"),
    ],
)
def test_a_library_of_another_version(text: str, words: str, tmp_path: Path) -> None:
    path = compiled(text, tmp_path / "lib.so", "-shared", "-fPIC")
    with pytest.raises(UnfitMachineError, match=words):
        library.opened(path)
