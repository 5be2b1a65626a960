"""``--input`` as users run it: kills, full disks, pipes, and what is said at the end."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bertedge.bundle import Bundle
from bertedge.cli.app import app
from bertedge.errors import UsageError
from tests.cli.test_signals_and_streams import COMMAND, start, wait_for

#: A program that is the command, with small blocks, all of which are made safe, and a wait after each.
SLOWLY = """
import time
import bertedge.jobs.job_run as job_run
import bertedge.jobs.row_tables as row_tables

row_tables.BLOCK_ROWS, job_run.COMMIT_S = 10, 0
answered = job_run.answered

def slowly(*arguments):
    time.sleep(0.02)
    return answered(*arguments)

job_run.answered = slowly
from bertedge.__main__ import main
main()
"""


@pytest.fixture
def embed(bundle_of: Callable[..., Bundle], tmp_path: Path) -> list[str]:
    """The arguments of a command; its input is one of a thousand lines."""
    (tmp_path / "in.txt").write_text("".join(f"the cat {number} sat on the mat\n" for number in range(1000)))
    return ["embed", str(bundle_of("float32").folder), "--threads", "1", "--input", str(tmp_path / "in.txt")]


def run(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, text=True, check=False, **options)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -9), (signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_command_that_was_ended_goes_on(number: int, code: int, embed: list[str], tmp_path: Path) -> None:
    (tmp_path / "slowly.py").write_text(SLOWLY)
    target, partial = tmp_path / "out.jsonl", tmp_path / "out.jsonl.partial"
    process = start(*embed, "-o", target, program=["-m", "slowly"], cwd=tmp_path)
    wait_for(lambda: partial.exists() and partial.stat().st_size > 30_000, process)
    os.killpg(process.pid, number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert not target.exists()
    kept = json.loads((tmp_path / "out.jsonl.job.json").read_text())["progress"]["rows"]
    assert 0 < kept < 1000
    if number != signal.SIGKILL:
        assert f"hint: {kept} rows kept; go on with the same command and --resume" in err.splitlines()
        assert "Traceback" not in err
        return
    done = run(*embed, "-o", target, "--resume")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.startswith(f"{target}: 1,000 rows (text from column 'text')")
    lines = target.read_text().splitlines()
    assert [json.loads(line)["text"] for line in lines] == (tmp_path / "in.txt").read_text().splitlines()
    whole = run(*embed)
    assert whole.stdout.splitlines() == lines


def test_a_full_disk(embed: list[str], tmp_path: Path) -> None:
    """What was written stays, and the job goes on when there is room."""
    target = tmp_path / "out.jsonl"

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    full = run(*embed, "-o", target, preexec_fn=limited)
    assert full.returncode == 3
    error, hint = full.stderr.splitlines()
    assert error == f"error: {target}: File too large"
    assert hint == "hint: make room for it, then go on with the same command and --resume"
    assert not target.exists()
    assert run(*embed, "-o", target, "--resume").returncode == 0
    assert len(target.read_text().splitlines()) == 1000


def test_pipes(embed: list[str], tmp_path: Path) -> None:
    """Rows come through the standard input, and go to a reader that leaves early."""
    embed[-1] = "-"
    rows = "".join(json.dumps({"id": number, "text": f"a cat {number}"}) + "\n" for number in range(3)) + "{\n"
    done = run(*embed, input=rows)
    assert [json.loads(line)["id"] for line in done.stdout.splitlines()] == [0, 1, 2]
    assert "line 4: is not JSON" in done.stderr
    assert (done.returncode, "1 bad row" in done.stderr) == (0, True)
    many = "a cat\n" * 3000
    shell = f"{' '.join([*COMMAND, *embed])} | head -1; exit ${{PIPESTATUS[0]}}"
    left = subprocess.run(["bash", "-c", shell], input=many, capture_output=True, text=True, check=False)
    assert (left.returncode, len(left.stdout.splitlines())) == (141, 1)
    assert "Traceback" not in left.stderr


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["a text"], "'TEXTS' and --input are given"),
        (["--json"], "--json: has no effect with --input"),
        (["--resume", "--force", "-o", "x.jsonl"], "exclude each other"),
        (["-o", "x.doc"], "is not a format to write"),
        (["--strict", "--pooling", "sum"], "sum"),
    ],
)
def test_wrong_usage(more: list[str], message: str, embed: list[str]) -> None:
    with pytest.raises(UsageError, match=message):
        app([*embed, *more], standalone_mode=False)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["embed", "x"], "missing argument 'TEXTS'"),
        (["answer", "x", "--context", "c"], "missing option '--question'"),
        (["rerank", "x", "a", "--query", "q", "--column", "c"], "--column: has no effect without --input"),
        (["rerank", "x", "--query", "q", "--top", "2", "--input", "{input}"], "--top: has no effect on the rows"),
    ],
)
def test_wrong_usage_is_told_before_the_bundle_is_read(words: list[str], message: str, embed: list[str]) -> None:
    with pytest.raises(UsageError, match=message):
        app([word.format(input=embed[-1]) for word in words], standalone_mode=False)


def test_the_strict_exit_codes(embed: list[str], tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_bytes(b"one\n\xff\n")
    assert run(*embed, "--strict").returncode == 3
