"""Run a benchmark and put its output on a page of the documentation.

    python benchmarks/write_page.py PAGE BLOCK -- COMMAND ...
    python benchmarks/write_page.py docs/benchmarks/targets.md matrix -- \\
        python benchmarks/matrix.py bertedge-small-en valid.txt

PAGE holds the lines ``<!-- begin BLOCK -->`` and ``<!-- end BLOCK -->``. The text between them is replaced by the
output of COMMAND, the command and the machine. If the command fails, the page does not change.
"""

from __future__ import annotations

import argparse
import re
import shlex
import subprocess
import sys
from pathlib import Path

from bertedge.evaluate.machine_record import this_machine
from bertedge.files import write_text


def replace_block(page: str, block: str, text: str) -> str:
    """A page with another text between the marks of a block.

    Raises:
        ValueError: the page has no such block, or two of them.
    """
    marks = re.compile(rf"(<!-- begin {re.escape(block)} -->\n)(.*?)(<!-- end {re.escape(block)} -->)", re.DOTALL)
    if len(marks.findall(page)) != 1:
        raise ValueError(f"the page needs one block '{block}'; it has {', '.join(blocks(page)) or 'none'}")
    return marks.sub(lambda found: f"{found[1]}\n{text.strip()}\n\n{found[3]}", page)


def blocks(page: str) -> list[str]:
    """Names of the blocks of a page."""
    return re.findall(r"<!-- begin (.*?) -->", page)


def made_by(command: list[str]) -> str:
    """The command and this machine, in a sentence. Folders are left out."""
    machine = this_machine()
    words = shlex.join(Path(word).name if Path(word).is_absolute() else word for word in command)
    return (
        f"`{words}` on {machine.cpu} {machine.generation} ({machine.target}), {machine.cpus} CPUs, "
        f"Python {machine.python}, onnxruntime {machine.onnxruntime}."
    )


def main() -> None:
    """Run the command, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", type=Path)
    parser.add_argument("block")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    command = [word for place, word in enumerate(options.command) if place or word != "--"]
    page = options.page.read_text(encoding="utf-8")
    try:
        replace_block(page, options.block, "")  # before an hour is spent
    except ValueError as error:
        parser.error(str(error))
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    sys.stdout.write(done.stdout)
    if done.returncode:
        raise SystemExit(done.returncode)
    write_text(options.page, replace_block(page, options.block, f"{done.stdout.strip()}\n\n{made_by(command)}"))


if __name__ == "__main__":
    main()
