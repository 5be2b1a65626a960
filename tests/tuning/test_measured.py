"""What is on the disk between two runs."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bertedge.bundle import Bundle
from bertedge.errors import FileError
from bertedge.quantization.sensitivity import Sensitivity
from bertedge.recipe import Dynamic, QuantizationRecipe
from bertedge.tuning.candidates import Candidate
from bertedge.tuning.measured import Entry, Records
from bertedge.tuning.search import _prepare
from tests.tuning.helpers import entry

CANDIDATE = Candidate(model=0, recipe=QuantizationRecipe(method=Dynamic()), name="dynamic", stage=0)


@pytest.fixture
def kept(tmp_path: Path, bundle_of: Callable[..., Bundle]) -> tuple[Records, Entry]:
    """The record of a bundle."""
    records = Records(tmp_path, {"length": 16})
    name = records.name(CANDIDATE)
    bundle = Bundle.open(bundle_of("dynamic").folder)
    (tmp_path / name).symlink_to(bundle.folder)
    made = replace(entry("dynamic", recipe=CANDIDATE.recipe), folder=name, sha256=bundle.model_sha256)
    records.write(made)
    return records, made


def test_what_was_measured_is_found_again_under_its_new_name(kept: tuple[Records, Entry]) -> None:
    records, made = kept
    assert records.read(CANDIDATE) == made
    assert records.name(replace(CANDIDATE, name="other")) != made.folder
    other = Records(records.folder, {"length": 64})
    assert other.read(CANDIDATE) is None, "under other conditions it has to be measured"


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"name": 5}'])
def test_a_broken_record_is_measured_again(kept: tuple[Records, Entry], text: str) -> None:
    records, made = kept
    (records.folder / f"{made.folder}.json").write_text(text)
    assert records.read(CANDIDATE) is None


def test_a_bundle_that_is_gone_or_another_one_is_made_again(kept: tuple[Records, Entry]) -> None:
    records, made = kept
    records.write(replace(made, sha256="0" * 64))
    assert records.read(CANDIDATE) is None
    records.write(made)
    (records.folder / made.folder).unlink()
    assert records.read(CANDIDATE) is None


def test_sensitivities_are_measured_once(kept: tuple[Records, Entry]) -> None:
    records, made = kept
    measured = Sensitivity(examples=1, positions=2, losses={"mlm.kl_mean": 0.1}, remedies=())
    calls: list[int] = []

    def measure() -> Sensitivity:
        calls.append(1)
        return measured

    assert records.sensitivity(made, measure) == records.sensitivity(made, measure) == measured
    assert len(calls) == 1


@pytest.mark.parametrize(
    "names",
    [
        ("模型 static", "модель static", "static"),
        ("a b static", "a-b static"),
        ("Tiny static", "tiny static"),
        ("模", "型"),
        ("x" * 300 + "a", "x" * 300 + "b"),
    ],
)
def test_names_make_folders_that_file_systems_take(names: tuple[str, ...], tmp_path: Path) -> None:
    records = Records(tmp_path, {})
    recipes = [QuantizationRecipe(exclude=(name,)) for name in names]
    folders = [
        records.name(replace(CANDIDATE, name=name, recipe=recipe)) for name, recipe in zip(names, recipes, strict=True)
    ]
    assert len({folder.lower() for folder in folders}) == len(names)
    assert all(re.fullmatch(r"[a-z0-9][a-z0-9.=_-]{,149}", folder) for folder in folders)


def test_force_removes_what_a_search_wrote_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "candidates" / "static-0").mkdir(parents=True)
    (tmp_path / "pareto.json").write_text("{}")
    (tmp_path / "notes.txt").write_text("mine")
    _prepare(tmp_path, force=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["candidates", "notes.txt"]
    assert not list((tmp_path / "candidates").iterdir())


@pytest.mark.parametrize("force", [False, True])
def test_a_folder_of_something_else_is_left_alone(tmp_path: Path, force: bool) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(FileError, match="not the folder of a search"):
        _prepare(tmp_path, force=force)
    with pytest.raises(FileError, match="is a file"):
        _prepare(tmp_path / "thesis.txt", force=force)


def test_what_a_killed_search_left_half_written_is_cleared(tmp_path: Path) -> None:
    (tmp_path / ".pareto.json.0123456789abcdef").write_text("{")
    (tmp_path / "candidates" / ".static.0123456789abcdef").mkdir(parents=True)
    (tmp_path / "candidates" / ".static.0123456789abcdef" / "model.onnx").write_text("half")
    _prepare(tmp_path, force=False)
    assert [path.name for path in tmp_path.iterdir()] == ["candidates"]
    assert not any((tmp_path / "candidates").iterdir())
