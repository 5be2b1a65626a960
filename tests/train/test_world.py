"""Two processes that train one model make what one process makes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from bertedge.checkpoint import Checkpoint
from bertedge.errors import UnfitMachineError
from bertedge.train.world import joined
from tests.cli.test_cli import typed

SETTINGS = """layers = 1
hidden = 32
steps = 12
batch_size = 10
max_length = 32
precision = "float32"
dropout = 0
held_out = 0.2
evaluations = 2
"""


def run(command: list[object], log: Path) -> None:
    # on CPUs, of which two processes may share one; a GPU each is more than most machines have
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, env=environment, timeout=120, check=False
    )
    log.write_text(done.stderr)
    assert done.returncode == 0, done.stderr[-3000:]


def test_more_processes_than_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every process says so at once; if only the last one did, the others would wait for it."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    with pytest.raises(UnfitMachineError, match="2 processes on this machine, which has 1 GPU") as caught, joined():
        pass
    assert "CUDA_VISIBLE_DEVICES" in caught.value.hint


@pytest.mark.parametrize("command", ["train", "distill"])
def test_two_processes_equal_one(
    library: Path, model_folder: Path, tmp_path: Path, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tmp_path / "settings.toml"
    settings.write_text(SETTINGS + ("vocab_size = 200\n" if command == "train" else "relations_weight = 1\n"))
    given = [command, *([] if command == "train" else [model_folder]), library, "--settings", settings]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    done = typed(*given, "-o", tmp_path / "one")
    assert done.returncode == 0, done.stderr
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    torchrun += ["--log-dir", str(tmp_path / "logs")]
    run([*torchrun, "-m", "bertedge", *given, "-o", tmp_path / "two", "--set", "accumulate=2"], tmp_path / "two.log")
    one, two = (dict(Checkpoint.read(tmp_path / name).tensors()) for name in ("one", "two"))
    assert one.keys() == two.keys()
    for name, tensor in one.items():
        np.testing.assert_allclose(two[name], tensor, atol=2e-4, err_msg=name)
    logs = [
        [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        for name in ("one", "two")
    ]
    assert [record["step"] for record in logs[0]] == [record["step"] for record in logs[1]]
    for mine, other in zip(*logs, strict=True):
        key = "loss" if "loss" in mine else "held_out_loss"
        assert mine[key] == pytest.approx(other[key], rel=1e-3)
    told = json.loads((tmp_path / "two" / "training.json").read_text())
    assert told["processes"] == 2
    assert (tmp_path / "two.log").read_text().count("written after") == 1  # one of the two tells
