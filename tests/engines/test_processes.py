"""One loaded runtime in many processes: pickled, copied, forked, and under gunicorn --preload."""

from __future__ import annotations

import copy
import multiprocessing
import os
import pickle
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from http.client import HTTPConnection
from pathlib import Path

import pytest

import bertedge
from bertedge.bundle import Bundle
from bertedge.emulate.simulate import simulate
from bertedge.engines import ENGINES
from bertedge.errors import BundleError, FileError, UsageError
from bertedge.runtime import BertRuntime, load
from tests.conftest import skip_where_unfit

MakeBundle = Callable[..., Bundle]
PACKAGE_PARENT = str(Path(bertedge.__file__).parents[1])
TEXT = "The cat sat on the [MASK]."
forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


@pytest.fixture
def folder(bundle_of: MakeBundle, tmp_path: Path) -> Path:
    """A copy of a bundle, to be changed."""
    return Path(shutil.copytree(bundle_of("static").folder, tmp_path / "bundle"))


def test_a_pickled_runtime_opens_its_bundle_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    runtime = load("bundle", threads=1)
    data = pickle.dumps(runtime)
    assert len(data) < 1000
    monkeypatch.chdir("/")
    for again in (pickle.loads(data), copy.copy(runtime), copy.deepcopy({"bert": runtime})["bert"]):
        assert again is not runtime
        assert again.runner is not runtime.runner
        assert again.threads == 1
        assert again.fill_mask(TEXT) == runtime.fill_mask(TEXT)


