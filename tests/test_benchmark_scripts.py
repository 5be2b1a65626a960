"""The scripts in benchmarks/: they run, and write the pages that are in docs/."""

from __future__ import annotations

import ast
import json
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from bertedge.bundle import Bundle
from bertedge.engines.native import compiler
from bertedge.predictor import Batch, Outputs

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = sorted((ROOT / "benchmarks").glob("*.py"))
PEERS = ROOT / "benchmarks" / "peers"


@pytest.fixture
def benchmarks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))


@pytest.mark.parametrize("path", [*SCRIPTS, *sorted(PEERS.glob("*.py"))], ids=lambda path: path.name)
def test_scripts_import_what_there_is(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("bertedge"):
            module = import_module(node.module or "")
            assert not [alias.name for alias in node.names if not hasattr(module, alias.name)], node.module


@pytest.mark.usefixtures("benchmarks")
@pytest.mark.parametrize(
    "command",
    [
        "graph_choices MODEL --rounds 2 --lengths 1x8 --threads 1",
        "near_ties MODEL CORPUS BUNDLE --examples 4",
        "operators BUNDLE --lengths 1x8 --threads 1",
        "loader_overhead BUNDLE --rounds 2",
        "file_jobs BUNDLE --texts 200 --rounds 1 --lines 0 --kills 0",
        "many_machines BUNDLE --rounds 1 --seconds 0.1 --no-ray",
        "start_up BUNDLE --engines onnxruntime --rounds 1 --threads 1",
        "int8_limits MODEL CORPUS --examples 8",
        "weight_only MODEL CORPUS --examples 8 --rows static,8x64",
        "pretraining_scores CORPUS MODEL --pairs 2",
    ],
    ids=lambda command: command.split()[0],
)
def test_scripts_run(
    command: str,
    model_folder: Path,
    corpus_file: Path,
    bundle_of: Callable[..., Bundle],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    places = {"MODEL": model_folder, "CORPUS": corpus_file, "BUNDLE": bundle_of("static").folder}
    script, *words = command.split()
    monkeypatch.setattr(sys, "argv", [script, *(str(places.get(word, word)) for word in words)])
    threads, module = torch.get_num_threads(), import_module(script)
    monkeypatch.setattr(module, "usable_cpus", lambda: 1, raising=False)
    try:
        module.main()
    finally:
        torch.set_num_threads(threads)
    assert "0." in capsys.readouterr().out


@pytest.mark.usefixtures("benchmarks")
@pytest.mark.skipif(sys.platform != "linux", reason="processes are stopped and moved to cores as Linux does it")
def test_the_server_is_loaded_and_soaked(
    model_folder: Path, corpus_file: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("fastapi", reason="fastapi is not installed: pip install 'bertedge[serve]'")
    serve_load = import_module("serve_load")
    given = [str(model_folder), "--text", str(corpus_file)]

    short = ["--seconds", "0.3", "--rounds", "2", "--clients", "1,2"]
    monkeypatch.setattr(sys, "argv", ["serve_load", *given, *short, "--no-peer"])
    serve_load.main()
    rows = [line for line in capfd.readouterr().out.splitlines() if re.match(r"\| \d", line)]
    assert [row.split(" | ")[:2] for row in rows[:2]] == [["| 1", "bertedge"], ["| 2", "bertedge"]]
    assert all(float(row.split(" | ")[2].replace(",", "")) > 0 for row in rows[:2])
    assert len(rows) == 3
    assert rows[2].endswith(" | 0 |")  # with too many requests, all got the status 200 or 429

    monkeypatch.setattr(sys, "argv", ["serve_load", *given, "--soak", "0.04"])
    serve_load.main()
    told = dict(re.findall(r"^\| (.*) \| (.*) \|$", capfd.readouterr().out, flags=re.MULTILINE))
    assert told["the server counted the same"] == "yes"
    assert told["wrong or missing answers"] == "0"
    assert "200: " in told["answers by status"]


@pytest.mark.usefixtures("benchmarks")
def test_rows_are_counted_while_all_workers_are_at_work() -> None:
    from many_machines import cpu_between, rate, window

    batches = [(1, 0, 2, 0), (1, 2, 4, 1), (1, 4, 6, 2), (2, 1, 3, 5), (2, 3, 5, 7)]  # from 3 until 5, of 10 rows each
    worker, began, ended, cpu = (np.repeat(column, 10) for column in zip(*batches, strict=True))
    assert window(worker, ended) == (3, 5)
    assert rate(began, ended, 3, 5) == pytest.approx((5 + 5 + 10) / 2)
    assert cpu_between(worker, ended, cpu, 3, 5) == pytest.approx(1 + 2)


@pytest.mark.usefixtures("benchmarks")
def test_a_core_never_gains_from_others() -> None:
    from many_machines import Measured, kept, reckoned_rows

    one = Measured(model="m", way="processes", one=[100.0] * 3, two=[210.0] * 3, start=10.0)
    assert [kept(one, cores, 0.1) for cores in (1, 2, 8)] == [1, 0.9, 0.9]
    *_, row = reckoned_rows(one, price=0.36, idle=0.1)
    assert row == "| 1,000 | 90,000 | 21.1 seconds | 3.1 hours | $2.1111 | $1112.11 | 899,191 |"


@pytest.mark.usefixtures("benchmarks")
def test_entities_are_counted_as_conlleval_counts_them() -> None:
    from labelled import span_f1, spans

    assert list(spans(["I-a", "I-a", "I-b", "B-b", "O", "B-b"])) == [("a", 0, 2), ("b", 2, 3), ("b", 3, 4), ("b", 5, 6)]
    expected = [["B-a", "I-a", "O", "B-b"], ["O"]]
    assert span_f1(expected, expected) == 1
    assert span_f1(expected, [["B-a", "O", "O", "B-b"], ["B-a"]]) == pytest.approx(2 * 1 / (2 + 3))


@pytest.mark.usefixtures("benchmarks")
def test_pairs_of_questions_have_one_intent_or_two() -> None:
    from intent_pairs import pairs_of

    questions = [(f"{intent}{index}", intent) for intent in "abc" for index in range(4)] + [("d0", "d")]
    made = pairs_of(questions, 60, random.Random(0))
    assert sorted(score for *_, score in made) == [0] * 30 + [1] * 30
    assert all((first[0] == second[0]) == bool(score) and first != second for first, second, score in made)


TASKS = {
    "csv": 'text,category\nThe cat sat on the mat.,cat\n"A ship left, at dawn.",sea\nThe sea was calm.,sea\n',
    "conll": "The\tO\ncat\tB-animal\n\nA\tB-ship\nship\tI-ship\nleft\tO\n\t\nThe\tO\nsea\tO\n",
}


@pytest.mark.usefixtures("benchmarks")
@pytest.mark.parametrize(
    ("kind", "options", "architecture", "layers", "labels"),
    [
        ("csv", "--keep-vocab 90 --dtype float16", "Sequence", 2, "cat sea"),
        ("conll", "--layers 1", "Token", 1, "B-animal B-ship I-animal I-ship O"),
    ],
)
def test_fine_tuning_writes_a_folder_of_transformers(
    kind: str,
    options: str,
    architecture: str,
    layers: int,
    labels: str,
    model_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    import fine_tune

    for split in ("train", "test"):
        (tmp_path / f"{split}.{kind}").write_text(TASKS[kind], encoding="utf-8")
    output = tmp_path / "tuned"
    command = [str(tmp_path), "--model", str(model_folder), "-o", str(output), "--epochs", "2", *options.split()]
    monkeypatch.setattr(sys, "argv", ["fine_tune", *command])
    fine_tune.main()
    config = json.loads((output / "config.json").read_text(encoding="utf-8"))
    assert config["architectures"] == [f"BertFor{architecture}Classification"]
    assert config["num_hidden_layers"] == (1 if kind == "conll" else 2)
    assert sorted(config["label2id"]) == (
        ["cat", "sea"] if kind == "csv" else ["B-animal", "B-ship", "I-animal", "I-ship", "O"]
    )
    about = json.loads((output / "training.json").read_text(encoding="utf-8"))
    assert about["epoch"] == 2
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith("tuned.")) == []
    assert capsys.readouterr().out.count("|") == 4 * 5


def test_every_script_is_listed() -> None:
    text = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
    assert not [path.name for path in SCRIPTS if f"`{path.name}" not in text]


@pytest.mark.usefixtures("benchmarks")
def test_the_page_of_the_peers_is_of_the_results_that_are_kept(tmp_path: Path) -> None:
    from peers import kept
    from peers.page import page

    report = kept.read(PEERS / "results.jsonl")
    assert page(report) == (ROOT / "docs" / "benchmarks" / "peers.md").read_text(encoding="utf-8")
    kept.write(tmp_path / "again.jsonl", report)
    assert kept.read(tmp_path / "again.jsonl") == report


@pytest.mark.usefixtures("benchmarks")
def test_the_page_of_the_tasks_is_of_the_results_that_are_kept() -> None:
    from peers import kept
    from peers.task_page import page

    kept_page = (ROOT / "docs" / "benchmarks" / "peers-tasks.md").read_text(encoding="utf-8")
    assert page(kept.read(PEERS / "tasks.jsonl")) == kept_page


class First:
    """A predictor whose outputs are the first id of the batch."""

    name, calls = "first", 0

    def predict(self, batch: Batch) -> Outputs:
        self.calls += 1
        return Outputs(logits={"mlm": batch.input_ids[:, :1].astype(np.float32)})


@pytest.mark.usefixtures("benchmarks")
def test_the_reference_of_the_peers_runs_each_batch_once() -> None:
    from peers.measure import Remembered

    own, nothing = First(), np.zeros((1, 0), dtype=np.int64)
    remembered = Remembered(own)
    for number in (*range(50), *range(50)):
        ids = np.full((1, 3), number)
        # made here and gone in the next round: Python may give the next one the same place in memory
        batch = Batch(input_ids=ids, attention_mask=ids, token_type_ids=ids, masked_positions=nothing)
        assert remembered.predict(batch).logits["mlm"].item() == number
    assert own.calls == 50


@pytest.mark.usefixtures("benchmarks")
def test_every_kernel_of_the_native_engine_can_be_compared() -> None:
    from peers.table import COMPARED, KERNELS, PEERS, of_kernel

    assert sorted(KERNELS) == sorted(name.replace("_", "-") for name in compiler.KERNELS)
    assert {of_kernel(kernel) for kernel in KERNELS} <= PEERS.keys() & COMPARED.keys()
    assert all(row.file_of in {"", *PEERS} for row in PEERS.values())


def ratio(value: float) -> dict[str, float]:
    return {"value": value, "low": value - 0.1, "high": value + 0.1, "n": 9}


@pytest.mark.usefixtures("benchmarks")
@pytest.mark.parametrize(
    ("kernels", "row", "reached", "verdict"),
    [
        (["avx512-vnni", "avx2"], "bertedge native", "0.50", "met, within the noise"),
        (["amx", "avx512-vnni"], "bertedge native, avx512-vnni", "0.70", "**not met**"),
        (["avx2"], "bertedge native", "0.50", "the goal is for avx512-vnni"),
    ],
)
def test_goals_for_a_kernel_are_judged_by_the_row_of_the_kernel(
    kernels: list[str], row: str, reached: str, verdict: str
) -> None:
    from peers import goals

    own = {"ms": {"8 tokens": 1.0, "16 tokens": 2.0}, "ratios": {}, "fidelity": {}}
    static = {
        "ratios": {"8 tokens": ratio(0.4), "16 tokens": ratio(0.5)},
        "ratios_of": {"bertedge native, avx512-vnni": {"8 tokens": ratio(0.7), "16 tokens": ratio(0.6)}},
        "fidelity": {},
        "ms": {},
    }
    rows = {"bertedge native": own, "bertedge native, avx512-vnni": own, "bertedge static": static}
    report = {"ours": "bertedge native", "kernels": kernels, "models": [{"name": "english-l6", "results": rows}]}
    found = [cells for cells in goals.lines(report) if cells[1] == goals.WORST]
    assert found == [
        ("english-l6", "every length", row, "bertedge static", "0.55", found[0][5], verdict),
    ]
    assert found[0][5].startswith(reached)


@pytest.fixture
def write_page(benchmarks: None) -> ModuleType:
    import write_page

    return write_page


def test_a_block_of_a_page_is_replaced(write_page: ModuleType) -> None:
    page = "# A\n\n<!-- begin b -->\n\nold\n\n<!-- end b -->\n\nmore\n"
    assert write_page.replace_block(page, "b", "new") == page.replace("old", "new")
    with pytest.raises(ValueError, match="needs one block 'c'; it has b"):
        write_page.replace_block(page, "c", "new")


def test_blocks_of_the_pages_have_a_script(write_page: ModuleType) -> None:
    found = 0
    for page in sorted((ROOT / "docs").rglob("*.md")):
        text = page.read_text(encoding="utf-8")
        for block in write_page.blocks(text):
            script = ROOT / "benchmarks" / f"{block.split()[0]}.py"
            assert script.exists(), f"{page.name}: {block}"
            write_page.replace_block(text, block, "")
            found += 1
    assert found > 10


@pytest.mark.usefixtures("benchmarks")
def test_a_rate_is_compared_with_the_peak_or_with_the_memory() -> None:
    from kernel_roofline import cell

    product = {"inputs": 100, "outputs": 100, "rows": 10, "bytes": 10_000, "seconds": 1e-6, "far": True}
    assert cell(product, peak=2e11, bytes_a_second=1e11) == "100 (50%)"  # memory would allow 1000 GMAC/s
    assert cell(product, peak=2e12, bytes_a_second=4e10) == "100 (25%, memory)"
    assert cell(product | {"far": False}, peak=2e12, bytes_a_second=4e10) == "100 (5%)"


@pytest.mark.usefixtures("benchmarks")
def test_counts_of_two_engines_stand_side_by_side(capsys: pytest.CaptureFixture[str]) -> None:
    from instruction_counts import Count, show

    runs = {"onnxruntime": "int8 kernel: dotprod", "native": "int8 kernel on this CPU: neon; not neon-i8mm: too old"}
    show(
        [
            Count(cpu="cortex-a72", engine=engine, runs=runs[engine], tokens=16, instructions=instructions)
            for engine, instructions in (("onnxruntime", 20_000_000), ("native", 15_000_000))
        ]
    )
    assert capsys.readouterr().out.splitlines()[-1] == "| cortex-a72 | 16 | 20.0 M | 15.0 M | 0.75 | neon |"


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_the_plugin_that_counts_instructions_compiles(tmp_path: Path) -> None:
    source = ROOT / "benchmarks" / "instruction_counter.c"
    flags = ["-shared", "-fPIC", "-Wall", "-Wextra", "-Werror"]
    subprocess.run(["cc", *flags, str(source), "-o", str(tmp_path / "counter.so")], check=True)
