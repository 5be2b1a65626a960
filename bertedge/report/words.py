"""Numbers, texts and provenance as they are written in the HTML report."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from markupsafe import Markup, escape

from bertedge.encoders import read_config
from bertedge.heads.cases import Case, Part, Passage
from bertedge.recipe import QuantizationRecipe
from bertedge.report.schema import CandidateReport, Report

#: The most characters of a text that are shown on each side of a mark.
AROUND = 220
#: The most characters of an answer that are shown next to another model's.
LONG = 18
UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
#: Larger numbers are written with an exponent.
MANY = 1e7
#: Special tokens in a text.
TOKENS = re.compile(r"(\[(?:CLS|MASK|SEP|UNK)\]|</?s>|<(?:mask|pad|unk)>)")


def number(value: float) -> str:
    """A number with three significant digits."""
    if abs(value) >= MANY:
        return f"{value:.2e}"
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 0.1 else f"{value:.3f}"


def four_digits(value: float) -> str:
    """``0.8970``, ``12.34``."""
    return f"{value:#.4g}".rstrip(".")


def percent(share: float, decimals: int = 1) -> str:
    """``97.1 %``, with a space that never breaks a line."""
    return f"{100 * share:.{decimals}f}\N{NO-BREAK SPACE}%"


def megabytes(size: float) -> str:
    """``11.8 MB``."""
    return f"{size / 1e6:.1f}\N{NO-BREAK SPACE}MB"


def printable(text: str) -> str:
    """A text in which characters that XML does not allow (control characters, single surrogates) are escaped.

    Unlike :mod:`bertedge.printable`, it keeps marks of writing direction, because the page isolates each name.
    """
    return UNPRINTABLE.sub(lambda match: match[0].encode("unicode_escape").decode("ascii"), text)


def tail(text: str) -> str:
    """The end of a long text, from the start of a word."""
    return text if len(text) <= AROUND else "… " + text[-AROUND:].partition(" ")[2]


def head(text: str) -> str:
    """The start of a long text, to the end of a word."""
    return text if len(text) <= AROUND else text[:AROUND].rpartition(" ")[0] + " …"


def shortened(passage: Passage) -> list[Part]:
    """The parts of a text as they are shown: of a long text what is around its marks, otherwise its start or end."""
    marks = [place for place, part in enumerate(passage.parts) if part.mark]
    parts = []
    for place, part in enumerate(passage.parts):
        text = part.text
        if not part.mark:
            after, before = place > min(marks, default=place), place < max(marks, default=-1)
            if after and before and len(text) > 2 * AROUND:
                text = f"{head(text)} {tail(text)}"
            elif not (after and before):
                text = tail(text) if before or (passage.from_end and not marks) else head(text)
        parts.append(replace(part, text=text))
    return parts


def has_long_answers(case: Case) -> bool:
    """Whether an answer needs more room than a column of a case has."""
    return any(len(answer.text) > LONG for answer in (*case.reference, *case.candidate))


def running(text: str) -> Markup:
    """A text as HTML, with special tokens in a pale colour."""
    parts = TOKENS.split(text)
    return Markup("").join(
        Markup('<span class="token">{}</span>').format(part) if place % 2 else escape(part)
        for place, part in enumerate(parts)
    )


def breakable(name: str) -> Markup:
    """A dotted name as HTML that may break only between its parts."""
    return Markup("<wbr>").join(re.findall(r"[^._]*[._]*", name))


def minute(moment: str) -> str:
    """``2026-01-31 12:00 UTC`` for a time in ISO 8601."""
    return f"{moment[:16].replace('T', ' ')} UTC"


#: Names and values.
Facts = list[tuple[str, str]]


def about_machine(report: Report) -> Facts:
    """The machine that the report was measured on."""
    machine = report.machine
    notes = report.stability.notes if report.stability else ["not measured"]
    return [
        ("CPU", f"{machine.cpu}, {machine.arch}"),
        ("features", ", ".join(machine.features) or "none of those that a target needs"),
        ("CPUs", str(machine.cpus)),
        ("threads of a call", " and ".join(map(str, report.reference.threads)) or "latency was not measured"),
        ("memory", "unknown" if machine.memory_bytes is None else f"{machine.memory_bytes / 1e9:.1f} GB"),
        ("system", machine.system),
        ("other load", "; ".join(notes) or "the machine was quiet"),
        ("target", machine.target),
        ("versions", f"bertedge {machine.bertedge}, onnxruntime {machine.onnxruntime}, numpy {machine.numpy}, "
         f"Python {machine.python}"),
    ]  # fmt: skip


def about_corpus(report: Report) -> Facts:
    """The text that fidelity was measured on."""
    corpus = report.corpus
    own = [] if corpus.labelled is None else [("with a right answer", percent(corpus.labelled))]
    own += [("columns", corpus.columns)] if corpus.columns else []
    return [
        ("name", corpus.name),
        ("kind", corpus.kind),
        ("texts compared", f"{corpus.examples}, up to {corpus.max_length} tokens"),
        *own,
        ("seed", str(corpus.seed)),
        ("sentence pairs", "yes" if corpus.next_sentence else "no"),
        ("sha256", corpus.sha256),
    ]


def about_model(model: CandidateReport) -> Facts:
    """The origin of a bundle, and how it was made."""
    manifest = model.manifest
    recipe, source = manifest.recipe, manifest.provenance
    config = read_config(manifest.config)
    return [
        ("made from", source.source),
        ("shape", f"{config.layers_in_words}, vocabulary of {config.vocab_size}"),
        ("heads", ", ".join(manifest.heads) or "none"),
        ("recipe", "float32" if recipe is None else _recipe(recipe)),
        ("target", manifest.target),
        ("engine", model.engine),
        ("in integers", f"{percent(model.coverage.macs)} of the work, {percent(model.coverage.bytes)} of the bytes"),
        (
            "texts of a batch",
            "independent" if manifest.row_independent else "run one by one, because batches would change the answers",
        ),
        ("made with", ", ".join(f"{name} {version}" for name, version in source.versions.items())),
        ("source sha256", source.source_sha256),
        ("model sha256", manifest.model_sha256),
        ("calibration sha256", source.calibration_sha256 or "none"),
    ]


def _recipe(recipe: QuantizationRecipe) -> str:
    """``int8 static, examples 256``: the method, and the settings that differ from its defaults."""
    method, usual = recipe.method, type(recipe.method)()
    options = {**vars(method), "exclude": recipe.exclude}
    changed = {name: value for name, value in options.items() if value != getattr(usual, name, ())}
    told = (f"{name} {' '.join(value) if isinstance(value, tuple) else value}" for name, value in changed.items())
    return ", ".join([method.name, *told])


#: Filters of the template.
FILTERS: dict[str, Callable[..., Any]] = {
    "percent": percent,
    "figures": "{:.3g}".format,
    "ms": number,
    "shortened": shortened,
    "long": has_long_answers,
    "four_digits": four_digits,
    "head": head,
    "running": running,
    "minute": minute,
    "breakable": breakable,
}