def test_a_pickled_runtime_keeps_its_checks(folder: Path) -> None:
    checked, unchecked = (pickle.dumps(load(folder, check=check)) for check in (True, False))
    data = bytearray((folder / "golden.npz").read_bytes())
    data[len(data) // 2] ^= 1
    (folder / "golden.npz").write_bytes(data)
    with pytest.raises(BundleError, match=r"golden\.npz was altered"):
        pickle.loads(checked)
    pickle.loads(unchecked).fill_mask(TEXT)


def test_another_bundle_in_the_same_folder_is_noticed(folder: Path, bundle_of: MakeBundle) -> None:
    data = pickle.dumps(load(folder))
    shutil.rmtree(folder)
    with pytest.raises(FileError, match="no such bundle"):
        pickle.loads(data)
    shutil.copytree(bundle_of("dynamic").folder, folder)
    with pytest.raises(BundleError, match="the bundle was replaced") as caught:
        pickle.loads(data)
    assert caught.value.hint


def test_a_simulated_runtime_says_that_it_cannot_be_pickled(bundle_of: MakeBundle) -> None:
    runtime, _ = simulate(bundle_of("static").folder, "avx2")
    for make in (pickle.dumps, copy.deepcopy):
        with pytest.raises(UsageError, match="engine 'avx2, simulated' cannot be pickled") as caught:
            make(runtime)
        assert "each process" in caught.value.hint


def answer(runtime: BertRuntime, text: str) -> str:
    """What a worker process does."""
    return runtime.fill_mask(text)[0][0].token


def test_a_runtime_is_sent_to_workers(bundle_of: MakeBundle) -> None:
    runtime = load(bundle_of("static").folder, threads=1)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as executor:
        assert executor.submit(answer, runtime, TEXT).result(timeout=60) == answer(runtime, TEXT)
        refused = executor.submit(answer, runtime, "no mask here")
        with pytest.raises(UsageError, match="no \\[MASK\\] in 'no mask here'"):
            refused.result(timeout=60)


@pytest.fixture(params=["onnxruntime", "native"])
def engine(request: pytest.FixtureRequest, bundle_of: MakeBundle) -> str:
    skip_where_unfit(ENGINES[request.param], bundle_of("static"))
    return request.param


#: A program that forks after loading: ``fork`` tells how the children ended; 0 is well.
PROGRAM = """
import os, signal, sys, threading, time
import bertedge
from bertedge.errors import BertEdgeError

bert = bertedge.load(sys.argv[1], engine=sys.argv[2], threads=2)
texts = ["the " * length for length in range(1, 20)]


def use():
    # a call on all threads together, and one that gives each thread work of its own
    return bert.fill_mask("The cat sat on the [MASK]."), bert.encode(texts).tobytes()


def asleep():
    # onnxruntime's threads wait actively for a moment; it is those that sleep whose absence a child would notice
    end = time.monotonic() + 10
    while sys.platform == "linux" and time.monotonic() < end:
        tasks = [task for task in os.listdir("/proc/self/task") if int(task) != threading.get_native_id()]
        if all(open(f"/proc/self/task/{task}/stat").read().rpartition(")")[2].split()[0] == "S" for task in tasks):
            return
        time.sleep(0.002)


def fork(children, work, *, wait=asleep):
    wait()
    pids = []
    for _ in range(children):
        pid = os.fork()
        if pid == 0:
            work()
            sys.exit(0)  # not os._exit: everything that was loaded is torn down
        pids.append(pid)
    codes, end = [], time.monotonic() + 60  # where all is well, it takes a second
    while pids:
        pid, status = os.waitpid(pids[0], os.WNOHANG)
        if not pid and time.monotonic() > end:
            os.kill(pids[0], signal.SIGKILL)
            pid, status = os.waitpid(pids[0], 0)
        if pid:
            codes.append(os.waitstatus_to_exitcode(status))
            pids.pop(0)
        else:
            time.sleep(0.002)
    return codes


"""


def run(program: str, folder: Path, engine: str = "onnxruntime", **variables: str) -> str:
    """Run the program, which must say nothing on stderr."""
    done = subprocess.run(
        # Python 3.12 warns of every fork of a program with threads; here that is the point
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", PROGRAM + program, str(folder), engine],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": PACKAGE_PARENT, **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


@forks
def test_children_that_do_not_use_it_end_well(bundle_of: MakeBundle, engine: str) -> None:
    assert run("print(fork(3, lambda: None))", bundle_of("static").folder, engine) == "[0, 0, 0]"


@forks
@pytest.mark.parametrize("parallel", ["", "true"])
def test_children_use_it_and_end_well_whether_or_not_their_parent_used_it(
    bundle_of: MakeBundle, engine: str, parallel: str
) -> None:
    """With "true" the tokenizer of a child would wait for threads that only its parent has."""
    program = """
def child():
    assert use() == expected
    assert fork(1, lambda: use()) == [0]  # its own children, too

def again():
    global expected
    expected = use()
    return fork(3, child)

expected = None
print(fork(2, use), again(), use() == expected, os.environ.get("TOKENIZERS_PARALLELISM"))
"""
    chosen = {"TOKENIZERS_PARALLELISM": parallel} if parallel else {}
    answer = run(program, bundle_of("static").folder, engine, **chosen)
    assert answer == f"[0, 0] [0, 0, 0] True {parallel or None}"


@forks
def test_children_of_a_program_with_threads(bundle_of: MakeBundle, engine: str) -> None:
    """As a server with worker threads: some predict while the process forks."""
    program = """
expected = use()
over = threading.Event()

def serve():
    while not over.is_set():
        assert use() == expected

def child():
    workers = [threading.Thread(target=use) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()

server = threading.Thread(target=serve)
server.start()
print(fork(4, child, wait=lambda: None))
over.set()
server.join()
"""
    assert run(program, bundle_of("static").folder, engine) == "[0, 0, 0, 0]"


@forks
def test_a_plain_session_of_the_same_file(bundle_of: MakeBundle) -> None:
    program = """
import numpy as np
from bertedge.predictor import Batch
one = np.ones((2, 5), dtype=np.int64)
batch = Batch(input_ids=5 * one, attention_mask=one, token_type_ids=0 * one, masked_positions=one[:, :1],
              labels={"mlm": one[:, :1], "nsp": one[:, 0]})
padded = bert.padded()
expected = padded.predict(batch).logits["mlm"].tobytes()

def child():
    assert padded.predict(batch).logits["mlm"].tobytes() == expected

print(fork(2, child))
"""
    assert run(program, bundle_of("static").folder) == "[0, 0]"


@forks
def test_a_child_does_not_open_another_bundle_in_the_same_folder(folder: Path, bundle_of: MakeBundle) -> None:
    """A server that loads before it forks, and a bundle that was replaced while it runs."""
    program = f"""
import shutil

def child():
    try:
        use()
    except BertEdgeError as error:
        print(error.message.rpartition("/")[2], flush=True)

shutil.rmtree(sys.argv[1])
shutil.copytree({str(bundle_of("dynamic").folder)!r}, sys.argv[1])
print(fork(1, child))
"""
    said = run(program, folder)
    assert "model.onnx was altered" in said
    assert said.endswith("[0]")


APP = """
import sys
import bertedge

bert = bertedge.load(sys.argv[-1], threads=2)
bert.fill_mask("The cat sat on the [MASK].")


def app(environ, start_response):
    word = bert.fill_mask("The cat sat on the [MASK].")[0][0].token
    bert.encode(["the " * length for length in range(1, 20)])
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [word.encode()]
"""


@forks
def test_gunicorn_preload(bundle_of: MakeBundle, tmp_path: Path) -> None:
    """The workers answer, and end by themselves when the server is told to stop."""
    workers, bundle = 2, bundle_of("static").folder
    (tmp_path / "app.py").write_text(APP.replace("sys.argv[-1]", repr(str(bundle))))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        number, port = listening.fileno(), listening.getsockname()[1]
        # workers that do not end are killed after "graceful-timeout", in which case this test would say so before
        words = ["--preload", "-w", str(workers), "-b", f"fd://{number}", "--graceful-timeout", "90", "app:app"]
        server = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", *words],
            env={"PATH": os.environ["PATH"], "PYTHONPATH": PACKAGE_PARENT, "HOME": str(tmp_path)},
            cwd=tmp_path,
            pass_fds=[number],
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            client = HTTPConnection("127.0.0.1", port, timeout=60)
            client.request("GET", "/")
            word = client.getresponse().read().decode()
            client.close()
        finally:
            server.terminate()
            try:
                log = server.communicate(timeout=60)[1]
            except subprocess.TimeoutExpired:
                server.kill()
                raise
    assert word == load(bundle).fill_mask(TEXT)[0][0].token
    assert server.returncode == 0
    assert log.count("Booting worker") == log.count("Worker exiting") == workers
    assert not [line for line in log.splitlines() if "[INFO]" not in line]
