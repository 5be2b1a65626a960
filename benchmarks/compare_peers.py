"""bertedge beside Optimum, onnxruntime, OpenVINO, CTranslate2 and PyTorch: the same checkpoints, texts and threads.

    python benchmarks/compare_peers.py [--models random-12x768,random-6x384,bertedge-small-en] [--quick] [--out FOLDER]

A model is ``random-12x768`` or ``random-6x384`` (random weights), a built-in name, or a checkpoint's folder. Every peer
runs in processes of its own; timing goes round them in a fresh order each round, so ratios are of blocks that were
measured next to each other. A peer that fails is a row with the reason. FOLDER gets ``results.json``, every sample in
it, after each model, and ``RESULTS.md``; with ``--add``, models that are there already stay, if they were measured
alike. A model takes about 20 minutes on two cores, ``--quick`` about seven, most of it for making the artefacts; leave
the machine alone meanwhile. Install with ``make peers`` or with ``pip install 'bertedge[compare]'``.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from peers.measure import Comparison, Settings
from peers.models import LENGTHS, open_model, texts_for
from peers.page import page
from peers.table import PEERS, Row

from bertedge.data.calibration import default_text
from bertedge.engines.threads import usable_cpus
from bertedge.evaluate.machine import this_machine
from bertedge.files import write_text
from bertedge.records import to_json, write_json

HERE = Path(__file__).parent
#: What --quick stands for: (rounds, seconds a workload, pairs, sentences, lengths).
FULL, QUICK = (15, 18.0, 160, 2000, LENGTHS), (5, 1.0, 16, 100, (16, 128))
#: Where the results go that the project keeps, and where those that prove nothing.
KEPT, QUICK_OUT = HERE / "peers", Path("runs/peers")


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
        "peers": {name: _described(PEERS[name]) for name in options.peers},
    }
    kept = _kept(options, report) if options.add else {"models": [], "minutes": 0.0}
    options.out.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix="peers-"))
    settings = Settings(
        threads=usable_cpus(), rounds=rounds, budget_s=budget_s, calibration=default_text(), scratch=scratch
    )
    try:
        models = [open_model(name, scratch) for name in options.models]  # all, before an hour is spent on the first
        for model in models:
            texts = texts_for(model, options.text, lengths=lengths, examples=examples, sentences=sentences)
            results = Comparison(model, texts, options.peers, settings).run()
            found = {peer: _without_paths(asdict(result), scratch) for peer, result in results.items()}
            others = [other for other in kept["models"] if other["name"] != model.name]
            kept["models"] = [*others, {"name": model.name, "real": model.real, "results": found}]
            minutes = round(kept["minutes"] + (time.time() - started) / 60, 1)
            names = [other["name"] for other in kept["models"]]
            report |= {"models": kept["models"], "minutes": minutes, "command": _command(options, names)}
            write_json(options.out / "results.json", report)
            write_text(options.out / "RESULTS.md", page(report))
            shutil.rmtree(scratch / "artefacts")
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _kept(options: argparse.Namespace, report: dict[str, Any]) -> dict[str, Any]:
    """The results that are there, if they are of this machine and of the same work."""
    file = options.out / "results.json"
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    other = [key for key, value in report.items() if found[key] != json.loads(json.dumps(value))]
    if other:
        raise SystemExit(f"--add: {file} has another {', another '.join(other)}")
    return found


def _command(options: argparse.Namespace, models: list[str]) -> str:
    """What makes all of it, without this machine's folders."""
    words = ["--models " + ",".join(models), f"--text {options.text.name}"]
    words += ["--quick"] if options.quick else []
    words += [f"--effort {options.effort}"] if options.effort != 1 else []
    words += [f"--peers '{';'.join(options.peers)}'"] if options.peers != list(PEERS) else []
    return " ".join(["python benchmarks/compare_peers.py", *words])


def _described(row: Row) -> dict[str, Any]:
    return {"words": row.words, "how": row.how, "int8": row.int8}


def _without_paths(result: dict[str, Any], scratch: Path) -> dict[str, Any]:
    """Where an artefact lay is of no use to a reader."""
    for made in result["made"].values():
        made["files"] = [Path(file).name for file in made["files"]]
    result["failed"] = {step: reason.replace(str(scratch), "...") for step, reason in result["failed"].items()}
    return result


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--models", type=lambda text: text.split(","), default=["random-12x768", "random-6x384", "bertedge-small-en"]
    )
    parser.add_argument("--peers", type=lambda text: text.split(";"), default=list(PEERS), help="names between ;")
    parser.add_argument("--text", type=Path, default=default_text(), help="what is run; default: the calibration text")
    parser.add_argument(
        "--out", type=Path, help=f"folder for results.json and RESULTS.md; default: beside this script, or {QUICK_OUT}"
    )
    parser.add_argument(
        "--add", action="store_true", help="keep the other models' results, if they were measured alike"
    )
    parser.add_argument("--quick", action="store_true", help="few rounds and texts: shows that it runs, proves nothing")
    parser.add_argument("--effort", type=int, default=1, help="so many times as many rounds, in as much time")
    parser.add_argument("--page", type=Path, metavar="RESULTS.json", help="only write the page of these results")
    options = parser.parse_args()
    strange = [name for name in options.peers if name not in PEERS]
    if strange:
        parser.error(f"no such peer: {', '.join(strange)}; there are {'; '.join(PEERS)}")
    options.out = options.out or (QUICK_OUT if options.quick else KEPT)
    if options.page:
        write_text(options.out / "RESULTS.md", page(json.loads(options.page.read_text(encoding="utf-8"))))
        sys.exit()
    return options


if __name__ == "__main__":
    main()
