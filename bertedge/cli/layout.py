"""The layout of help: groups of commands and options, examples, names of layers, keys of ``--set``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import Enum
from pathlib import Path
from typing import Any, get_args

from typer.core import TyperCommand, TyperGroup

from bertedge.cli.console import stdout
from bertedge.heads import HEADS
from bertedge.keys import Key
from bertedge.recipe import listed_keys
from bertedge.report.terminal import terminal_table
from bertedge.train.training_settings import distillation_keys, training_keys

VERBS = [head.verb for head in HEADS.values()]


def _quoted(text: str) -> str:
    return f'"{text}"'


#: Group -> commands, in the order of ``bertedge --help``.
COMMAND_GROUPS = {
    "First": ("demo",),
    "Make a bundle": ("quantize", "export", "tune"),
    "Measure and judge": ("bench", "compare", "report", "verify", "emulator-setup"),
    "Use": ("info", *(head.verb.name for head in HEADS.values()), "serve"),
    "Share": ("push", "pull"),
    "Train": ("train", "distill"),
}
PLACE, BUNDLE, JUDGE, FILES = "Where it is written", "The bundle", "Judging", "Files for people and CI"
#: Command -> group -> parameters. Other parameters keep their own group or appear under "Options".
OPTION_GROUPS: dict[str, dict[str, tuple[str, ...]]] = {
    "quantize": {
        PLACE: ("output", "force"),
        BUNDLE: ("target", "format", "positions", "keep_vocab", "vocab_corpus"),
        "Recipe": ("recipe", "assignments", "exclude"),
        "Calibration": ("calibration", "column", "examples", "ranges"),
    },
    "export": {
        PLACE: ("output", "force"),
        BUNDLE: ("format", "positions", "keep_vocab", "vocab_corpus"),
    },
    "tune": {
        PLACE: ("output", "force"),
        "Search": ("recipes", "exclude", "target", "everything"),
        "Text": ("corpus", "calibration", "column"),
        "Timing": ("threads",),
    },
    "bench": {
        "What is measured": ("reference", "data", "column", "corpus", "examples", "seed"),
        "Timing": ("lengths", "rounds", "max_rounds", "seconds", "threads"),
        JUDGE: ("baseline", "against", "budgets_file", "strict", "update", "reason"),
        FILES: ("json_file", "markdown", "html", "junit"),
    },
    "compare": {
        JUDGE: ("budgets_file", "strict", "update", "reason"),
        FILES: ("markdown", "html", "junit"),
    },
    "train": {"Learning": ("assignments",), "Files": ("force",)},
    "distill": {"Learning": ("assignments",), "Files": ("force",)},
    "push": {
        "The repository": ("private", "revision", "message"),
        "The model card": ("report", "license", "base_model", "language", "keep_card", "dry_run"),
    },
    "serve": {
        "Address": ("host", "port", "api_key_file"),
        "Limits": ("batch_tokens", "queue_tokens", "max_requests", "max_texts", "max_body_bytes", "timeout", "grace"),
    },
    "verify": {"Other CPUs": ("on", "simulate", "reference", "corpus", "examples")},
}
#: Command -> examples. A test parses each of them.
EXAMPLES: dict[str, tuple[str, ...]] = {
    "demo": ("bertedge demo",),
    "quantize": (
        "bertedge quantize ./my-bert -o my-bert.int8",
        "bertedge quantize ./my-bert -o my-bert.arm64 --target arm64 --max-kl 0.0006",
        "bertedge quantize ./my-bert -o my-bert.int8 --exclude 'encoder.layer.0.*'",
    ),
    "export": ("bertedge export ./my-bert -o my-bert.float",),
    "tune": ("bertedge tune ./my-bert -o runs --max-mlm-drop 0.005 --max-p95-ms 8 --max-size-mb 30",),
    "bench": (
        "bertedge bench my-bert.int8 --reference ./my-bert --corpus text.txt --html report.html",
        "bertedge bench my-bert.int8 --reference ./my-bert --baseline baseline.json --junit verdicts.xml",
    ),
    "compare": ("bertedge compare baseline.json report.json",),
    "report": ("bertedge report report.json --html report.html",),
    "verify": ("bertedge verify my-bert.int8", "bertedge verify my-bert.arm64 --on cortex-a72,cortex-a76"),
    "emulator-setup": ("bertedge emulator-setup --arch aarch64",),
    "info": ("bertedge info my-bert.int8", "bertedge info --targets"),
    **{
        verb.name: (
            " ".join([f"bertedge {verb.name} my-bert.int8", *map(_quoted, verb.example)]),
            f"bertedge {verb.name} my-bert.int8 --input texts.jsonl -o answers.jsonl",
        )
        for verb in VERBS
    },
    "serve": ("bertedge serve embedder.int8 classifier.int8 --port 8080",),
    "push": (
        "bertedge push my-bert.int8 OWNER/my-bert-int8 --report report.json --license apache-2.0",
        "bertedge push my-bert.int8 OWNER/my-bert-int8 --dry-run",
    ),
    "pull": ("bertedge pull OWNER/my-bert-int8 -o my-bert.int8", "bertedge pull OWNER/my-bert-int8@v2 -o my-bert.int8"),
    "train": ("bertedge train text.txt -o my-bert --minutes 60",),
    "distill": ("bertedge distill ./my-bert text.txt -o student --layers 4 --hidden 256",),
}
LAYERS = (
    "Layers are named as in the model's checkpoint: encoder.layer.N.attention.qkv, encoder.layer.N.attention.output, "
    "encoder.layer.N.intermediate and encoder.layer.N.output of each block N, pooler, mlm.transform, mlm.decoder, "
    "embeddings.word and embeddings.position. A PATTERN may contain *, ? and [...] as in a shell: "
    "'encoder.layer.0.*' is the first block."
)
#: Command -> the settings that its ``--set`` changes.
SET_KEYS: dict[str, Callable[[], Iterable[Key]]] = {
    "quantize": listed_keys,
    "train": lambda: training_keys().values(),
    "distill": lambda: distillation_keys().values(),
}
#: Commands with options that take patterns.
TAKE_PATTERNS = ("quantize", "tune")
#: Python type of an option -> placeholder in help, because typer would write <int range> and <bool>.
VALUES: dict[Any, str] = {int: "N", float: "NUMBER", Path: "PATH", str: "TEXT"}


def name_values(parameters: list[Any]) -> list[Any]:
    """Give the values of options readable names. Flags have no value.

    Args:
        parameters: the parameters of a command. A parameter with a ``metavar`` keeps it.
    """
    for parameter in parameters:
        if parameter.param_type_name == "argument":
            parameter.display_type_rich = lambda ctx: None  # typer would show <str>
        if parameter.param_type_name != "option" or parameter.metavar is not None:
            continue
        kind = getattr(getattr(parameter, "type_descriptor", None), "annotation", None)
        kind = next(iter(get_args(kind)), kind)
        if parameter.is_flag:
            parameter.metavar = ""
        elif isinstance(kind, type) and issubclass(kind, Enum):
            parameter.metavar = " | ".join(choice.value for choice in kind)
        else:
            parameter.metavar = VALUES.get(kind)
    return parameters


class Group(TyperGroup):
    """The app. Its options are shown like the options of commands."""

    def get_params(self, ctx: Any) -> Any:
        return name_values(super().get_params(ctx))


class Command(TyperCommand):
    """A command with options in groups of ``OPTION_GROUPS``, and defaults in its help texts."""

    def __init__(self, name: str | None, **options: Any) -> None:
        super().__init__(name, **options)
        groups = OPTION_GROUPS.get(name or "", {})
        group_of = {parameter: group for group, names in groups.items() for parameter in names}
        for parameter in self.params:
            if parameter.name in group_of:
                parameter.rich_help_panel = group_of[parameter.name]  # type: ignore[attr-defined]
            default = getattr(parameter, "show_default", None)
            if isinstance(default, str):  # typer would put it in brackets twice
                parameter.help = f"{(parameter.help or '').rstrip('.')}; default: {default}."  # type: ignore[attr-defined]
                parameter.show_default = False  # type: ignore[attr-defined]

    def get_params(self, ctx: Any) -> Any:
        return name_values(super().get_params(ctx))

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """The usual help, followed by a table of the keys of ``--set``."""
        super().format_help(ctx, formatter)
        keys = SET_KEYS.get(self.name or "")
        if keys is not None:
            rows = [["key", "default", "meaning"], *key_rows(keys())]
            stdout.print(terminal_table("Keys of --set", [rows], width=stdout.width))


def key_rows(keys: Iterable[Key]) -> list[list[str]]:
    """Name, default and meaning of each setting."""
    rows = []
    for key in keys:
        values = f" ({' | '.join(map(str, key.one_of))})" if key.one_of else ""
        rows.append([key.name, key.shown_default(), f"{key.help.rstrip('.')}{values}."])
    return rows


def group_of(command: str) -> str:
    """The group under which a command is listed."""
    return next(group for group, names in COMMAND_GROUPS.items() if command in names)


def epilog(command: str) -> str:
    """The text below the options of a command: the names of layers if the command takes patterns, and examples."""
    lines = [LAYERS] if command in TAKE_PATTERNS else []
    heading = "Example:" if len(EXAMPLES[command]) == 1 else "Examples:"
    return "\n\n".join([*lines, heading, *EXAMPLES[command]])
