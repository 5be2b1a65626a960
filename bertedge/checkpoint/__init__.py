"""Float BERT checkpoints, read from and written to the Hugging Face folder layout."""

from bertedge.checkpoint.checkpoint import Checkpoint, write_checkpoint
from bertedge.checkpoint.locate import BUILT_IN, locate, open_checkpoint

__all__ = ["BUILT_IN", "Checkpoint", "locate", "open_checkpoint", "write_checkpoint"]
