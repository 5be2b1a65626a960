"""Two processes that train one model make what one process makes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bertedge.checkpoint import Checkpoint

OPTIONS = ["--layers", "1", "--hidden", "32", "--vocab-size", "200", "--steps", "12", "--batch-size", "10"]
OPTIONS += ["--max-length", "32", "--precision", "float32", "--dropout", "0", "--held-out", "0.2", "--evaluations", "2"]


def run(command: list[object], log: Path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, env=environment, timeout=120, check=False
    )
    log.write_text(done.stderr)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize("command", ["train", "distill"])
def test_two_processes_equal_one(library: Path, model_folder: Path, tmp_path: Path, command: str) -> None:
    given = [command, library] if command == "train" else [command, model_folder, library, "--relations-weight", "1"]
    options = OPTIONS if command == "train" else [o for o in OPTIONS if o not in ("--vocab-size", "200")]
    run([sys.executable, "-m", "bertedge", *given, "-o", tmp_path / "one", *options], tmp_path / "one.log")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    run(
        [*torchrun, "-m", "bertedge", *given, "-o", tmp_path / "two", *options, "--accumulate", "2"],
        tmp_path / "two.log",
    )
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
