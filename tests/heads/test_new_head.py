"""A new head is one file, and a row and a base class in the table.

``topic.py`` is that file and ``topic_row.py`` the rest; Python imports it first in every process of this test.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_a_head_of_one_file_goes_the_whole_way(model_folder: Path, long_corpus_file: Path, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import tests.heads.topic_row\n")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    command = [sys.executable, "-m", "tests.heads.with_topic", str(model_folder), str(long_corpus_file), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stderr
    topic, told = done.stdout.strip().splitlines()
    assert topic in ("sea", "kitchen")
    assert "of the topics differ" in told
