"""The scripts in benchmarks/: they still import what they use, and write the pages that are in docs/."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = sorted((ROOT / "benchmarks").glob("*.py"))
PEERS = ROOT / "benchmarks" / "peers"
#: Packages that the tests do not install.
OPTIONAL = ("ctranslate2", "openvino", "nncf", "optimum")
IMPORT_ALL = f"""
import importlib, sys
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name.split(".")[0] not in {OPTIONAL}:
            print(f"{{name}}: {{error}}")
    except Exception as error:
        print(f"{{name}}: {{error!r}}")
"""


@pytest.fixture
def benchmarks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))


def test_scripts_import_what_there_is() -> None:
    names = [path.stem for path in SCRIPTS] + [f"peers.{path.stem}" for path in sorted(PEERS.glob("[a-z]*.py"))]
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL, *names],
        cwd=ROOT / "benchmarks",
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == ""


def test_every_script_is_listed() -> None:
    text = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
    assert not [path.name for path in SCRIPTS if f"`{path.name}" not in text]


@pytest.mark.usefixtures("benchmarks")
def test_the_page_of_the_peers_is_of_the_results_that_are_kept(tmp_path: Path) -> None:
    from peers import kept
    from peers.page import page

    report = kept.read(PEERS / "results.jsonl")
    assert page(report) == (ROOT / "docs" / "benchmarks" / "peers.md").read_text(encoding="utf-8")
    kept.write(tmp_path / "again.jsonl", report)
    assert kept.read(tmp_path / "again.jsonl") == report


@pytest.fixture
def write_page(benchmarks: None) -> ModuleType:
    import write_page

    return write_page


def test_a_block_of_a_page_is_replaced(write_page: ModuleType) -> None:
    page = "# A\n\n<!-- begin b -->\n\nold\n\n<!-- end b -->\n\nmore\n"
    assert write_page.replace_block(page, "b", "new") == page.replace("old", "new")
    with pytest.raises(ValueError, match="needs one block 'c'; it has b"):
        write_page.replace_block(page, "c", "new")


def test_blocks_of_the_pages_have_a_script(write_page: ModuleType) -> None:
    found = 0
    for page in sorted((ROOT / "docs").rglob("*.md")):
        text = page.read_text(encoding="utf-8")
        for block in write_page.blocks(text):
            script = ROOT / "benchmarks" / f"{block.split()[0]}.py"
            assert script.exists(), f"{page.name}: {block}"
            write_page.replace_block(text, block, "")
            found += 1
    assert found > 10
