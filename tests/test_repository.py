"""What is tracked and what a wheel takes: large files once, and nothing that only developers need."""

from __future__ import annotations

import hashlib
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
#: The built-in models. The classifier was added because ``demo`` shows a real task with it; at most 8 MB.
WEIGHTS = {
    Path("bertedge/models/bertedge-small-en/model.safetensors"): 23_000_000,
    Path("bertedge/models/bertedge-banking-en/model.safetensors"): 8_000_000,
}
#: Bytes of a file that git should not store in many versions.
LARGE = 1_000_000


@pytest.fixture(scope="module")
def tracked() -> list[Path]:
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("not a git repository")
    return [Path(name) for name in done.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_the_weights_are_the_only_large_files(tracked: list[Path]) -> None:
    sizes = {path: (ROOT / path).stat().st_size for path in tracked}
    assert {path for path, size in sizes.items() if size > LARGE} == set(WEIGHTS)
    assert all(sizes[path] <= limit for path, limit in WEIGHTS.items())


def test_no_file_is_stored_twice(tracked: list[Path]) -> None:
    seen: dict[str, Path] = {}
    for path in tracked:
        content = (ROOT / path).read_bytes()
        if content:
            other = seen.setdefault(hashlib.sha256(content).hexdigest(), path)
            assert other == path, f"{other} and {path} are the same"


def test_a_wheel_takes_the_package_and_one_text() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel == {
        "exclude": ["bertedge/engines/native/src"],
        "force-include": {"calibration/en.txt": "bertedge/calibration/en.txt"},
        "hooks": {"custom": {}},
    }
    scripts = {path for path in (ROOT / "bertedge").rglob("*.py") if path.name.startswith("test_")}
    assert not scripts
