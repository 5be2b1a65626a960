"""Letters beyond ASCII in texts and paths, where the locale knows none."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from bertedge import load
from bertedge.bundle import Bundle

C_LOCALE = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0"}


def run(*arguments: object, python: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *python, "-m", "bertedge", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", env=C_LOCALE)


def test_texts_and_paths_with_an_accent(bundle_of: Callable[..., Bundle], tmp_path: Path) -> None:
    bundle = tmp_path / "café"
    shutil.copytree(bundle_of("static").folder, bundle)
    done = run("fill-mask", bundle, "Thé café is [MASK].", "--json")
    assert done.returncode == 0, done.stderr
    expected = load(bundle).fill_mask("Thé café is [MASK].")
    assert [fill["token"] for fill in json.loads(done.stdout)[0]] == [fill.token for fill in expected[0]]


def test_what_is_started_from_there(model_folder: Path, corpus_file: Path, tmp_path: Path) -> None:
    text = tmp_path / "téxt.txt"
    shutil.copy(corpus_file, text)
    done = run("quantize", model_folder, "-o", tmp_path / "büchlein", "--calibration", text, "--examples", 2)
    assert done.returncode == 0, done.stderr
    assert Bundle.open(tmp_path / "büchlein")


def test_what_cannot_be_helped_is_said(bundle_of: Callable[..., Bundle]) -> None:
    done = run("fill-mask", bundle_of("static").folder, "café [MASK]", python=("-X", "utf8=0"))
    assert done.returncode == 2
    assert "not Unicode" in done.stderr
