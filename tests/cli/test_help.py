"""Help: what a new user reads first. Every example can be typed, every choice is listed, nothing is said twice."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections import Counter
from typing import Any

import pytest
import typer.main
from typer.core import TyperCommand

from bertedge.cli.added_options import goal_panel
from bertedge.cli.app import COMMANDS, app
from bertedge.cli.layout import COMMAND_GROUPS, EXAMPLES, LAYERS, OPTION_GROUPS, TAKE_PATTERNS
from bertedge.evaluate.goals import GOALS
from bertedge.heads.parts import Parts
from bertedge.layers import linear_layers
from bertedge.recipe import METHODS, OBSERVERS, RECIPES, ROUNDINGS, WEIGHT_SCALES
from bertedge.target import TARGETS
from tests.report.samples import CONFIG

ROOT: Any = typer.main.get_command(app)
#: Users do not read more options than this.
MOST = 10


def help_of(command: str, *, width: int = 200, flag: str = "--help") -> str:
    done = subprocess.run(
        [sys.executable, "-m", "bertedge", *command.split(), flag],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "COLUMNS": str(width), "TERMINAL_WIDTH": str(width)},
    )
    return done.stdout


def command_of(name: str) -> TyperCommand:
    return ROOT.commands[name]


def test_every_command_has_a_group_and_an_example() -> None:
    grouped = [name for names in COMMAND_GROUPS.values() for name in names]
    assert sorted(grouped) == sorted(COMMANDS)
    assert EXAMPLES.keys() == COMMANDS.keys()


@pytest.mark.parametrize("name", COMMANDS)
def test_options_are_grouped_and_their_help_is_a_sentence(name: str) -> None:
    parameters = {parameter.name: parameter for parameter in command_of(name).params}
    for group, names in OPTION_GROUPS.get(name, {}).items():
        for parameter in names:
            assert getattr(parameters[parameter], "rich_help_panel", None) == group
    options = [p for p in parameters.values() if p.param_type_name == "option"]
    groups = Counter(getattr(option, "rich_help_panel", None) for option in options)
    assert max(groups.values(), default=0) <= MOST, groups
    for option in options:
        assert (option.help or "").endswith("."), option.name
        assert not isinstance(option.show_default, str), f"{option.name}: typer puts it in brackets twice"


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_values_of_options_are_named_as_users_name_them(name: str) -> None:
    command = command_of(name) if name else ROOT
    with command.make_context("bertedge", [], resilient_parsing=True) as context:
        options = [p for p in command.get_params(context) if p.param_type_name == "option"]
        shown = {option.name: option.display_type_rich(context) for option in options}
    assert all(not shown[option.name] for option in options if option.is_flag), "a flag takes no value"
    assert not [kind for kind in shown.values() if kind and re.search("[<>]|int|range", kind)], shown
    assert "help" in shown


@pytest.mark.parametrize("example", [example for examples in EXAMPLES.values() for example in examples])
def test_examples_can_be_typed(example: str) -> None:
    program, name, *arguments = shlex.split(example)
    assert program == "bertedge"
    with command_of(name).make_context(name, arguments):
        pass


def test_help_of_quantize() -> None:
    text, short = help_of("quantize"), help_of("quantize", flag="-h")
    assert text == short
    assert not re.search(r"default: \(", text)
    for values in (METHODS, OBSERVERS, ROUNDINGS, WEIGHT_SCALES, RECIPES):
        assert " | ".join(values) in text
    words = " ".join(text.replace("│", " ").split())
    assert ", ".join(["auto", *TARGETS]) in words
    assert LAYERS in words
    for group in (*OPTION_GROUPS["quantize"], *(goal_panel(kind) for kind in GOALS.values() if kind.head)):
        assert f" {group} ─" in text
    for example in EXAMPLES["quantize"]:
        assert example in text
    assert all(f"--{name.replace('_', '-')}" in text for name, kind in GOALS.items() if kind.head)


def test_the_names_of_layers_are_those_of_a_model() -> None:
    layers = linear_layers(Parts(("mlm", "nsp")).layers(CONFIG))
    named = {re.sub(r"\.\d+\.", ".N.", layer.name) for layer in layers}
    assert named <= set(re.findall(r"[a-z]+[\w.]*\w", LAYERS)) | {"nsp"}
    for name in TAKE_PATTERNS:
        patterns = [p for p in command_of(name).params if getattr(p, "metavar", None) == "PATTERN"]
        assert patterns
    assert all(
        name in TAKE_PATTERNS
        for name in COMMANDS
        if any(getattr(p, "metavar", None) == "PATTERN" for p in command_of(name).params)
    )


def complete(shell: str, line: str) -> str:
    """What a shell is given to complete a line with."""
    environment = {
        "bash": {"COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1)},
        "zsh": {"_TYPER_COMPLETE_ARGS": line},
        "fish": {"_TYPER_COMPLETE_ARGS": line, "_TYPER_COMPLETE_FISH_ACTION": "get-args"},
    }[shell]
    done = subprocess.run(
        [sys.executable, "-m", "bertedge"],
        capture_output=True,
        text=True,
        env={**os.environ, **environment, "_BERTEDGE_COMPLETE": f"complete_{shell}"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete_commands_and_choices(shell: str) -> None:
    assert "quantize" in complete(shell, "bertedge qu")
    found = complete(shell, "bertedge quantize --recipe ")
    assert all(recipe in found for recipe in RECIPES)


def test_the_completion_of_a_shell_can_be_shown() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bertedge", "--help"], capture_output=True, text=True, check=True, env=os.environ
    )
    assert "--install-completion" in done.stdout
    assert "--show-completion" in done.stdout
