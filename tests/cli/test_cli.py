"""The commands as a user types them, in a process of their own where that matters."""

from __future__ import annotations

import importlib
import io
import json
import os
import resource
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from bertedge.bundle import Bundle
from bertedge.cli.app import run
from bertedge.cli.bench import parse_grid
from bertedge.cli.console import report as report_error
from bertedge.cpu import this_cpu
from bertedge.errors import FileError
from bertedge.manifest import file_entries, write_manifest
from bertedge.metric import MetricValue
from bertedge.recipe import recipe_of_table
from bertedge.report.schema import read_report, write_report
from bertedge.report.targets import markdown
from bertedge.target import this_target
from tests.report.samples import model, report_of


def bertedge(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bertedge", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "COLUMNS": "200"})


def typed(*arguments: object) -> subprocess.CompletedProcess[str]:
    """The same in this process, which spares a start and the imports; for the many commands that end at once."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    with redirect_stdout(out), redirect_stderr(err):
        try:
            run([str(argument) for argument in arguments])
        except SystemExit as end:
            code = int(end.code or 0)
        except Exception as error:
            code = report_error(error)
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())


@pytest.fixture(scope="module")
def folder(bundle_of: Callable[..., Bundle]) -> Path:
    return bundle_of("static").folder


#: ``bench`` with as little work as it can do.
LITTLE = ("--examples", 16, "--rounds", 2, "--seconds", 0, "--lengths", "1x8", "--threads", 1)


@pytest.fixture(scope="module")
def measured(
    folder: Path, model_folder: Path, long_corpus_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A folder with a report of the tiny model in every format, and what was printed; not to be changed by tests."""
    out = tmp_path_factory.mktemp("measured")
    more = ["--corpus", long_corpus_file, *LITTLE, "--rounds", 6, "--lengths", "1x8,2x16"]
    files = ["--json", out / "report.json", "--markdown", out / "report.md", "--html", out / "report.html"]
    done = bertedge("bench", folder, "--reference", model_folder, *more, *files)
    assert done.returncode == 0, done.stderr
    (out / "stdout").write_text(done.stdout)
    return out


@pytest.fixture(scope="module")
def report_file(measured: Path) -> Path:
    """A report of the tiny model; not to be changed by tests."""
    return measured / "report.json"


def test_quantize_prints_nothing_to_stdout(model_folder: Path, corpus_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "tiny.int8"
    done = bertedge("quantize", model_folder, "-o", out, "--calibration", corpus_file, "--examples", 16)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert Bundle.open(out).manifest.heads


def test_report_draws_again_what_bench_wrote(measured: Path, report_file: Path, tmp_path: Path) -> None:
    page = measured / "report.html"
    assert f"--html {page}" in page.read_text()
    again = typed("report", report_file, "--html", tmp_path / "again.html", "--markdown", tmp_path / "again.md")
    assert (again.returncode, again.stdout) == (0, "")
    assert (tmp_path / "again.html").read_text() == page.read_text()
    assert (tmp_path / "again.md").read_text() == (measured / "report.md").read_text()
    assert bertedge("report", report_file).stdout.strip() == (measured / "stdout").read_text().strip()


def test_what_bench_measures(measured: Path, report_file: Path) -> None:
    read = read_report(report_file)
    (candidate,) = read.candidates
    assert [entry.seq_len for entry in candidate.latency] == [8, 16]
    assert candidate.fidelity["mlm.kl_mean"].n > 0
    assert read.skipped == {}
    assert candidate.fidelity["invariance.max_prob_diff"].value == 0
    assert 0 <= candidate.fidelity["invariance.padded_file_max_prob_diff"].value < 1e-4
    printed = (measured / "stdout").read_text()
    assert "mlm.top1_agreement" in printed
    assert "invariance.padded_file_max_prob_diff" in printed
    assert {"schema_version", "machine", "reference", "candidates"} <= json.loads(report_file.read_text()).keys()
    assert (measured / "report.md").read_text().startswith("### Size and start")


def changed(report: Path, target: Path, **changes: object) -> Path:
    """A report with other numbers of its candidate."""
    raw = json.loads(report.read_text())
    raw["candidates"][0].update(changes)
    target.write_text(json.dumps(raw))
    return target


def test_names_are_printed_as_they_are(report_file: Path, tmp_path: Path) -> None:
    name = "a[red]b[/] :bomb: [/x]"
    done = typed("report", changed(report_file, tmp_path / "report.json", name=name))
    assert done.returncode == 0, done.stderr
    assert name in done.stdout


def test_compare_ends_with_what_it_found(report_file: Path, tmp_path: Path) -> None:
    same = typed("compare", report_file, report_file, "--budgets", written(tmp_path, '"latency.p50" = false'))
    assert same.returncode == 0, same.stderr
    assert "within the budget" in same.stdout
    size = json.loads(report_file.read_text())["candidates"][0]["size_bytes"]
    larger = changed(report_file, tmp_path / "larger.json", size_bytes=2 * size)
    junit, markdown, summary = tmp_path / "out.xml", tmp_path / "out.md", tmp_path / "summary.md"
    summary.write_text("before\n")
    command = [
        sys.executable,
        "-m",
        "bertedge",
        "compare",
        report_file,
        larger,
        "--junit",
        junit,
        "--markdown",
        markdown,
    ]
    done = subprocess.run(
        [*map(str, command)], capture_output=True, text=True, env={**os.environ, "GITHUB_STEP_SUMMARY": str(summary)}
    )
    assert done.returncode == 1
    assert "2 times as much" in done.stdout
    assert "1 fail" in done.stderr
    suites = ElementTree.parse(junit).getroot()
    assert suites.attrib["failures"] == "1"
    assert suites.find(".//failure").attrib["message"].startswith(f"{2 * size:,} bytes, the baseline")  # type: ignore[union-attr]
    assert summary.read_text() == "before\n" + markdown.read_text() + "\n"
    loose = written(tmp_path, "[size_bytes]\nmax_ratio = 3")
    assert typed("compare", report_file, larger, "--budgets", loose).returncode == 0


def written(folder: Path, text: str) -> Path:
    (folder / "budgets.toml").write_text(text)
    return folder / "budgets.toml"


def test_what_is_inconclusive_fails_where_it_is_strict(report_file: Path, tmp_path: Path) -> None:
    wide = {"value": 0.9, "low": 0.1, "high": 1.0, "n": 9}
    fidelity = json.loads(report_file.read_text())["candidates"][0]["fidelity"]
    unsure = changed(report_file, tmp_path / "unsure.json", fidelity={**fidelity, "mlm.top1_agreement": wide})
    assert typed("compare", report_file, unsure).returncode == 0
    assert typed("compare", report_file, unsure, "--strict").returncode == 1


def test_what_would_tell_more_is_said(tmp_path: Path) -> None:
    for name, value in (("old", 0.98), ("new", 0.972)):
        seen = MetricValue(value=value, low=value - 0.01, high=value + 0.01, n=500)
        write_report(tmp_path / f"{name}.json", report_of(model("small", fidelity={"mlm.top1_agreement": seen})))
    done = typed("compare", tmp_path / "old.json", tmp_path / "new.json")
    assert done.returncode == 0
    assert "undecided: mlm.top1_agreement: give bench more text" in done.stderr


def test_a_page_that_cannot_be_drawn_costs_no_other_file(
    report_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> str:
        raise RuntimeError("no font")

    monkeypatch.setattr("bertedge.report.html.html_report", fail)
    with pytest.raises(RuntimeError, match="no font"):
        typed("compare", report_file, report_file, "--html", tmp_path / "r.html", "--junit", tmp_path / "r.xml")
    assert [path.name for path in tmp_path.iterdir()] == ["r.xml"]


def test_what_was_measured_is_kept_where_it_cannot_be_judged(
    folder: Path, model_folder: Path, long_corpus_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> tuple:
        raise FileError("the baseline is odd", "look at it")

    importlib.import_module("bertedge.benchmark")  # which keeps the true one: it has judged before the command does
    monkeypatch.setattr("bertedge.report.gate.judge", fail)
    more = [
        "--corpus",
        long_corpus_file,
        *LITTLE,
        "--examples",
        300,
        "--against",
        folder,
        "--json",
        tmp_path / "r.json",
    ]
    done = typed("bench", folder, "--reference", model_folder, *more)
    found = read_report(tmp_path / "r.json").corpus.examples
    assert f"long.txt: has {found} texts to compare on, fewer than 300" in done.stderr
    assert (done.returncode, done.stderr.splitlines()[-2]) == (3, "error: the baseline is odd")
    assert read_report(tmp_path / "r.json").complete


def test_a_baseline_is_accepted_with_a_reason(report_file: Path, tmp_path: Path) -> None:
    baseline = Path(shutil.copy(report_file, tmp_path / "baseline.json"))
    size = json.loads(report_file.read_text())["candidates"][0]["size_bytes"]
    larger = changed(report_file, tmp_path / "larger.json", size_bytes=2 * size)
    done = typed("compare", baseline, larger, "--update-baseline", "--reason", "more words")
    assert done.returncode == 0, done.stderr
    assert "1 fail" in done.stderr
    accepted = read_report(baseline)
    assert accepted.candidates[0].size_bytes == 2 * size
    assert [entry.reason for entry in accepted.history] == ["more words"]
    assert typed("compare", baseline, larger).returncode == 0


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        (lambda raw: raw.update(schema_version=2), 3, "schema 2, expected"),
        (lambda raw: raw["candidates"][0].update(size_bytes="big"), 3, "candidates[0].size_bytes: 'big' is not int"),
        (lambda raw: raw.update(note="mine"), 3, "unknown key 'note'"),
        (lambda raw: raw["reference"]["manifest"]["provenance"].update(source_sha256="0" * 64), 2, "of another model"),
        (lambda raw: raw.update(complete=False, missing=["cold start"]), 2, "was interrupted"),
        (lambda raw: raw["machine"].update(cpu="Another"), 0, ""),
    ],
)
def test_baselines_that_say_nothing(
    change: Callable[[dict], None], code: int, words: str, report_file: Path, tmp_path: Path
) -> None:
    raw = json.loads(report_file.read_text())
    change(raw)
    (tmp_path / "baseline.json").write_text(json.dumps(raw))
    done = typed("compare", tmp_path / "baseline.json", report_file)
    assert done.returncode == code, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    if code == 0:
        assert "another machine: cpu" in done.stdout


def test_a_candidate_is_judged_by_what_was_measured_beside_it(
    folder: Path, bundle_of: Callable[..., Bundle], model_folder: Path, long_corpus_file: Path, tmp_path: Path
) -> None:
    """The float bundle is larger than the int8 bundle. Times are not checked."""
    larger = bundle_of("float32").folder
    more = ["--corpus", long_corpus_file, *LITTLE, "--against", folder, "--json", tmp_path / "r.json"]
    done = typed("bench", larger, "--reference", model_folder, *more)
    assert done.returncode == 1, done.stderr
    assert "(against)" in done.stdout
    assert read_report(tmp_path / "r.json").against is not None


def test_the_first_baseline_is_written_by_bench(
    folder: Path, model_folder: Path, long_corpus_file: Path, tmp_path: Path
) -> None:
    baseline = tmp_path / "baselines" / "here.json"
    more = ["--corpus", long_corpus_file, *LITTLE, "--baseline", baseline, "--update-baseline", "--reason", "the first"]
    done = typed("bench", folder, "--reference", model_folder, *more)
    assert done.returncode == 0, done.stderr
    assert [entry.reason for entry in read_report(baseline).history] == ["the first"]
    assert "Verdicts" not in done.stdout


@pytest.mark.parametrize(
    ("between", "told"),
    [("\n", "one.txt is a single document"), ("\n\n", "one.txt has one sentence in every document")],
    ids=["one document", "one sentence a document"],
)
def test_a_text_without_next_sentences_has_no_pairs_and_the_report_says_so(
    folder: Path, model_folder: Path, corpus_file: Path, tmp_path: Path, between: str, told: str
) -> None:
    text, report = tmp_path / "one.txt", tmp_path / "report.json"
    text.write_text(between.join(line for line in corpus_file.read_text().splitlines() if line))
    arguments = ["--reference", model_folder, "--corpus", text, *LITTLE]
    done = typed("bench", folder, *arguments, "--json", report, "--markdown", tmp_path / "report.md")
    assert done.returncode == 0, done.stderr
    for output in (done.stdout, (tmp_path / "report.md").read_text()):
        assert "nsp.flip_rate" not in output
        assert told in " ".join(output.replace("│", " ").split())
        assert "not measured" in output
    raw = json.loads(report.read_text())
    assert raw["skipped"].keys() == {"nsp"}
    assert raw["corpus"]["next_sentence"] is False
    assert not [name for name in raw["candidates"][0]["fidelity"] if name.startswith("nsp.")]
    assert read_report(report).skipped == raw["skipped"]


def test_fill_mask_prints_words_or_json(folder: Path) -> None:
    done = typed("fill-mask", folder, "The cat [MASK] on the mat.", "--top-k", 2)
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 2
    (fills,) = json.loads(typed("fill-mask", folder, "The cat [MASK].", "--json").stdout)
    assert {"token", "probability", "token_id"} == fills[0].keys()


def test_next_sentence_prints_a_verdict(folder: Path) -> None:
    done = typed("next-sentence", folder, "It was a warm day.", "The cat slept.")
    share, verdict = done.stdout.split(maxsplit=1)
    assert verdict.strip() in ("follows", "does not follow")
    assert 0.5 <= float(share) <= 1, "the probability of what is said"
    pair = ("It was a warm day.", "The cat slept.")
    is_next = json.loads(typed("next-sentence", folder, *pair, "--json").stdout)["is_next"]
    assert float(share) == pytest.approx(max(is_next, 1 - is_next), abs=1e-4)


def test_an_option_counts_more_than_the_setting_of_its_name(
    model_folder: Path, corpus_file: Path, tmp_path: Path
) -> None:
    made = ("quantize", model_folder, "-o", tmp_path / "b", "--calibration", corpus_file, "--target", "portable")
    settings = ("--set", "examples=4", "--set", "exclude=pooler", "--set", "exclude=mlm.decoder")
    typed(*made, *settings, "--examples", "5", "--exclude", "pooler")
    recipe = Bundle.open(tmp_path / "b").manifest.recipe
    assert (recipe.method.examples, recipe.exclude) == (5, ("pooler",))


def test_verify_and_info(folder: Path, model_folder: Path) -> None:
    assert typed("verify", folder).stdout.strip().endswith("verified")
    assert json.loads(typed("verify", folder, "--json").stdout)["passed"] is True
    assert json.loads(typed("info", folder, "--json").stdout)["kind"] == "bundle"
    assert json.loads(typed("info", model_folder, "--json").stdout)["heads"] == ["mlm", "nsp"]
    assert (
        recipe_of_table(tomllib.loads(typed("info", folder, "--recipe").stdout)) == Bundle.open(folder).manifest.recipe
    )
    assert "portable" in typed("info", "--targets").stdout
    assert json.loads(typed("info", "--targets", "--json").stdout)["avx2"]["weight_range"]["pair"] == 128
    assert typed("info", "--markdown").stdout == markdown()


def test_what_info_and_verify_say_to_a_person(folder: Path, model_folder: Path) -> None:
    said = typed("info", folder).stdout
    size = Bundle.open(folder).size_bytes
    assert f"{size / 1e6:.1f} MB" in said
    assert "% of the multiply-accumulates" in said
    assert "parameters " in typed("info", model_folder).stdout
    said = typed("verify", folder).stdout
    assert "as on the machine that made it" in said
    assert "nan" not in said


@pytest.mark.parametrize("width", [40, 80])
def test_info_fits_the_terminal(folder: Path, model_folder: Path, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    for shown in (folder, model_folder):
        lines = typed("info", shown).stdout.splitlines()
        assert max(map(len, lines)) <= width, lines
        assert not [line for line in lines if line != line.rstrip()], lines


def test_train_and_distill(corpus_file: Path, model_folder: Path, tmp_path: Path) -> None:
    shape = ["--layers", 1, "--hidden", 32, "--set", "batch_size=4", "--set", "max_length=32", "--steps", 3]
    trained = typed("train", corpus_file, "-o", tmp_path / "trained", "--set", "vocab_size=200", *shape)
    assert trained.returncode == 0, trained.stderr
    distilled = typed("distill", tmp_path / "trained", corpus_file, "-o", tmp_path / "student", *shape)
    assert distilled.returncode == 0, distilled.stderr
    assert json.loads((tmp_path / "student" / "training.json").read_text())["done"]["steps"] == 3
    again = ["-o", tmp_path / "more", "--init", tmp_path / "trained", "--epochs", 1, "--plot", tmp_path / "curve.svg"]
    more = typed("train", corpus_file, *again, "--set", "batch_size=4", "--set", "max_length=32")
    assert more.returncode == 0, more.stderr
    assert "curves: " in more.stderr
    assert (tmp_path / "curve.svg").read_text().startswith("<?xml")
    assert typed("info", tmp_path / "student").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["fill-mask", "{bundle}", "no mask"], 2, "no [MASK]"),
        (["fill-mask", "{bundle}", ""], 2, "no [MASK]"),
        (["fill-mask", "{model}", "a [MASK]"], 3, "is not a bundle"),
        (["fill-mask", "nowhere", "a [MASK]"], 3, "no such bundle"),
        (["verify", "nowhere"], 3, "no such bundle"),
        (["info", "nowhere"], 3, "no such folder"),
        (["train", "{corpus}", "-o", "{tmp}/x", "--steps", "0"], 2, "steps is 0"),
        (["train", "{corpus}", "-o", "{tmp}/x", "--steps", "1", "--minutes", "1"], 2, "exactly one"),
        (["train", "{corpus}", "-o", "{tmp}/x", "--set", "learning_rate=-1"], 2, "learning_rate is -1"),
        (["train", "{corpus}", "-o", "{tmp}/x", "--plot", "curve.txt"], 2, "cannot be drawn"),
        (["train", "{corpus}", "-o", "{tmp}/x", "--resume", "--set", "vocab_size=200"], 3, "no interrupted run"),
        (["train", "{corpus}", "-o", "{tmp}/x", "--set", "heads=3", "--hidden", "32"], 2, "3 attention heads"),
        (["distill", "{model}", "{corpus}", "-o", "{tmp}/x", "--keep-vocab", "3"], 2, "keep_vocab is 3"),
        (["distill", "{model}", "{corpus}", "-o", "{tmp}/x", "--set", "hidden_weight=-1"], 2, "hidden_weight is -1.0"),
        (["info"], 2, "no model"),
        (["info", "{model}", "--recipe"], 2, "is not quantized"),
        (["info", "--targets", "--recipe"], 2, "are for the table of targets"),
        (["quantize", "nowhere", "-o", "{tmp}/x"], 3, "no such folder"),
        (["quantize", "{model}", "-o", "{bundle}"], 3, "already there"),
        (["quantize", "{model}", "-o", "{tmp}/x", "--target", "avx"], 2, "avx"),
        (["quantize", "{model}", "-o", "{tmp}/x", "--set", "method=statik"], 2, "statik"),
        (["quantize", "{model}", "-o", "{tmp}/x", "--calibration", "{empty}"], 3, "holds no text"),
        (["quantize", "{model}", "-o", "{tmp}/x", "--calibration", "nofile"], 3, "cannot be read"),
        (["quantize", "{model}", "-o", "{tmp}/x", "--calibration", "/dev/zero"], 3, "/dev/zero: is a device"),
        (["train", "/dev/zero", "-o", "{tmp}/x"], 3, "/dev/zero: is a device"),
        (["bench", "{bundle}", "--reference", "{model}", "--corpus", "/dev/zero"], 3, "/dev/zero: is a device"),
        (["export", "{model}", "-o", "{tmp}/x", "--keep-vocab", "250", "--vocab-corpus", "/dev/zero"], 3, "a device"),
        (["quantize", "{model}", "-o", "{tmp}/x", "--examples", "10001"], 2, "examples is 10001, expected 1"),
        (["tune", "{model}", "-o", "{tmp}/x", "--max-kl", "1", "--examples", "100000000"], 2, "examples is 100000000"),
        (["bench", "{bundle}", "--reference", "{model}", "--examples", "100000000"], 2, "examples is 100000000"),
        (["quantize", "{model}", "-o", "{tmp}/x", "--recipe", "faithfull"], 2, "faithfull"),
        (["quantize", "{model}", "-o", "{tmp}/x", "--set", "rounding=up"], 2, "up"),
        (["quantize", "{model}", "-o", "{tmp}/x", "--set", "finer=mlm.transform"], 2, "matches no layer"),
        (["quantize", "{model}", "-o", "{tmp}/x", "--set", "roundin=up"], 2, "there is no setting 'roundin'"),
        (["quantize", "{model}", "-o", "{tmp}/x", "--set", "rounding"], 2, "there is no '='"),
        (["quantize", "{model}", "-o", "{tmp}/x", "--set", "smoothing=1"], 2, "smoothing: '1' is not true or false"),
        (["quantize", "{model}", "-o", "{tmp}/x", "--recipe", "{corpus}"], 3, "is not TOML"),
        (["quantize", "{model}", "-o", "{tmp}/x", "--recipe", "{tmp}/none.toml"], 3, "cannot be read"),
        (["quantize", "{model}", "-o", "{tmp}/x", "--recipe", "dynamic", "--set", "finer=*"], 2, "finer: the dynamic"),
        (["quantize", "{model}", "-o", "{tmp}/x", "--ranges", "nowhere"], 3, "nowhere"),
        (["quantize", "{model}", "-o", "{tmp}/x", "--exclude", "embeddings.word"], 2, "shares its table"),
        (["quantize", "{model}", "-o", "{empty}/x"], 3, "Not a directory"),
        (["bench", "{bundle}", "--reference", "nowhere"], 3, "no such folder"),
        (["bench", "{bundle}", "--reference", "{model}", "--corpus", "{empty}"], 3, "holds no text"),
        (["bench", "{bundle}", "--reference", "{model}", "--lengths", "12"], 2, "--lengths"),
        (["bench", "{bundle}", "--reference", "{model}", "--lengths", ""], 2, "--lengths"),
        (["export", "{model}", "-o", "/proc/bundle"], 3, "/proc/bundle: No such file"),
        (["fill-mask", "{bundle}"], 2, "missing argument"),
        (["quantise", "{model}"], 2, "did you mean 'quantize'"),
        (["bench", "{bundle}", "--reference", "nowhere", "--json", "{empty}/report.json"], 3, "Not a directory"),
        (["bench", "{bundle}", "--reference", "nowhere", "--json", "{tmp}"], 3, "Is a directory"),
        (["bench", "{bundle}", "-r", "x", "--against", "{bundle}", "--junit", "{empty}/x.xml"], 3, "Not a directory"),
        (["bench", "{bundle}", "-r", "x", "--junit", "{tmp}/x.xml"], 2, "--junit: there is nothing to judge by"),
        (["bench", "{bundle}", "-r", "x", "--seed", "-1"], 2, "--seed"),
        (["bench", "{bundle}", "--reference", "nowhere", "--baseline", "{tmp}/none.json"], 3, "no such baseline"),
        (["bench", "{bundle}", "--reference", "nowhere", "--baseline", "{empty}"], 3, "is not JSON"),
        (
            ["bench", "{bundle}", "-r", "nowhere", "--against", "{bundle}", "--budgets", "{tmp}/none.toml"],
            3,
            "cannot be read",
        ),
        (["bench", "{bundle}", "-r", "nowhere", "--strict"], 2, "--strict: there is nothing to judge by"),
        (["bench", "{bundle}", "-r", "nowhere", "--rounds", "9", "--max-rounds", "4"], 2, "9 rounds, 4 at most"),
        (["bench", "{bundle}", "-r", "nowhere", "--max-rounds", "4"], 3, "no such folder"),  # 4 rounds, then
        (["bench", "{bundle}", "-r", "x", "--html", "{tmp}/r", "--json", "{tmp}/r"], 2, "--json and --html"),
        (["bench", "{bundle}", "-r", "x", "--html", "{tmp}/r", "--junit", "{tmp}/a/../r"], 2, "--html and --junit"),
        (["bench", "{bundle}", "-r", "x", "--corpus", "{empty}", "--json", "{empty}"], 2, "--corpus and --json"),
        (["bench", "{bundle}", "-r", "x", "--baseline", "{empty}", "--json", "{empty}"], 2, "--baseline and --json"),
        (
            [
                *("bench", "{bundle}", "-r", "x", "--json", "{tmp}/b", "--baseline", "{tmp}/b"),
                *("--update-baseline", "--reason", "x"),
            ],
            2,
            "--json and --baseline",
        ),
        (["compare", "{tmp}/b", "{empty}", "--markdown", "{empty}"], 2, "the report and --markdown"),
        (["compare", "{empty}", "{empty}", "--update-baseline", "--reason", "x"], 2, "and --baseline"),
        (["bench", "{bundle}", "--reference", "nowhere", "--update-baseline", "--reason", "x"], 2, "needs --baseline"),
        (["bench", "{bundle}", "-r", "x", "--baseline", "{tmp}/b.json", "--update-baseline"], 2, "needs a reason"),
        (["bench", "{bundle}", "--reference", "nowhere", "--reason", "x"], 2, "needs --update-baseline"),
        (["bench", "{bundle}", "--reference", "{model}", "--against", "nowhere"], 3, "no such bundle"),
        (["bench", "{bundle}", "--reference", "{model}", "--seconds", "-1"], 2, "--seconds"),
        (["compare", "{tmp}/none.json", "{tmp}/none.json"], 3, "no such baseline"),
        (["compare", "{empty}", "{empty}"], 3, "is not JSON"),
        (["bench", "{bundle}", "--reference", "nowhere", "--html", "{tmp}"], 3, "Is a directory"),
        (["report", "{tmp}/nowhere.json"], 3, "cannot be read"),
        (["report", "{empty}"], 3, "is not JSON"),
        (["report", "{empty}", "--html", "{tmp}"], 3, "Is a directory"),
        (["bench", "{bundle}", "--reference", "nowhere", "--markdown", "{empty}/x/report.md"], 3, "Not a directory"),
        (["train", "{empty}", "-o", "{tmp}/x", "--steps", "1"], 3, "holds no text"),
        (["distill", "nowhere", "{empty}", "-o", "{tmp}/x"], 3, "no such folder"),
    ],
)
def test_a_mistake_is_two_lines_and_an_exit_code(
    arguments: list[str],
    code: int,
    words: str,
    folder: Path,
    model_folder: Path,
    corpus_file: Path,
    tmp_path: Path,
) -> None:
    empty = tmp_path / "empty.txt"
    empty.write_text("\n\n")
    places = {"bundle": folder, "model": model_folder, "tmp": tmp_path, "empty": empty, "corpus": corpus_file}
    done = typed(*(argument.format(**places) for argument in arguments))
    assert done.returncode == code, done.stderr
    error, hint = done.stderr.strip().splitlines()[-2:]
    assert error.startswith("error: ")
    assert words.lower() in error.lower()
    assert hint.startswith("hint: ")
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == [empty]


