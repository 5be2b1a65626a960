"""The GitHub Action, this repository's workflow, and the page about CI with its lines for other systems."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

from bertedge.bundle import Bundle
from bertedge.cli.bench import bench
from bertedge.emulate.cpus import CPUS
from bertedge.report.schema import read_report

ROOT = Path(__file__).resolve().parents[1]
ACTION = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
WORKFLOW = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))
WHEELS = yaml.safe_load((ROOT / ".github" / "workflows" / "wheels.yml").read_text(encoding="utf-8"))
PAGE = (ROOT / "docs" / "ci-gate.md").read_text(encoding="utf-8")
SNIPPETS = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)]
MEASURE = next(step for step in ACTION["runs"]["steps"] if step.get("id") == "bench")


def known_options() -> set[str]:
    """Every long spelling of an option of ``bertedge bench``."""
    names = set()
    for name, parameter in inspect.signature(bench, eval_str=True).parameters.items():
        (info,) = parameter.annotation.__metadata__
        words = (info.default, *(info.param_decls or ()))  # inside Annotated, the first spelling lands in "default"
        spelled = {word for word in words if isinstance(word, str) and word.startswith("--")}
        names |= spelled or {"--" + name.replace("_", "-")}
    return names


def used_options(text: str) -> set[str]:
    """Long options of a script or a command line."""
    return set(re.findall(r"(?<=[ (])--[a-z][a-z-]*", text))


def steps_using(local: str) -> list[dict[str, Any]]:
    return [step for job in WORKFLOW["jobs"].values() for step in job["steps"] if step.get("uses") == local]


def test_the_action_has_what_github_demands() -> None:
    assert ACTION.keys() >= {"name", "description", "inputs", "outputs", "runs"}
    assert ACTION["runs"]["using"] == "composite"
    for step in ACTION["runs"]["steps"]:
        assert ("uses" in step) != ("run" in step)
        assert "run" not in step or step["shell"] == "bash"
    for settings in ACTION["inputs"].values():
        assert settings["description"]
        assert settings.get("required") or isinstance(settings["default"], str)


def test_inputs_reach_the_script_through_the_environment() -> None:
    text = (ROOT / "action.yml").read_text(encoding="utf-8")
    assert set(re.findall(r"inputs\.([\w-]+)", text)) == set(ACTION["inputs"])
    for step in ACTION["runs"]["steps"]:
        assert "${{" not in step.get("run", "")  # a pull request could write a command there


def test_the_action_uses_options_that_there_are() -> None:
    used = used_options(MEASURE["run"])
    assert {"--reference", "--baseline", "--against", "--json", "--markdown", "--junit"} <= used <= known_options()


def test_the_workflow_runs_the_tests_and_the_action() -> None:
    runs = [step.get("run", "") for job in WORKFLOW["jobs"].values() for step in job["steps"]]
    assert "make test" in runs
    assert "make docs" in runs
    assert WORKFLOW[True].keys() == {"push", "pull_request"}  # YAML reads "on" as a truth value
    assert WORKFLOW["permissions"] == {"contents": "read"}
    (step,) = steps_using("./")
    assert step["with"].keys() <= ACTION["inputs"].keys()
    assert {name for name, row in ACTION["inputs"].items() if row.get("required")} <= step["with"].keys()


def test_the_workflow_imports_what_there_is() -> None:
    text = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    found = re.findall(r"from (bertedge[\w.]*) import (\w+)", text)
    assert found
    assert all(hasattr(import_module(module), name) for module, name in found)


def test_the_workflow_tests_every_python_and_system() -> None:
    matrix = WORKFLOW["jobs"]["test"]["strategy"]["matrix"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    listed = re.findall(r":: Python :: (3\.\d+)", "\n".join(project["classifiers"]))
    assert matrix["python"] == listed
    assert project["requires-python"] == f">={listed[0]}"
    systems = {"ubuntu-latest": "Linux on x86-64", "ubuntu-24.04-arm": "Linux on ARM", "macos-latest": "macOS"}
    assert set(matrix["runner"]) == systems.keys()


def test_the_workflow_runs_the_built_in_model_on_emulated_cpus() -> None:
    (script,) = [step["run"] for step in WORKFLOW["jobs"]["emulate"]["steps"] if "run" in step]
    (names,) = re.findall(r"verify \S+ --on (\S+)", script)
    assert {"cortex-a72", "cortex-a76", "haswell"} <= set(names.split(",")) <= set(CPUS)


def test_the_workflow_uses_targets_of_the_makefile_and_what_they_need() -> None:
    jobs = WORKFLOW["jobs"]
    scripts = {name: "\n".join(step.get("run", "") for step in job["steps"]) for name, job in jobs.items()}
    called = {name: set(re.findall(r"^make ([\w-]+)", script, re.MULTILINE)) for name, script in scripts.items()}
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([\w-]+):", makefile, re.MULTILINE))
    assert set().union(*called.values()) <= targets
    assert called["native"] == {"sanitize", "valgrind", "fuzz-native"}
    assert {"clang", "libclang-rt-dev", "valgrind"} <= set(scripts["native"].split())
    assert called["native-emulated"] == {"native-emulated"}
    assert {"g++-aarch64-linux-gnu", "qemu-user-static"} <= set(scripts["native-emulated"].split())


def test_wheels_are_built_for_one_python_on_each_system() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["cibuildwheel"]
    assert set(WHEELS["jobs"]["wheel"]["strategy"]["matrix"]["runner"]) == set(
        WORKFLOW["jobs"]["test"]["strategy"]["matrix"]["runner"]
    )
    assert len({name.split("-")[0] for name in project["build"]}) == 1
    assert project["environment"] == {"BERTEDGE_NATIVE": "1"}
    assert WHEELS["permissions"] == {"contents": "read"}


def test_the_committed_baseline_can_be_read() -> None:
    (step,) = steps_using("./")
    baseline = read_report(ROOT / step["with"]["baseline"])
    assert baseline.complete
    assert baseline.history
    assert [model.name for model in baseline.candidates] == [step["with"]["candidates"]]


def run_step(environment: dict[str, str], folder: Path) -> subprocess.CompletedProcess[str]:
    """The script of the action, as GitHub's runner starts it."""
    blank = dict.fromkeys(MEASURE["env"], "")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    files = {"GITHUB_OUTPUT": str(folder / "output"), "GITHUB_STEP_SUMMARY": str(folder / "summary.md")}
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", MEASURE["run"]],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PATH": path, **files, **blank, **environment},
    )


