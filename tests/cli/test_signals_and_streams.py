"""Ctrl-C at any time, full disks, and pipes without a reader."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from bertedge.bundle import Bundle
from bertedge.report.schema import read_report, write_report
from tests.report.samples import model, report_of

COMMAND = [sys.executable, "-m", "bertedge"]
#: A program that is the command, and makes a file when latency is measured for the third time.
TELLS_WHEN_IT_TIMES = """
import sys
from pathlib import Path
import bertedge.evaluate.study as study

measured, interleave = [], study.interleave

def telling(*arguments, **options):
    measured.append(interleave(*arguments, **options))
    if len(measured) == 3:
        Path({timing!r}).touch()
    return measured[-1]

study.interleave = telling
sys.dont_write_bytecode = True
from bertedge.__main__ import main
main()
"""
full_disk = pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")


def start(*arguments: object, program: Sequence[str] = ("-m", "bertedge"), **options: object) -> subprocess.Popen[str]:
    """Start a command as a shell does in the foreground: SIGINT is heard, and reaches the whole process group."""

    def hear() -> None:  # a background job would ignore Ctrl-C, one under nohup the end of its terminal
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)

    return subprocess.Popen(
        [sys.executable, *program, *map(str, arguments)],
        text=True,
        start_new_session=True,
        preexec_fn=hear,
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options},  # type: ignore[call-overload]
    )


def wait_for(what: Callable[[], object], process: subprocess.Popen[str]) -> None:
    """Wait until something is there."""
    end = time.monotonic() + 60
    while not what():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < end
        time.sleep(0.002)


def hears(process: subprocess.Popen[str], number: int = signal.SIGINT) -> bool:
    """Whether our own handler of a signal is in place, as Linux tells it."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(caught.split()[1], 16) >> (number - 1) & 1)


def scratch_of(folder: Path) -> Callable[[], list[Path]]:
    """A look at the scratch folders that stand in a folder."""
    return lambda: list(folder.glob(".*"))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("after_s", [0.0, 0.02, 0.05, 0.1, 0.2, 0.4])
def test_ctrl_c_while_modules_are_imported(after_s: float, tmp_path: Path) -> None:
    process = start("demo", "-o", tmp_path / "demo.int8")
    wait_for(lambda: hears(process, signal.SIGTERM), process)  # the handler that is set last
    time.sleep(after_s)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert err.splitlines()[-1] == "stopped"
    assert "Traceback" not in err
    # where the signal falls into exec() of a string, CPython ends itself by SIGINT at last; a shell says 130 to both
    assert process.returncode in (130, -signal.SIGINT)


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("command", ["quantize", "export"])
def test_ctrl_c_while_a_folder_is_written(
    command: str, times: int, model_folder: Path, corpus_file: Path, tmp_path: Path
) -> None:
    more = ["--calibration", corpus_file, "--examples", 10_000] if command == "quantize" else []
    process = start(command, model_folder, "-o", tmp_path / "made", *more)
    wait_for(scratch_of(tmp_path), process)
    for _ in range(times):
        os.killpg(process.pid, signal.SIGINT)
        time.sleep(0.01)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, "stopped\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_end_while_latency_is_measured(
    number: int, code: int, bundle_of: Callable[..., Bundle], model_folder: Path, corpus_file: Path, tmp_path: Path
) -> None:
    """What was measured stays, and says that it is not all; scratch folders go."""
    report = tmp_path / "report.json"
    timing = tmp_path / "timing"
    (tmp_path / "telling.py").write_text(TELLS_WHEN_IT_TIMES.format(timing=str(timing)))
    arguments = ["bench", bundle_of("static").folder, "--reference", model_folder, "--corpus", corpus_file]
    arguments += ["--examples", 8, "--rounds", 10**6, "--lengths", "1x8", "--threads", 1]
    arguments += ["--json", report, "--markdown", tmp_path / "report.md"]
    env = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    process = start(*arguments, program=["-m", "telling"], cwd=tmp_path, env=env)
    wait_for(timing.exists, process)
    os.killpg(process.pid, number)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (code, "")
    told = [line for line in err.splitlines() if line.startswith(("report:", "tables:"))]  # Python may print a warning
    assert told == [f"report: {report} (incomplete)", f"tables: {tmp_path / 'report.md'} (incomplete)"]
    read = read_report(report)
    assert not read.complete
    assert "cold start" in read.missing
    assert read.candidates[0].fidelity["mlm.kl_mean"].n > 0
    assert (tmp_path / "report.md").read_text().startswith("**Incomplete")
    left = {path.name for path in tmp_path.iterdir()} - {".ses"}  # onnxruntime's own, where it likes
    assert left == {"report.json", "report.md", "timing", "telling.py"}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_other_endings_clear_away_too(number: int, model_folder: Path, corpus_file: Path, tmp_path: Path) -> None:
    process = start(
        "quantize", model_folder, "-o", tmp_path / "made", "--calibration", corpus_file, "--examples", 10_000
    )
    wait_for(scratch_of(tmp_path), process)
    process.send_signal(number)
    assert process.wait(timeout=60) == 128 + number
    assert list(tmp_path.iterdir()) == []


