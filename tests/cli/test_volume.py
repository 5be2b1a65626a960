"""How much is said on stderr: --quiet, --verbose and bertedge's loggers."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from bertedge.bundle import Bundle
from bertedge.quantization import export
from bertedge.runtime import load
from tests.cli.test_cli import typed

MakeBundle = Callable[..., Bundle]
TEXT = "The cat sat on the [MASK]."


def test_a_library_user_sees_what_is_loaded(bundle_of: MakeBundle, caplog: pytest.LogCaptureFixture) -> None:
    folder = bundle_of("static").folder
    with caplog.at_level(logging.INFO, logger="bertedge"):
        load(folder, threads=1)
    (record,) = caplog.records
    assert record.name.startswith("bertedge.")
    assert f"loaded {folder}: target portable, 1 thread" in record.message


def test_a_library_user_sees_what_is_made(model_folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="bertedge"):
        export(model_folder, tmp_path / "bundle")
    said = "\n".join(record.message for record in caplog.records)
    assert f"reading the checkpoint {model_folder}" in said
    assert f"to {tmp_path / 'bundle'}" in said


@pytest.mark.parametrize("at", [0, 1, 3])
def test_verbose_says_it_on_stderr(at: int, bundle_of: MakeBundle) -> None:
    words = ["fill-mask", str(bundle_of("static").folder), TEXT]
    silent = typed(*words)
    told = typed(*words[:at], "--verbose", *words[at:])
    assert (silent.stderr, told.stdout) == ("", silent.stdout)
    assert told.stderr.startswith("bertedge.runtime.")
    assert "loaded" in told.stderr
    assert typed(*words).stderr == ""  # for one command only
    assert logging.getLogger("bertedge").level == logging.NOTSET


@pytest.mark.parametrize("at", [0, 1, 4])
def test_quiet_leaves_out_everything_but_data_and_errors(at: int, model_folder: Path, tmp_path: Path) -> None:
    words = ["export", str(model_folder), "-o", str(tmp_path / "loud")]
    assert typed(*words).stderr
    words[-1] = str(tmp_path / "quiet")
    done = typed(*words[:at], "--quiet", *words[at:])
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (tmp_path / "quiet" / "model.onnx").is_file()


def test_quiet_leaves_out_warnings(bundle_of: MakeBundle) -> None:
    words = ["next-sentence", str(bundle_of("static").folder), "the cat " * 100, "One."]
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        loud, quiet = typed(*words), typed("--quiet", *words)
    assert loud.stderr.startswith("warning: ")
    assert (quiet.stdout, quiet.stderr) == (loud.stdout, "")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["fill-mask", "no-such-bundle", TEXT], 3),
        (["fill-mask"], 2),
        (["info", "--nonsense"], 2),
        (["info", "--verbose"], 2),
    ],
)
def test_quiet_prints_errors_in_two_lines(words: list[str], code: int) -> None:
    done = typed(*words, "--quiet")
    error, hint = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (code, "")
    assert error.startswith("error: ")
    assert hint.startswith("hint: ")


def test_what_stands_behind_two_dashes_is_text(bundle_of: MakeBundle) -> None:
    assert "follow" in typed("next-sentence", bundle_of("static").folder, "--", "--quiet", "--verbose").stdout