def test_the_action_measures_and_judges(
    bundle_of: Callable[..., Bundle], model_folder: Path, long_corpus_file: Path, tmp_path: Path
) -> None:
    small, large = bundle_of("static").folder, bundle_of("float32").folder
    common = {
        "REFERENCE": str(model_folder),
        "CORPUS": str(long_corpus_file),
        "REPORTS": "a folder/reports",
        "OPTIONS": "--examples 16  --rounds 2\n--seconds 0 --lengths 1x8\n",
    }
    own_threads = {"THREADS": "1", "OPTIONS": f"{common['OPTIONS']}--threads 2"}
    done = run_step({**common, **own_threads, "CANDIDATES": f"{small}\n\n{large}\n"}, tmp_path)
    assert done.returncode == 0, done.stderr
    reports = tmp_path / "a folder" / "reports"
    report = read_report(reports / "report.json")
    assert len(report.candidates) == 2
    assert report.reference.latency[0].threads == 2  # what is in "options" wins
    assert (reports / "report.html").read_text().rstrip().endswith("</html>")
    assert (tmp_path / "output").read_text() == "report=a folder/reports/report.json\n"
    assert "### Size and start" in (tmp_path / "summary.md").read_text()
    assert done.stdout.startswith("::warning::nothing is judged: ")
    assert not (reports / "junit.xml").exists()
    worse = run_step({**common, "CANDIDATES": str(large), "AGAINST": str(small), "STRICT": "true"}, tmp_path)
    assert worse.returncode == 1, worse.stderr
    assert "fail" in (reports / "junit.xml").read_text()
    assert "::warning::" not in worse.stdout


def test_a_word_that_is_not_strict_is_an_error(tmp_path: Path) -> None:
    done = run_step({"CANDIDATES": "x", "REFERENCE": "x", "REPORTS": "r", "STRICT": "True"}, tmp_path)
    assert (done.returncode, done.stdout) == (2, "::error::strict is 'True', expected true or false\n")


def test_an_input_is_never_a_command(tmp_path: Path) -> None:
    done = run_step({"CANDIDATES": "$(touch a)`touch b`; touch c", "REFERENCE": "x; touch d", "REPORTS": "r"}, tmp_path)
    assert done.returncode == 3
    assert [path.name for path in tmp_path.iterdir()] == ["output"]


@pytest.mark.parametrize("snippet", SNIPPETS, ids=lambda snippet: str(next(iter(snippet))))
def test_the_pages_lines_use_what_there_is(snippet: Any) -> None:
    text = yaml.safe_dump(snippet, width=1000)
    for line in re.findall(r"bertedge bench [^\n]*", text):
        assert used_options(line) <= known_options(), line
    for job in snippet.get("jobs", {}).values():
        for step in job["steps"]:
            if "bertedge" in step.get("uses", ""):
                assert step["with"].keys() <= ACTION["inputs"].keys()


def test_the_page_shows_three_systems() -> None:
    assert len(SNIPPETS) == 3