@full_disk
@pytest.mark.parametrize(
    "arguments",
    [["info", "--targets"], ["info", "--targets", "--json"], ["info", "{bundle}"], ["--help"], ["--version"], []],
)
def test_a_full_disk_on_stdout(arguments: list[str], bundle_of: Callable[..., Bundle]) -> None:
    bundle = bundle_of("static").folder
    with open("/dev/full", "w") as full:
        process = start(*(argument.format(bundle=bundle) for argument in arguments), stdout=full)
        _, err = process.communicate(timeout=60)
    *warnings, error, hint = err.splitlines()
    assert process.returncode == 3
    assert all(line.startswith("warning: ") for line in warnings)  # those of the bundle
    assert error == "error: stdout: No space left on device"
    assert hint.startswith("hint: ")


@full_disk
@pytest.mark.parametrize("command", ["bench", "compare"])
def test_what_was_measured_is_saved_where_the_table_cannot_be_printed(
    command: str, bundle_of: Callable[..., Bundle], model_folder: Path, corpus_file: Path, tmp_path: Path
) -> None:
    """On a full disk and for a reader that went away: files first, and the baseline with them."""
    saved = {"markdown": tmp_path / "r.md", "junit": tmp_path / "r.xml", "html": tmp_path / "r.html"}
    bench = [
        *("bench", bundle_of("static").folder, "--reference", model_folder, "--corpus", corpus_file, "--seconds", 0),
        *("--examples", 16, "--rounds", 2, "--lengths", "1x8", "--threads", 1, "--json", tmp_path / "r.json"),
    ]
    if command == "compare":
        for name in ("r.json", "baseline.json"):
            write_report(tmp_path / name, report_of(model("small")))
        command_line = ["compare", tmp_path / "baseline.json", tmp_path / "r.json"]
        saved.pop("html")  # a page tells of the model's shape, which that report has not
    else:
        command_line = [*bench, "--baseline", tmp_path / "baseline.json"]
    update = ["--update-baseline", "--reason", "it stays"]
    files = [word for name, path in saved.items() for word in (f"--{name}", path)]
    with open("/dev/full", "w") as full:
        process = start(*command_line, *files, *update, stdout=full)
        _, err = process.communicate(timeout=120)
    assert process.returncode == 3, err
    assert "stdout: No space left on device" in err
    assert [path.name for path in saved.values() if not path.exists()] == []
    assert read_report(tmp_path / "r.json").complete
    assert [accepted.reason for accepted in read_report(tmp_path / "baseline.json").history] == ["it stays"]


@pytest.mark.parametrize("arguments", [["info", "--targets"], ["info", "--targets", "--json"], ["--help"]])
def test_a_pipe_that_nobody_reads_is_left_in_silence(arguments: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    process = start(*arguments, stdout=writer)
    os.close(writer)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (128 + signal.SIGPIPE, "")


@full_disk
def test_the_work_goes_on_where_nobody_reads_the_notes(model_folder: Path, tmp_path: Path) -> None:
    with open("/dev/full", "w") as full:
        process = start("export", model_folder, "-o", tmp_path / "made", stderr=full)
        assert process.wait(timeout=60) == 0
    assert Bundle.open(tmp_path / "made")


@pytest.mark.parametrize("closed", [1, 2])
def test_a_closed_stream_is_nobodys_file(closed: int, model_folder: Path, tmp_path: Path) -> None:
    shell = f'"$@" {closed}>&-'
    made = tmp_path / "made"
    done = subprocess.run(
        ["sh", "-c", shell, "sh", *COMMAND, "export", str(model_folder), "-o", str(made)], capture_output=True
    )
    assert done.returncode == 0
    assert Bundle.open(made)


def test_letters_that_the_terminal_cannot_spell_are_escaped(bundle_of: Callable[..., Bundle]) -> None:
    bundle = bundle_of("static").folder
    env = {**os.environ, "PYTHONIOENCODING": "ascii"}
    process = start("fill-mask", bundle, "a žluťoučký kůň", env=env)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "\\u017e" in err or "\\x" in err
    assert "Traceback" not in err


@pytest.mark.parametrize("swallows", ["except BaseException: pass", "except BaseException: raise TypeError"])
@pytest.mark.parametrize(("number", "says"), [(signal.SIGINT, "stopped\n"), (signal.SIGTERM, "")])
def test_an_end_that_a_library_drops_or_renames_is_an_end(
    number: signal.Signals, says: str, swallows: str, tmp_path: Path
) -> None:
    """As C code does that calls Python: numpy made a TypeError of it, or nothing at all."""
    (tmp_path / "dropped.py").write_text(
        "import os, signal, sys, time\n"
        "import bertedge.__main__, bertedge.cli.app\n"
        "from bertedge.cli.stopping import when_stopped\n"
        "def run(arguments):\n"
        "    with when_stopped(lambda: print('this is kept', file=sys.stderr)):\n"
        "        try:\n"
        f"            os.kill(os.getpid(), {int(number)})\n"
        "            time.sleep(60)\n"
        f"        {swallows}\n"
        "        time.sleep(60)\n"
        "bertedge.cli.app.run = run\n"
        "bertedge.__main__.main()\n"
    )
    process = start(program=[str(tmp_path / "dropped.py")])
    _, err = process.communicate(timeout=50)
    assert (process.returncode, err) == (128 + number, f"this is kept\n{says}")
