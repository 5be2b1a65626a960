"""Float checkpoints, read from and written to the Hugging Face folder layout."""

from bertedge.checkpoint.checkpoint import Checkpoint
from bertedge.checkpoint.locate import BUILT_IN, locate, open_checkpoint
from bertedge.checkpoint.trim import trim_to_text, trim_vocabulary
from bertedge.checkpoint.write import write_checkpoint

__all__ = [
    "BUILT_IN",
    "Checkpoint",
    "locate",
    "open_checkpoint",
    "trim_to_text",
    "trim_vocabulary",
    "write_checkpoint",
]
