"""What lies on the disk between two runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bertedge.errors import FileError, UsageError
from bertedge.quantization.sensitivity import Sensitivity
from bertedge.recipe import Dynamic, QuantizationRecipe
from bertedge.tuning.state import LayerStudy, Twin, open_state, save
from tests.tuning.helpers import SETTINGS, entry, exactly, state_of

STUDY = LayerStudy(
    model=0,
    recipe=QuantizationRecipe(),
    sensitivity=Sensitivity(examples=1, positions=2, losses={"mlm.kl_mean": 0.1}, remedies=()),
)


def test_a_state_survives_the_disk_and_counts_sessions(tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    state = state_of(entry("a"), studies=(STUDY,), floats={"1": {"mlm.kl_mean": exactly(0)}})
    save(folder, state)
    assert open_state(folder, SETTINGS, force=False) == replace(state, sessions=2)


def test_twins_are_found_under_their_own_recipe() -> None:
    other = QuantizationRecipe(method=Dynamic())
    state = state_of(entry("a"), twins=(Twin(model=0, recipe=other, sha256="a"),))
    assert state.find(0, other) == state.find(0, QuantizationRecipe()) == state.entries[0]
    assert state.find(1, other) is None


def test_other_settings_are_refused_and_named(tmp_path: Path) -> None:
    save(tmp_path, state_of(entry("a")))
    with pytest.raises(UsageError, match="holds a search with length 16, not 64") as raised:
        open_state(tmp_path, replace(SETTINGS, length=64), force=False)
    assert "--force" in raised.value.hint


def test_force_removes_what_a_search_wrote_and_nothing_else(tmp_path: Path) -> None:
    save(tmp_path, state_of(entry("a")))
    (tmp_path / "candidates").mkdir()
    (tmp_path / "notes.txt").write_text("mine")
    assert open_state(tmp_path, replace(SETTINGS, seed=1), force=True).entries == ()
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("force", [False, True])
def test_a_folder_of_something_else_is_left_alone(tmp_path: Path, force: bool) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(FileError, match="holds no search"):
        open_state(tmp_path, SETTINGS, force=force)
    with pytest.raises(FileError, match="is a file"):
        open_state(tmp_path / "thesis.txt", SETTINGS, force=force)


@pytest.mark.parametrize("text", ["{", "[]", '{"schema_version": 99}', '{"schema_version": 1}'])
def test_a_broken_state_is_an_error_that_names_the_file(tmp_path: Path, text: str) -> None:
    (tmp_path / "state.json").write_text(text)
    with pytest.raises(FileError, match=r"state\.json"):
        open_state(tmp_path, SETTINGS, force=False)


def test_what_a_killed_search_left_half_written_is_cleared(tmp_path: Path) -> None:
    """Killed in its first write, a search leaves a hidden file, which is not somebody else's."""
    (tmp_path / ".state.json.0123456789abcdef").write_text("{")
    (tmp_path / "candidates" / ".static.0123456789abcdef").mkdir(parents=True)
    (tmp_path / "candidates" / ".static.0123456789abcdef" / "model.onnx").write_text("half")
    with pytest.raises(FileError, match="not empty"):  # a folder that it did not make is still there
        open_state(tmp_path, SETTINGS, force=False)
    (tmp_path / "candidates").rmdir()
    assert open_state(tmp_path, SETTINGS, force=False).entries == ()
    assert not any(tmp_path.iterdir())
