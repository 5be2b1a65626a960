"""Settings of train and distill: a file, ``--set`` and options."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bertedge.cli.train_command import chosen_settings
from bertedge.errors import FileError, UsageError
from bertedge.train.training_settings import distillation_keys, training_keys


def chosen(file: Path | None, *assignments: str, keys: Any = None, **options: Any) -> dict[str, Any]:
    return chosen_settings(keys or training_keys(), {"settings_file": file, "assignments": assignments}, options)


def test_options_go_over_set_and_set_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text("layers = 2\nseed = 1\nbatch_size = 8\nepochs = 3\n")
    values = chosen(file, "seed=2", "layers=3", layers=5)
    assert values == {"layers": 5, "seed": 2, "batch_size": 8, "epochs": 3.0}


def test_what_ends_a_run_is_replaced_as_a_whole(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text("epochs = 3\n")
    assert chosen(file, steps=10) == {"steps": 10}
    assert chosen(file, "minutes=5") == {"minutes": 5.0}
    assert chosen(None) == {"minutes": 10.0}


def test_an_unknown_setting_is_an_error_of_its_file(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text("temperature = 2\n")
    assert chosen(file, keys=distillation_keys())["temperature"] == 2.0
    with pytest.raises(FileError, match=r"settings\.toml: there is no setting 'temperature'"):
        chosen(file)
    with pytest.raises(UsageError, match="vocab_size"):
        chosen(None, "vocab_size=9", keys=distillation_keys())


def test_a_value_out_of_range_is_an_error_of_its_file(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text("hidden = 9223372036854775806\n")
    with pytest.raises(FileError, match=r"settings\.toml: hidden is 9223372036854775806, expected .* at most 65536"):
        chosen(file)
