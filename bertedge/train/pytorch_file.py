"""``pytorch_model.bin``: weights in torch's pickle, read without running any code in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray

from bertedge.errors import FileError


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """All tensors of a state dict as float32 arrays.

    Raises:
        FileError: the file is broken, or holds anything but tensors (``weights_only`` refuses it).
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises pickle, zip and runtime errors alike
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise FileError(
            f"{path}: cannot be read ({reason})", "take a fresh copy, or convert it to safetensors"
        ) from error
    if not isinstance(state, dict) or not all(isinstance(name, str) for name in state):
        raise FileError(f"{path}: holds no state dict", "save model.state_dict(), not the model")
    return {name: t.detach().float().numpy() for name, t in state.items() if isinstance(t, torch.Tensor)}
