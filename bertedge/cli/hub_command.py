"""``bertedge push`` and ``bertedge pull``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from bertedge.cli.added_options import Command, added
from bertedge.cli.console import note, stdout
from bertedge.cli.options import ForceOption, OutputOption, folders

RepositoryArgument = Annotated[
    str,
    typer.Argument(
        metavar="OWNER/NAME",
        help="The repository on the hub; OWNER/NAME@REVISION pulls a branch, a tag or a commit.",
        show_default=False,
    ),
]
RevisionOption = Annotated[
    str | None,
    typer.Option(
        help="The branch; made if there is none. Default: the main one.", metavar="BRANCH", show_default=False
    ),
]
#: Options of the model card -> arguments of :class:`bertedge.hub.model_card.CardFacts`.
CARD: dict[str, Any] = {
    "report": Annotated[
        Path | None,
        typer.Option(help="Report of 'bertedge bench --json' with its numbers.", metavar="FILE", show_default=False),
    ],
    "license": Annotated[
        str | None,
        typer.Option(
            help="Its licence, by the hub's name, such as apache-2.0; default: that of --base-model.",
            metavar="NAME",
            show_default=False,
        ),
    ],
    "base_model": Annotated[
        str | None,
        typer.Option(help="The float model's repository on the hub.", metavar="OWNER/NAME", show_default=False),
    ],
    "language": Annotated[
        list[str] | None,
        typer.Option(help="Language of its texts, such as en; may be repeated.", metavar="CODE", show_default=False),
    ],
}


def card_options(command: Command) -> Command:
    """Add the options of the model card to a command that takes ``card``: name -> value of the given options."""
    return added(CARD, "card", lambda given: {k: v for k, v in given.items() if v is not None})(command)


@card_options
def push(
    bundle: Annotated[Path, typer.Argument(help="The bundle's folder.", show_default=False, autocompletion=folders)],
    repository: RepositoryArgument,
    card: dict[str, Any],
    private: Annotated[
        bool, typer.Option("--private", help="Make a new repository that only its members see.")
    ] = False,
    revision: RevisionOption = None,
    message: Annotated[str | None, typer.Option(help="Message of the commit.", show_default=False)] = None,
    keep_card: Annotated[bool, typer.Option("--keep-card", help="Leave the repository's README.md as it is.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the model card, and upload nothing.")] = False,
) -> None:
    """Upload a bundle with a model card to a hub repository, in one commit."""
    from bertedge.bundle import Bundle
    from bertedge.hub import upload
    from bertedge.hub.base_model import license_of
    from bertedge.hub.model_card import CardFacts, model_card
    from bertedge.hub_client import require_hub_name
    from bertedge.report.schema import read_report

    report = read_report(card["report"]) if "report" in card else None
    license = card.get("license")
    if license is None and "base_model" in card and not keep_card:
        license = license_of(card["base_model"])
        note(f"licence: {license or 'none found'}, from the card of {card['base_model']}")
    facts = CardFacts(
        license=license,
        base_model=card.get("base_model"),
        languages=tuple(card.get("language", ())),
        report=report,
    )
    if dry_run:
        print(model_card(Bundle.open(bundle), require_hub_name(repository).repository, facts), end="")
        return
    done = upload.push(
        bundle, repository, facts=facts, private=private, revision=revision, message=message, keep_card=keep_card
    )
    for name in done.removed:
        note(f"removed: {name}, which only the earlier bundle had")
    if facts.license is None and facts.base_model is None and not keep_card:
        note("the card names no licence: add one with --license")
    stdout.print(done.url)


def pull(
    repository: RepositoryArgument,
    output: OutputOption,
    force: ForceOption = False,
) -> None:
    """Download a bundle from a hub repository, and compare every file with its manifest."""
    from bertedge.hub import download

    bundle = download.pull(repository, output, force=force)
    note(f"{output}: {bundle.size_bytes / 1e6:.1f} MB, made for {bundle.manifest.target}; files are as in the manifest")
