"""The model card of a bundle: what it is, what was measured, how to use it, how it was made, and how to check it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bertedge.bundle import Bundle
from bertedge.encoders import encoder_of
from bertedge.errors import UsageError
from bertedge.evaluate.fidelity_words import fidelity_words
from bertedge.evaluate.goals import sentence
from bertedge.heads.verb import Verb
from bertedge.hub.front_matter import front_matter, main_head
from bertedge.keys import to_toml
from bertedge.manifest import Manifest
from bertedge.report.render import markdown_report
from bertedge.report.schema import Report
from bertedge.report.summary import in_words
from bertedge.target import TARGETS


@dataclass(frozen=True, kw_only=True)
class CardFacts:
    """What a card says that the bundle does not know.

    Attributes:
        license: the hub's name of the licence, such as ``apache-2.0``.
        base_model: the repository of the float model, ``owner/name``.
        languages: ISO 639-1 codes, such as ``en``.
        report: a report of ``bertedge bench`` that has this bundle as a candidate.
    """

    license: str | None = None
    base_model: str | None = None
    languages: Sequence[str] = ()
    report: Report | None = None


def model_card(bundle: Bundle, repository: str, facts: CardFacts) -> str:
    """The card as Markdown.

    Args:
        repository: ``owner/name`` on the hub.

    Raises:
        UsageError: the report does not have this bundle.
    """
    report = None if facts.report is None else about_bundle(facts.report, bundle)
    manifest = bundle.manifest
    head = front_matter(manifest, license=facts.license, base_model=facts.base_model, languages=facts.languages)
    sections = [
        f"# {repository.rpartition('/')[2]}",
        *_introduction(bundle, facts, report),
        "## Use it",
        *_use(main_head(manifest.parts).verb, repository),
        "## What was measured",
        *_measured(manifest, report),
        "## How it was made",
        *_made(manifest),
        "## Check it",
        *_checks(repository),
    ]
    return head + "\n" + "\n\n".join(sections) + "\n"


def about_bundle(report: Report, bundle: Bundle) -> Report:
    """The report with no other candidate than a bundle; it may be there on several engines.

    Raises:
        UsageError: the report does not have it.
    """
    own = tuple(one for one in report.candidates if one.manifest.model_sha256 == bundle.model_sha256)
    if not own:
        measured = ", ".join(candidate.name for candidate in report.candidates)
        raise UsageError(
            f"the report has no numbers of {bundle.folder}: it measured {measured}",
            f"measure it: bertedge bench {shlex.quote(str(bundle.folder))} --reference MODEL --json report.json",
        )
    return replace(report, candidates=own, against=None)


def _introduction(bundle: Bundle, facts: CardFacts, report: Report | None) -> Iterator[str]:
    manifest, config = bundle.manifest, bundle.config
    source = (
        f"[{facts.base_model}](https://huggingface.co/{facts.base_model})"
        if facts.base_model
        else (f"`{manifest.provenance.source}`")
    )
    numbers = "float32" if manifest.recipe is None else "int8"
    yield (
        f"{source} in {numbers}, for CPUs. It runs with bertedge, without PyTorch. "
        f"The model is {_megabytes(bundle.size_bytes)}, the whole folder {_megabytes(_folder_bytes(bundle))}."
    )
    if report is not None:
        for candidate in report.candidates:
            yield f"**{candidate.name} against float: {in_words(report, candidate)}.**"
    heads = ", ".join(head.words for head in manifest.parts.rows) or "text vectors"
    yield "\n".join(
        [
            f"- Encoder: {encoder_of(config).title}, {config.layers_in_words}, vocabulary of {config.vocab_size}, "
            f"up to {config.max_length} tokens",
            f"- Answers: {heads}",
            f"- Made for: {_target(manifest)}",
        ]
    )
    yield from manifest.warnings
    if facts.license is None:
        yield "No licence is given here. The licence of the float model applies."
    yield (
        "What the float model was trained on, what it is for, and where it fails: see its own card. "
        "All of that applies to this bundle too."
    )


def _target(manifest: Manifest) -> str:
    """The target, and how it limits where the bundle runs."""
    row = TARGETS[manifest.target]
    if not manifest.may_overflow:
        return f"`{row.name}`; its results are correct on every CPU"
    return (
        f"`{row.name}` ({row.cpus}). bertedge refuses to run it on a CPU where its results would be wrong, and says why"
    )


def _use(verb: Verb, repository: str) -> Iterator[str]:
    folder = repository.rpartition("/")[2]
    words = shlex.join([*verb.example])
    yield "Install bertedge with the hub's client: `pip install 'bertedge[hub]'`."
    yield _code("sh", f"bertedge pull {repository} -o {folder}", f"bertedge {verb.name} {folder} {words}")
    yield "Or in Python:"
    yield _code(
        "python", "import bertedge", f'model = bertedge.load("{repository}")', f"print(model.{python_call(verb)})"
    )


def python_call(verb: Verb) -> str:
    """The call of a verb's method that does the same as its example on the command line."""
    texts, options = verb.parsed_example()
    given: dict[str, Any] = {}
    for argument in verb.arguments:
        given[argument.parameter or argument.name] = texts if argument.many else texts.pop(0)
    shown = (f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in (given | options).items())
    return f"{verb.method}({', '.join(shown)})"


def _measured(manifest: Manifest, report: Report | None) -> Iterator[str]:
    for option, reached in manifest.goals.items():
        yield f"- A goal when it was made: {sentence(option, reached)}"
    if report is None:
        yield "Speed and fidelity were not measured for this card."
    else:
        yield markdown_report(report).strip()
    if manifest.recipe is not None:
        yield f"On a few examples when it was made: {fidelity_words(manifest.fidelity)}."


def _made(manifest: Manifest) -> Iterator[str]:
    source, recipe = manifest.provenance, manifest.recipe
    versions = ", ".join(f"{name} {version}" for name, version in source.versions.items())
    yield f"From `{source.source}` (SHA-256 of the checkpoint: `{source.source_sha256}`), with {versions}."
    if recipe is None:
        yield "It was exported, not quantized: its weights are float32."
        return
    coverage = manifest.coverage
    yield (
        f"{100 * coverage.macs:.1f} % of the multiply-accumulates and {100 * coverage.bytes:.1f} % of the weights' "
        "bytes are in 8 bits or fewer. To make it again, save this recipe as `recipe.toml`:"
    )
    yield _code("toml", to_toml(recipe.values()).rstrip("\n"))
    yield _code("sh", f"bertedge quantize MODEL -o BUNDLE --recipe recipe.toml --target {manifest.target}")


def _checks(repository: str) -> Iterator[str]:
    yield (
        "`manifest.json` has the SHA-256 of every file. `bertedge pull` and `bertedge.load` compare the files with it. "
        "The folder also holds golden vectors: inputs, and what they gave on the machine that made the bundle. "
        "This command computes them again on your CPU:"
    )
    yield _code("sh", f"bertedge verify {repository}")


def _code(language: str, *lines: str) -> str:
    return "\n".join([f"```{language}", *lines, "```"])


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


def _folder_bytes(bundle: Bundle) -> int:
    return sum(entry.size_bytes for entry in bundle.manifest.files.values())
