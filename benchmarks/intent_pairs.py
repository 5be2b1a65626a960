"""Pairs of questions to compare an embedder on: score 1 if both have the same intent, 0 if not.

    python benchmarks/intent_pairs.py banking77/test.csv --out pairs.csv [--pairs 2000]
    bertedge bench my.int8 --reference MODEL --data pairs.csv

Half of the pairs have one intent. ``labelled.py`` says what the file of questions holds.
"""

from __future__ import annotations

import argparse
import csv
import random
from pathlib import Path

from labelled import read_intents


def pairs_of(questions: list[tuple[str, str]], count: int, rng: random.Random) -> list[tuple[str, str, int]]:
    """(question, question, score), with each score for half of the pairs."""
    by_intent: dict[str, list[str]] = {}
    for text, intent in questions:
        by_intent.setdefault(intent, []).append(text)
    several = [intent for intent, texts in by_intent.items() if len(texts) > 1]
    made = []
    for index in range(count):
        if index % 2:
            first, second = rng.sample(by_intent[rng.choice(several)], 2)
        else:
            first, second = (rng.choice(by_intent[intent]) for intent in rng.sample(list(by_intent), 2))
        made.append((first, second, index % 2))
    return made


def main() -> None:
    """Write the pairs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("questions", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--pairs", type=int, default=2000)
    options = parser.parse_args()
    with options.out.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("sentence1", "sentence2", "score"))
        writer.writerows(pairs_of(read_intents(options.questions), options.pairs, random.Random(0)))


if __name__ == "__main__":
    main()
