"""Damages files whose reader is native code, which may end the whole process: in a process of its own.

``python -m tests.fuzz.worker KIND MODEL BUNDLE CORPUS SCRATCH SEED START STOP`` prints each mutation's number before it
is tried, and at last what came of them.
"""

from __future__ import annotations

import sys
from pathlib import Path

from bertedge.bundle import Bundle
from tests.fuzz.harness import fuzz
from tests.fuzz.kinds import NATIVE, Samples


def main(kind: str, model: str, bundle: str, corpus: str, scratch: str, seed: str, start: str, stop: str) -> int:
    samples = Samples(model=Path(model), bundle=Bundle.open(bundle), corpus=Path(corpus), scratch=Path(scratch))
    numbers = range(int(start), int(stop))
    outcome = fuzz(NATIVE[kind](samples), numbers, seed=int(seed), watch=lambda index: print(index, flush=True))
    print(outcome)
    print("\n\n".join(f"{where}: {what}" for where, what in outcome.failures.items()), file=sys.stderr)
    return 1 if outcome.failures else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
