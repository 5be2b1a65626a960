"""Rates of the native engine's int8 products on this CPU against its peak and its memory, for each kernel and shape.

    python benchmarks/kernel_roofline.py                 every kernel that this CPU runs
    python benchmarks/kernel_roofline.py avx2 avx-vnni   these

Compiles ``benchmarks/native/kernel_roofline.cpp`` together with the engine's sources and runs it on one thread; 10
seconds for each kernel. Prints Markdown. Needs a C++ compiler.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bertedge.engines.native.compilation import Build
from bertedge.engines.native.compiler import BuildError, Compiler

PROGRAM = Path(__file__).resolve().parent / "native" / "kernel_roofline.cpp"
GIGA = 1e9


def measured(kernels: list[str]) -> dict[str, Any]:
    """Build the program, and return what it measures; see ``kernel_roofline.cpp``."""
    with tempfile.TemporaryDirectory() as folder:
        program = Build(Compiler.find()).program(PROGRAM, Path(folder))
        done = subprocess.run([program, *kernels], stdout=subprocess.PIPE, check=True)
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


def rate(product: Mapping[str, Any]) -> float:
    """Multiply-accumulates in a second."""
    macs: float = product["inputs"] * product["outputs"] * product["rows"] / product["seconds"]
    return macs


def limit(product: Mapping[str, Any], peak: float, bytes_a_second: float) -> float:
    """The most multiply-accumulates in a second: by the peak, and where weights come from memory, by its speed."""
    if not product["far"]:
        return peak
    macs: float = product["inputs"] * product["outputs"] * product["rows"] / (product["bytes"] / bytes_a_second)
    return min(peak, macs)


def cell(product: Mapping[str, Any], peak: float, bytes_a_second: float) -> str:
    """A rate, and its share of the limit where that is known."""
    if not peak:
        return f"{rate(product) / GIGA:.0f}"
    bound = limit(product, peak, bytes_a_second)
    return f"{rate(product) / GIGA:.0f} ({rate(product) / bound:.0%}{', memory' if bound < peak else ''})"


def table(kernel: Mapping[str, Any], bytes_a_second: float) -> str:
    """The products of one kernel: a line for each shape, a column for each number of rows."""
    products = kernel["products"]
    rows = sorted({product["rows"] for product in products})
    lines: dict[tuple[int, int, bool], dict[int, str]] = {}
    for product in products:
        place = (product["inputs"], product["outputs"], product["far"])
        lines.setdefault(place, {})[product["rows"]] = cell(product, kernel["peak"], bytes_a_second)
    heads = ["shape", "weights in", *(f"{count} rows" for count in rows)]
    texts = [
        [f"{inputs} x {outputs}", "memory" if far else "cache", *(cells[count] for count in rows)]
        for (inputs, outputs, far), cells in lines.items()
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in (heads, ["---"] * len(heads), *texts))


def page(found: Mapping[str, Any]) -> Iterator[str]:
    """Everything in Markdown."""
    clock, memory = found["hertz"] / GIGA, found["bytes_a_second"] / GIGA
    yield f"One core at {clock:.2f} GHz that reads {memory:.1f} GB/s of memory. Cells: GMAC/s (share of the limit)."
    for kernel in found["kernels"]:
        name = f"`{kernel['kernel']}`" + (f", weights {kernel['weights']}" if kernel["weights"] else "")
        peak = kernel["peak"]
        about = f", peak {peak / GIGA:.0f} GMAC/s: {peak / found['hertz']:.0f} a cycle" if peak else ""
        yield f"{name}{about}\n\n{table(kernel, found['bytes_a_second'])}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kernels", nargs="*", help="default: all that this CPU runs")
    options = parser.parse_args()
    try:
        found = measured(options.kernels)
    except BuildError as error:
        sys.exit(f"error: {error}\nhint: {error.hint}")
    if not found["kernels"]:
        sys.exit("error: this library has no such kernel\nhint: leave the names out to measure all that run here")
    print("\n\n".join(page(found)))


if __name__ == "__main__":
    main()
