"""Compare bertedge with Optimum, onnxruntime, OpenVINO, CTranslate2 and PyTorch on the same checkpoints and texts.

    python benchmarks/compare_peers.py [--models random-12x768,random-6x384,bertedge-small-en] [--quick] [--out FILE]
    python benchmarks/compare_peers.py --kernels avx512-vnni,avx2     other kernels of the native engine too

A model is ``random-12x768`` or ``random-6x384`` (random weights), a built-in name, or a checkpoint's folder. Every peer
runs in its own processes. Each round times all peers in a new random order, so a ratio compares blocks that were
measured shortly after each other. A peer that fails is a row with the reason. After each model the results go to FILE
(JSON lines) and to a page, FILE with the suffix ``.md``. ``--add`` keeps the models that are in FILE, if they were
measured in the same way. A model takes about 20 minutes on two cores, with ``--quick`` about seven. Run nothing else
meanwhile. Install with ``make peers`` or with ``pip install 'bertedge[compare]'``.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from peers import kept
from peers.measure import Comparison, Result, Settings
from peers.models import LENGTHS, open_model, texts_for
from peers.page import page
from peers.table import PEERS, Row, kernels_here, of_kernel, ours_among, peers_of

from bertedge.data.calibration import default_text
from bertedge.engines.threads import usable_cpus
from bertedge.evaluate.machine_record import this_machine
from bertedge.files import write_text
from bertedge.records import to_json

HERE = Path(__file__).parent
#: (rounds, seconds a workload, pairs, sentences, lengths).
FULL, QUICK = (15, 18.0, 160, 2000, LENGTHS), (5, 1.0, 16, 100, (16, 128))
#: Results that the project keeps, their page, and where quick results go.
KEPT, KEPT_PAGE = HERE / "peers" / "results.jsonl", HERE.parent / "docs" / "benchmarks" / "peers.md"
QUICK_OUT = Path("runs/peers.jsonl")


def main() -> None:
    """Compare on every model that was asked for."""
    options = _options()
    rounds, budget_s, examples, sentences, lengths = QUICK if options.quick else FULL
    rounds, budget_s = rounds * options.effort, budget_s * options.effort
    started = time.time()
    report: dict[str, Any] = {
        "machine": to_json(this_machine()),
        "threads": usable_cpus(),
        "quick": options.quick,
        "sentences": sentences,
        "text": options.text.name,
        "ours": ours_among(options.peers),
        "kernels": kernels_here(),
        "peers": {name: _described(PEERS[name]) for name in options.peers},
    }
    earlier = _earlier(options, report) if options.add else {"models": [], "minutes": 0.0}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix="peers-"))
    settings = Settings(
        threads=usable_cpus(), rounds=rounds, budget_s=budget_s, calibration=default_text(), scratch=scratch
    )
    try:
        models = [open_model(name, scratch) for name in options.models]  # all, before an hour is spent on the first
        for model in models:
            texts = texts_for(model, options.text, lengths=lengths, examples=examples, sentences=sentences)
            results = Comparison(model, texts, options.peers, settings).run()
            results = {peer: _without_paths(result, scratch) for peer, result in results.items()}
            found = kept.summarize(results, report["ours"])
            others = [other for other in earlier["models"] if other["name"] != model.name]
            earlier["models"] = [*others, {"name": model.name, "real": model.real, "results": found}]
            minutes = round(earlier["minutes"] + (time.time() - started) / 60, 1)
            names = [other["name"] for other in earlier["models"]]
            report |= {"models": earlier["models"], "minutes": minutes, "command": _command(options, names)}
            kept.write(options.out, report)
            write_text(_page_of(options.out), page(kept.read(options.out)))
            shutil.rmtree(scratch / "artefacts")
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _earlier(options: argparse.Namespace, report: dict[str, Any]) -> dict[str, Any]:
    """The earlier results, if they are of this machine and of the same work."""
    found = kept.read(options.out)
    other = [key for key, value in report.items() if found.get(key) != json.loads(json.dumps(value))]
    if other:
        raise SystemExit(f"--add: {options.out} has another {', another '.join(other)}")
    return found


def _page_of(file: Path) -> Path:
    """Where the page of these results is written."""
    return KEPT_PAGE if file == KEPT else file.with_suffix(".md")


def _command(options: argparse.Namespace, models: list[str]) -> str:
    """The command that makes all of it, without this machine's folders."""
    words = ["--models " + ",".join(models), f"--text {options.text.name}"]
    words += ["--quick"] if options.quick else []
    words += [f"--effort {options.effort}"] if options.effort != 1 else []
    words += [f"--peers '{';'.join(options.peers)}'"] if options.peers != default_peers() else []
    return " ".join(["python benchmarks/compare_peers.py", *words])


def default_peers() -> list[str]:
    """All peers, and where AMX is the best kernel also the one below, which CPUs without AMX run."""
    others = [of_kernel("avx512-vnni")] if kernels_here()[:1] == ["amx"] else []
    return [*peers_of("words"), *others]


def _described(row: Row) -> dict[str, Any]:
    return {"words": row.words, "how": row.how, "int8": row.int8}


def _without_paths(result: Result, scratch: Path) -> Result:
    """The result without this machine's folders."""
    result.failed = {step: reason.replace(str(scratch), "...") for step, reason in result.failed.items()}
    return result


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--models", type=lambda text: text.split(","), default=["random-12x768", "random-6x384", "bertedge-small-en"]
    )
    parser.add_argument("--peers", type=lambda text: text.split(";"), default=default_peers(), help="names between ;")
    parser.add_argument(
        "--kernels",
        type=lambda text: text.split(","),
        default=[],
        help=f"other kernels of the native engine, between commas; here: {', '.join(kernels_here()) or 'none'}",
    )
    parser.add_argument("--text", type=Path, default=default_text(), help="text to run; default: the calibration text")
    parser.add_argument("--out", type=Path, metavar="FILE", help=f"default: peers/results.jsonl here, or {QUICK_OUT}")
    parser.add_argument("--add", action="store_true", help="keep the other models in FILE, if measured in the same way")
    parser.add_argument("--quick", action="store_true", help="few rounds and texts, to see that everything runs")
    parser.add_argument("--effort", type=int, default=1, help="multiply the rounds and the time by this")
    parser.add_argument("--page", action="store_true", help="measure nothing; write the page of FILE")
    options = parser.parse_args()
    options.peers += [of_kernel(kernel) for kernel in options.kernels if of_kernel(kernel) not in options.peers]
    strange = [name for name in options.peers if name not in PEERS]
    if strange:
        parser.error(f"no such peer: {', '.join(strange)}; there are {'; '.join(PEERS)}")
    options.out = options.out or (QUICK_OUT if options.quick else KEPT)
    if options.page:
        write_text(_page_of(options.out), page(kept.read(options.out)))
        sys.exit()
    return options


if __name__ == "__main__":
    main()