@pytest.mark.parametrize("command", ["quantize", "export", "bench"])
def test_a_disk_that_is_full(command: str, folder: Path, model_folder: Path, corpus_file: Path, tmp_path: Path) -> None:
    """A file may have 20 kB here; the system then says to a writer what it says on a full disk."""
    out = ["-o", str(tmp_path / "out")]
    arguments = {
        "quantize": [str(model_folder), *out, "--calibration", str(corpus_file)],
        "export": [str(model_folder), *out],
        "bench": [str(folder), "--reference", str(model_folder)],
    }
    done = subprocess.run(
        [sys.executable, "-m", "bertedge", command, *arguments[command]],
        capture_output=True,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)),
    )
    error, hint = done.stderr.splitlines()
    assert done.returncode == 3
    assert error.startswith(f"error: {tmp_path}/")
    assert "free space" in hint
    assert [path for path in tmp_path.iterdir() if path.name != ".ses"] == []  # onnxruntime's own, where it likes


def edited(folder: Path, **changes: object) -> Path:
    """A bundle whose manifest says something else, as if it had been written so."""
    write_manifest(folder, replace(Bundle.open(folder, check=False).manifest, **changes))
    return folder


def shortened(folder: Path, name: str) -> Path:
    """Cut the end of a bundle's file off, as an interrupted copy does."""
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data[:-10])
    return folder


