"""The programs in examples/: they run, on the real frameworks."""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from bertedge import BundleMapper
from bertedge.bundle import Bundle
from bertedge.engines.threads import usable_cpus
from bertedge.errors import FileError
from bertedge.jobs.worker_threads import worker_threads
from bertedge.runtime import load

pytest.importorskip("ray", reason="ray is not installed: pip install 'ray[data]'")
pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed: pip install 'bertedge[data]'")

EXAMPLES = Path(__file__).parents[1] / "examples"
FILES, ROWS = 5, 24


@pytest.fixture(scope="module")
def cluster() -> Iterator[ModuleType]:
    """Ray on this machine alone, with a CPU for each of two workers and one for its own tasks."""
    # sockets need a short path
    with tempfile.TemporaryDirectory(prefix="ray", dir="/tmp") as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))  # otherwise Ray leaves one in the home folder
        import ray

        ray.init(
            address="local",
            num_cpus=3,
            object_store_memory=80 * 2**20,  # the least that Ray takes
            include_dashboard=False,
            log_to_driver=False,
            logging_level="ERROR",
            _node_ip_address="127.0.0.1",
            _temp_dir=folder,
        )
        try:
            yield ray
        finally:
            ray.shutdown()
            shutil.rmtree(folder, ignore_errors=True)  # its processes may still write their last lines


@pytest.fixture(scope="module")
def ray_embed(cluster: ModuleType) -> ModuleType:
    spec = importlib.util.spec_from_file_location("ray_embed", EXAMPLES / "ray_embed.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_worker_is_killed_halfway_and_nothing_is_lost_or_doubled(
    ray_embed: ModuleType, bundle_of: Callable[..., Bundle], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pyarrow import parquet

    bundle, killed = bundle_of("static").folder, tmp_path / "killed"
    texts = [f"The cat sat on mat {row}, and a ship left." for row in range(FILES * ROWS)]
    for file in range(FILES):
        rows = range(file * ROWS, (file + 1) * ROWS)
        table = pa.table({"id": rows, "body": [texts[row] for row in rows]})
        parquet.write_table(table, tmp_path / f"{file}.parquet")

    class Killed(BundleMapper):
        """The first worker that meets the row in the middle dies as on a machine that runs out of memory."""

        def __call__(self, batch: Any) -> Any:
            if FILES * ROWS // 2 in batch["id"].to_pylist() and not killed.exists():
                killed.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return super().__call__(batch)

    monkeypatch.setattr(ray_embed, "BundleMapper", Killed)
    inputs = [str(tmp_path / f"{file}.parquet") for file in range(FILES)]
    words = [*inputs, "--bundle", str(bundle), "--output", str(tmp_path / "vectors"), "--column", "body"]
    ray_embed.main([*words, "--workers", "2", "--batch-size", "8", "--rows-per-file", "32"])
    assert killed.exists()
    assert len(list((tmp_path / "vectors").glob("*.parquet"))) > 1
    found = parquet.read_table(tmp_path / "vectors").sort_by("id")
    assert found["id"].to_pylist() == list(range(len(texts)))
    assert found["body"].to_pylist() == texts
    vectors = found["embedding"].combine_chunks().flatten().to_numpy().reshape(len(texts), -1)
    np.testing.assert_array_equal(vectors, load(bundle, threads=1).encode(texts))


def test_a_worker_has_a_thread_for_each_cpu_that_ray_assigned(cluster: ModuleType) -> None:
    count = cluster.remote(num_cpus=2)(lambda: worker_threads(None))
    assert cluster.get(count.remote()) == min(2, usable_cpus())


def test_what_cannot_be_used_is_told_before_the_job(
    ray_embed: ModuleType, bundle_of: Callable[..., Bundle], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from pyarrow import parquet

    parquet.write_table(pa.table({"body": ["The cat sat."]}), tmp_path / "texts.parquet")
    words = [str(tmp_path / "texts.parquet"), "--output", str(tmp_path / "vectors"), "--column", "text", "--bundle"]
    with pytest.raises(SystemExit):
        ray_embed.main([*words, str(bundle_of("static").folder)])
    assert "no column 'text'; there are: body" in capsys.readouterr().err
    with pytest.raises(FileError, match="no such bundle"):
        ray_embed.main([*words, str(tmp_path / "nowhere")])
    assert not (tmp_path / "vectors").exists()
