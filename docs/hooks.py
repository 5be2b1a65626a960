"""Generate parts of the site: the command line, public names, programs, and links to files outside docs/."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import typer.main

import bertedge
from bertedge.cli.app import app
from bertedge.cli.layout import SET_KEYS, key_rows

ROOT = Path(__file__).resolve().parents[1]
#: Mark on a page -> what defines a file format; its docstring goes there.
FORMATS = {"<!-- plan -->": "bertedge.plan", "<!-- manifest -->": "bertedge.manifest.Manifest"}
#: Public names that are imported from a package of bertedge.
IN_PACKAGES = ("jobs.run", "jobs.JobResult")
FORMAT_OPTIONS = "      members: false\n      show_root_heading: false\n      show_bases: false\n"
#: Mark on a page for the source of a program, whose path is relative to the page.
PROGRAM = re.compile(r"<!-- file (\S+) -->")
LINK = re.compile(r"(?<=\]\()(\.\./[^)#\s]*)")


def on_page_markdown(markdown: str, *, page: Any, config: Any, files: Any) -> str:
    """MkDocs calls this for every page."""
    markdown = markdown.replace("<!-- commands -->", commands())
    markdown = markdown.replace("<!-- public names -->", public_names())
    for mark, name in FORMATS.items():
        markdown = markdown.replace(mark, f"::: {name}\n    options:\n{FORMAT_OPTIONS}")
    folder = Path(page.file.src_uri).parent
    markdown = PROGRAM.sub(lambda mark: program(folder, mark[1]), markdown)
    return LINK.sub(lambda link: outside(link[1], folder, config.repo_url), markdown)


def outside(link: str, folder: Path, repository: str) -> str:
    """A link from a page in a folder of docs/; if it leads out of docs/, the file's address in the repository."""
    target = os.path.normpath(Path("docs") / folder / link)
    if target.split(os.sep)[0] == "docs":
        return link
    kind = "tree" if (ROOT / target).is_dir() else "blob"
    return f"{repository.rstrip('/')}/{kind}/main/{target}"


def program(folder: Path, path: str) -> str:
    """A program as a block of code.

    Args:
        folder: of the page, below docs/.
        path: of the program, relative to the page.
    """
    source = (ROOT / "docs" / folder / path).read_text(encoding="utf-8")
    return f"```python\n{source}```"


def public_names() -> str:
    """An instruction to mkdocstrings for every public name."""
    return "\n\n".join(f"::: bertedge.{name}" for name in (*bertedge.__all__, *IN_PACKAGES))


def commands() -> str:
    """Every command with its arguments and options, as Markdown."""
    root: Any = typer.main.get_command(app)
    groups: dict[str, list[str]] = {}
    for name, command in root.commands.items():
        groups.setdefault(command.rich_help_panel, []).append(name)
    return "\n\n".join(
        f"## {group}\n\n" + "\n\n".join(_command(name, root.commands[name]) for name in names)
        for group, names in groups.items()
    )


def _command(name: str, command: Any) -> str:
    with command.make_context(name, [], resilient_parsing=True) as context:
        shown = [parameter for parameter in command.get_params(context) if not getattr(parameter, "hidden", False)]
        arguments = [parameter for parameter in shown if parameter.param_type_name == "argument"]
        options = [parameter for parameter in shown if parameter.param_type_name == "option"]
        parts = [
            f"### {name}",
            command.help.split("\f")[0].strip(),
            _usage(name, arguments),
            _table("argument", [(f"`{argument.name.upper()}`", argument.help or "") for argument in arguments]),
            *_option_tables(options, context),
            _keys(name),
            _epilog(command.epilog or ""),
        ]
    return "\n\n".join(part for part in parts if part)


def _keys(name: str) -> str:
    """The settings that ``--set`` of a command changes."""
    rows = key_rows(SET_KEYS[name]()) if name in SET_KEYS else []
    return _table(
        "key of `--set`", [(f"`{key}`", f"{words} Default: {default or 'none'}.") for key, default, words in rows]
    )


def _usage(name: str, arguments: list[Any]) -> str:
    words = [argument.name.upper() + ("" if argument.nargs == 1 else "...") for argument in arguments]
    return "```text\n" + " ".join(["bertedge", name, *words, "[OPTIONS]"]) + "\n```"


def _option_tables(options: list[Any], context: Any) -> list[str]:
    """A table for each group of options; options without a group come last."""
    groups: dict[str, list[tuple[str, str]]] = {}
    for option in sorted(options, key=lambda option: not getattr(option, "rich_help_panel", None)):
        group = getattr(option, "rich_help_panel", None) or "Other options"
        groups.setdefault(group, []).append(_option(option, context))
    return [_table(group, rows) for group, rows in groups.items()]


def _option(parameter: Any, context: Any) -> tuple[str, str]:
    names = ", ".join(f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts))
    value = "" if parameter.is_flag else parameter.display_type_rich(context) or ""
    words = parameter.help or ""
    if parameter.required:
        words += " Required."
    elif parameter.show_default and parameter.default is not None and not parameter.is_flag:
        words += f" Default: {parameter.default}."
    return f"{names} {value}".strip(), words


def _table(heading: str, rows: list[tuple[str, str]]) -> str:
    if not rows:
        return ""
    cells = "\n".join(f"| {left} | {right} |" for left, right in (map(_escaped, row) for row in rows))
    return f"| {heading} | |\n| --- | --- |\n{cells}"


def _escaped(text: str) -> str:
    return " ".join(text.replace("|", "\\|").replace("<", "&lt;").split())


def _epilog(text: str) -> str:
    """Sentences as they are, and the lines that can be typed as code."""
    parts = [part.strip() for part in text.split("\n\n")]
    words = [part.replace("*", "\\*") for part in parts if not part.startswith("bertedge ")]
    typed = [part for part in parts if part.startswith("bertedge ")]
    return "\n\n".join(words) + ("\n\n```sh\n" + "\n".join(typed) + "\n```" if typed else "")
