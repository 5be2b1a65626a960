"""README and the pages of docs/: their links, their commands and their Python, and what is generated for the site."""

from __future__ import annotations

import ast
import importlib.util
import re
import shlex
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer.main

import bertedge
from bertedge.checkpoint import Checkpoint
from bertedge.checkpoint.sources import ArraysSource
from bertedge.cli.app import COMMANDS, app
from bertedge.encoders import EncoderConfig
from bertedge.heads.parts import HeadSettings, Parts
from bertedge.heads.token_classification.tag_settings import TagSettings
from bertedge.tokenizer import Tokenizer
from tests.conftest import random_tensors

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *(ROOT / name / "README.md" for name in ("benchmarks", "calibration")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
#: Pages whose Python asks a server: tests/serve/ runs it.
ASKS_A_SERVER = ("serving-api.md", "serving.md")
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CLI: Any = typer.main.get_command(app)


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def snippets(page: Path, language: str) -> list[str]:
    return [code for kind, code in FENCE.findall(page.read_text(encoding="utf-8")) if kind == language]


def commands(code: str) -> Iterator[list[str]]:
    """The words of every command of a piece of shell; quotes may reach over several lines."""
    line = ""
    for part in code.replace("\\\n", " ").splitlines():
        line += part
        try:
            shlex.split(line, comments=True)
        except ValueError:
            line += "\n"
            continue
        yield from (words for one in line.split(" && ") if (words := shlex.split(one, comments=True)))
        line = ""
    assert not line


def typed() -> list[tuple[str, list[str]]]:
    """Every command of every page, with the page's name."""
    return [(name_of(page), words) for page in PAGES for code in snippets(page, "sh") for words in commands(code)]


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and the site make them."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    headings = [*re.findall(r"^#+ (.+)$", text, re.MULTILINE), *(COMMANDS if "<!-- commands -->" in text else ())]
    return {re.sub(r"\s+", "-", re.sub(r"[^\w\s-]", "", heading.lower()).strip()) for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"\w+:", link):
            continue
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_commands_can_be_typed() -> None:
    found = 0
    for page, words in typed():
        if Path(words[0]).name != "bertedge" or len(words) < 2 or words[1].startswith("-"):
            continue
        end = words.index(">") if ">" in words else None
        try:
            with CLI.commands[words[1]].make_context(words[1], words[2:end]):
                found += 1
        except Exception as error:
            pytest.fail(f"{page}: {shlex.join(words)}: {error}")
    assert found > 30


def test_scripts_and_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    shared = (ROOT / "benchmarks" / "measuring.py").read_text(encoding="utf-8")
    scripts = 0
    for page, words in typed():
        if words[0] == "make":
            assert re.search(rf"^{words[1]}:", makefile, re.MULTILINE), f"{page}: {words}"
        if words[0] == "python" and words[1].startswith("benchmarks/"):
            source = (ROOT / words[1]).read_text(encoding="utf-8") + shared
            own = words[: words.index("--")] if "--" in words else words
            for option in (word for word in own if word.startswith("--")):
                assert f'"{option}"' in source, f"{page}: {option}"
            scripts += 1
    assert scripts > 15


def test_options_in_sentences_exist() -> None:
    """Options in code between words are those of bertedge, of a script in benchmarks/, or of another tool."""
    own = {word for command in CLI.commands.values() for p in command.params for word in (*p.opts, *p.secondary_opts)}
    scripts = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "benchmarks").rglob("*.py"))
    foreign = {"--help", "--quiet", "--verbose", "--install-completion"}
    foreign |= {"--no-deps", "--include_ops_by_config", "--preload"}
    foreign |= {"--build-arg", "--env", "--format", "--publish", "--signal", "--tmpfs"}  # of docker
    for page in PAGES:
        if page.name == "CHANGELOG.md":
            continue  # it names what was removed
        text = FENCE.sub("", page.read_text(encoding="utf-8"))
        for code in re.findall(r"`([^`\n]+)`", text):
            for option in re.findall(r"(?<![\w-])--[a-z][\w-]*", code):
                assert option in own | foreign or f'"{option}"' in scripts, f"{name_of(page)}: {code}"


