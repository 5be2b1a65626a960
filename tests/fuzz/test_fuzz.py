"""Damaged files of every kind: two lines or a result, never a traceback, 10 seconds or a gigabyte.

Some mutations of each kind here; ``make fuzz`` tries thousands (``FUZZ_COUNT``), by another seed (``FUZZ_SEED``).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bertedge.bundle import Bundle
from tests.fuzz.harness import EXIT_CODES, MOST_BY_CLOCK, MOST_BYTES, fuzz, mutation
from tests.fuzz.kinds import COSTLY, KINDS, NATIVE, Samples
from tests.fuzz.mutators import BOMB_BYTES, bomb

COUNT = int(os.environ.get("FUZZ_COUNT", "100"))
SEED = int(os.environ.get("FUZZ_SEED", "0"))
#: Mutations for native readers, of which each crash takes a new process.
NATIVE_COUNT = max(10, COUNT // 10)
#: What a whole process of ours may take, its libraries included.
PROCESS_BYTES = 2 * MOST_BYTES


@pytest.fixture
def samples(model_folder: Path, bundle_of: Callable[..., Bundle], corpus_file: Path, tmp_path: Path) -> Samples:
    return Samples(model=model_folder, bundle=bundle_of("static"), corpus=corpus_file, scratch=tmp_path)


@pytest.mark.parametrize("name", KINDS)
def test_damage_ends_well(name: str, samples: Samples) -> None:
    outcome = fuzz(KINDS[name](samples), range(max(1, COUNT // COSTLY[name])), seed=SEED)
    print(f"\n{name:42} {outcome}")
    assert outcome.tried == sum(outcome.refused.values()) + outcome.accepted + outcome.failed
    assert not outcome.failures, "\n\n".join(f"{where}: {what}" for where, what in outcome.failures.items())


@pytest.mark.parametrize("name", NATIVE)
def test_a_damaged_model(name: str, samples: Samples) -> None:
    """With a corrected hash, onnxruntime itself may crash on the file; all other errors are two lines."""
    start, crashes = 0, []
    while start < NATIVE_COUNT:
        scratch = samples.scratch / f"from-{start}"
        scratch.mkdir()
        paths = map(str, (samples.model, samples.bundle.folder, samples.corpus, scratch))
        done = subprocess.run(
            [sys.executable, "-m", "tests.fuzz.worker", name, *paths, str(SEED), str(start), str(NATIVE_COUNT)],
            capture_output=True, text=True, check=False, timeout=20 * MOST_BY_CLOCK,
        )  # fmt: skip
        shutil.rmtree(scratch)
        numbers = [int(line) for line in done.stdout.splitlines() if line.isdigit()]
        assert numbers, done.stderr
        if done.returncode >= 0:
            assert done.returncode == 0, done.stderr
            print(f"\n{name:42} {done.stdout.splitlines()[-1]}")
            break
        crashes.append((numbers[-1], -done.returncode))
        start = numbers[-1] + 1
    print(f"{name}: mutations of seed {SEED} that crash onnxruntime, and the signal: {crashes or 'none'}")
    assert len(crashes) < NATIVE_COUNT / 2


def test_arrays_that_declare_much_more_than_they_hold(samples: Samples) -> None:
    case = replace(KINDS["bundle: golden.npz"](samples), mutators=(bomb,))
    outcome = fuzz(case, range(2), seed=SEED)
    assert outcome.refused == {"BundleError": 2}
    assert outcome.most_bytes < BOMB_BYTES / 4


def _limited() -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (PROCESS_BYTES, PROCESS_BYTES))


@pytest.mark.skipif(sys.platform != "linux", reason="limits memory as Linux does")
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("checkpoint: config.json", ("info", "model")),
        ("bundle: golden.npz", ("verify", "bundle", "--threads", "1")),
        ("report.json: report", ("report", "old.json")),
    ],
)
def test_a_whole_process(name: str, arguments: tuple[str, ...], samples: Samples) -> None:
    """The whole command in a process with 2 GB of memory; the tests above call functions only."""
    case = KINDS[name](samples)
    original = case.path.read_bytes()
    for index in range(100, 102):
        case.path.write_bytes(mutation(case, original, SEED, index)[1])
        case.after()
        done = subprocess.run(
            [sys.executable, "-m", "bertedge", *arguments],
            cwd=samples.scratch, capture_output=True, text=True, check=False, timeout=MOST_BY_CLOCK,
            preexec_fn=_limited, env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        )  # fmt: skip
        assert done.returncode in EXIT_CODES, done.stderr
        assert "Traceback" not in done.stderr
        if done.returncode:
            assert [line[:6] for line in done.stderr.splitlines()[-2:]] == ["error:", "hint: "]