@pytest.mark.parametrize("command", ["verify", "fill-mask", "bench"])
@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda folder: shortened(folder, "model.onnx"), "model.onnx was altered"),
        (lambda folder: edited(folder, schema_version=99), "schema 99 is newer"),
        (lambda folder: edited(folder, min_onnxruntime="99.1"), "is too old"),
        (lambda folder: edited(folder, config={}), "missing"),
    ],
)
def test_a_bundle_that_cannot_be_trusted(
    command: str, spoil: Callable[[Path], Path], words: str, folder: Path, model_folder: Path, tmp_path: Path
) -> None:
    spoiled = spoil(Path(shutil.copytree(folder, tmp_path / "spoiled")))
    more = {"verify": [], "fill-mask": ["a [MASK]"], "bench": ["--reference", model_folder]}[command]
    done = typed(command, spoiled, *more, "--engine", "onnxruntime")
    error, hint = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (3, "")
    assert error.startswith("error: ")
    assert words in error
    assert hint.startswith("hint: ")


def test_a_result_that_changed_fails_the_check(folder: Path, tmp_path: Path) -> None:
    import numpy as np

    spoiled = Path(shutil.copytree(folder, tmp_path / "spoiled"))
    manifest = Bundle.open(spoiled).manifest
    with np.load(spoiled / "golden.npz") as stored:
        arrays = dict(stored)
    arrays["bundle.nsp_probs"] = arrays["bundle.nsp_probs"] + 0.1
    np.savez(spoiled / "golden.npz", **arrays)
    (spoiled / "manifest.json").unlink()  # is none of the files that it lists
    write_manifest(spoiled, replace(manifest, files=file_entries(spoiled)))
    done = typed("verify", spoiled, "--engine", "onnxruntime")
    assert done.returncode == 1
    assert "results differ" in done.stderr