@pytest.fixture
def bundles(model_folder: Path, config: EncoderConfig, tokenizer: Tokenizer) -> dict[str, Callable[[], Any]]:
    """Page -> makes the bundle and the files that its code reads, in the current folder."""

    def tagger() -> None:
        settings = HeadSettings(token_classification=TagSettings(labels=("O", "PER"), owner="classifier"))
        tensors = random_tensors(config, Parts(("token_classification",), settings=settings))
        source = ArraysSource(tensors)
        bertedge.export(Checkpoint(name="tagger", config=config, source=source, tokenizer_=tokenizer), "tagger.int8")

    def vectors() -> None:
        bertedge.export(model_folder, "e.int8")
        if importlib.util.find_spec("pyarrow"):
            import pyarrow.parquet

            texts = pyarrow.table({"id": range(6), "text": [f"The cat sat on mat {row}." for row in range(6)]})
            pyarrow.parquet.write_table(texts, "texts.parquet")

    return {
        "docs/getting-started.md": lambda: bertedge.quantize(model_folder, "small.int8"),
        "docs/tagging.md": tagger,
        "docs/integrations/index.md": vectors,
        "docs/many-machines.md": vectors,
    }


def packages(code: str) -> set[str]:
    """The packages that a piece of Python imports."""
    nodes = list(ast.walk(ast.parse(code)))
    modules = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    modules += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
    return {module.split(".")[0] for module in modules}


@pytest.mark.parametrize(
    "page", [page for page in PAGES if snippets(page, "python") and page.name not in ASKS_A_SERVER], ids=name_of
)
def test_python_runs(
    page: Path,
    model_folder: Path,
    bundles: dict[str, Callable[[], Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(ROOT / "calibration" if page.parent.name == "calibration" else tmp_path)
    monkeypatch.syspath_prepend(str(page.parent))  # of the programs next to it
    if name_of(page) in bundles:
        bundles[name_of(page)]()
    missing = set()
    for code in snippets(page, "python"):
        absent = {name for name in packages(code) if importlib.util.find_spec(name) is None}
        if absent:
            missing |= absent
            continue
        exec(code.replace("bertedge-small-en", str(model_folder)), {"__name__": "__main__"})
    if missing:
        pytest.skip(f"not installed: {', '.join(sorted(missing))}; make integrations tests it")


@pytest.fixture(scope="module")
def hooks() -> ModuleType:
    spec = importlib.util.spec_from_file_location("hooks", ROOT / "docs" / "hooks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_command_line_is_complete(hooks: ModuleType) -> None:
    text = hooks.commands()
    for name in COMMANDS:
        section = text.split(f"### {name}\n")[1].split("\n### ")[0]
        for parameter in CLI.commands[name].params:
            words = parameter.opts if parameter.param_type_name == "option" else [parameter.name.upper()]
            assert parameter.hidden or all(f"`{word}`" in section for word in words), (name, parameter.name)
    assert "\x1b" not in text


def test_schema_numbers_are_those_of_the_code() -> None:
    text = (ROOT / "docs" / "schemas.md").read_text(encoding="utf-8")
    rows = re.findall(r"\| (\d+) \| `bertedge/([\w/]+)\.py` \|", text)
    assert len(rows) > 4
    for number, path in rows:
        assert int(number) == import_module(f"bertedge.{path.replace('/', '.')}").SCHEMA_VERSION, path


def test_pages_have_a_place_for_what_is_generated() -> None:
    assert "<!-- commands -->" in (ROOT / "docs" / "command-line.md").read_text(encoding="utf-8")
    assert "<!-- public names -->" in (ROOT / "docs" / "python-api.md").read_text(encoding="utf-8")


def test_the_architecture_page_names_what_exists() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    paths = set(re.findall(r"`((?:bertedge|tests)/[\w/.]+)`", text))
    assert len(paths) > 10
    assert not [path for path in paths if "NAME" not in path and not (ROOT / path).exists()]


def test_every_page_is_in_the_site() -> None:
    listed = re.findall(r"^ +- (?:\w+: )?(\S+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE)
    docs = ROOT / "docs"
    assert sorted(listed) == sorted(str(page.relative_to(docs)) for page in docs.rglob("*.md"))


@pytest.mark.parametrize(
    ("link", "folder", "expected"),
    [
        ("../recipes.md", "benchmarks", "../recipes.md"),
        ("../../benchmarks/roofline.py", "benchmarks", "https://there/blob/main/benchmarks/roofline.py"),
        ("../benchmarks/web", ".", "https://there/tree/main/benchmarks/web"),
    ],
)
def test_links_out_of_the_site(link: str, folder: str, expected: str, hooks: ModuleType) -> None:
    assert hooks.outside(link, Path(folder), "https://there/") == expected


def test_code_of_the_examples_is_in_the_examples() -> None:
    """Blocks that are marked ``py`` do not run: they quote."""
    programs = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "examples").glob("*.py"))
    quoted = [code for page in PAGES for code in snippets(page, "py")]
    assert quoted
    assert all(code in programs for code in quoted)
