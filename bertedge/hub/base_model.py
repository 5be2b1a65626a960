"""What the repository of a float model says that the card of its bundle says too."""

from __future__ import annotations

from bertedge.errors import BertEdgeError
from bertedge.hub_client import PATIENCE_S, hub_errors, require_client, require_hub_name

#: Stands for a licence that the hub has no name for.
OTHER = "other"


def license_of(repository: str) -> str | None:
    """The hub's name of a repository's licence. None if its card has none, and if the hub cannot say."""
    try:
        wanted = require_hub_name(repository)
        with hub_errors(wanted, "the hub does not say what it is"):
            about = require_client().HfApi().model_info(wanted.repository, revision=wanted.revision, timeout=PATIENCE_S)
    except BertEdgeError:  # a card without a licence is better than no card
        return None
    found = getattr(about.card_data, "license", None)
    return found if isinstance(found, str) and found != OTHER else None