def test_an_altered_file_can_be_run_on_purpose(folder: Path, tmp_path: Path) -> None:
    spoiled = Path(shutil.copytree(folder, tmp_path / "spoiled"))
    data = bytearray((spoiled / "golden.npz").read_bytes())
    data[-1] ^= 1
    (spoiled / "golden.npz").write_bytes(data)
    assert "golden.npz was altered" in typed("fill-mask", spoiled, "a [MASK]").stderr
    assert typed("fill-mask", spoiled, "a [MASK]", "--no-verify").returncode == 0
    assert typed("next-sentence", spoiled, "a", "b", "--no-verify").returncode == 0


def test_the_ort_format_and_the_chosen_target(model_folder: Path, corpus_file: Path, tmp_path: Path) -> None:
    arguments = [model_folder, "-o", tmp_path / "b", "--calibration", corpus_file, "--examples", 8]
    done = bertedge("quantize", *arguments, "--format", "ort")
    assert done.returncode == 0
    assert "int8 static for portable (an ORT file runs on other machines)" in done.stderr
    assert typed("verify", tmp_path / "b").stdout.strip().endswith("verified")
    info = json.loads(typed("info", tmp_path / "b", "--json").stdout)
    assert (info["format"], info["target"]) == ("ort", "portable")
    assert info["here"].startswith("correct")
    assert len(typed("fill-mask", tmp_path / "b", "a [MASK]").stdout.splitlines()) == 5
    done = bertedge("export", model_folder, "-o", tmp_path / "c", "--format", "ort")
    assert done.returncode == 0
    done = bertedge("quantize", *arguments, "--force")
    here = this_target()
    assert f"int8 static for {here.name} (this CPU is {this_cpu()}; {here.reason})" in done.stderr
    done = bertedge("quantize", *arguments, "--force", "--format", "ort", "--target", "amx")
    assert done.returncode == 2
    assert "minimal builds" in done.stderr


def test_a_workload_that_is_named_twice_is_one() -> None:
    assert [(workload.batch_size, workload.seq_len) for workload in parse_grid("1x8,2x8,1x8")] == [(1, 8), (2, 8)]


def test_version_and_help() -> None:
    assert bertedge("--version").stdout.startswith("bertedge ")
    assert "fill-mask" in bertedge("--help").stdout


def test_an_empty_file_is_not_ctrl_c(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = Path(shutil.copytree(folder, tmp_path / "bundle"))
    manifest = Bundle.open(bundle).manifest
    (bundle / "golden.npz").write_bytes(b"")
    (bundle / "manifest.json").unlink()
    write_manifest(bundle, replace(manifest, files=file_entries(bundle)))
    done = typed("verify", bundle)
    assert done.returncode == 3
    assert "golden.npz: is empty" in done.stderr

    def end(*args: object) -> None:
        raise EOFError

    monkeypatch.setattr("bertedge.runtime.golden.verify", end)  # like code that reads a file without a check
    with pytest.raises(EOFError):
        typed("verify", folder)
