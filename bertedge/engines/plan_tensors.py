"""The tensors that ``plan.json`` names, in the mapped files of a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bertedge.errors import BundleError
from bertedge.plan import AGAIN, PLAN, StoredModel, StoredTensor


class PlanTensors:
    """The tensors of a bundle's folder. Each file is mapped once, and nothing is copied.

    Attributes:
        files: name -> a file's bytes.
    """

    def __init__(self, folder: Path, plan: StoredModel) -> None:
        self.folder, self.places = folder, plan.tensors
        self.files: dict[str, NDArray[np.uint8]] = {}

    def array(self, name: str) -> NDArray[Any]:
        """A tensor, read-only; it may lie at any address.

        Raises:
            BundleError: see :meth:`bytes_of`.
        """
        place = self.place(name)
        return self.bytes_of(name).view(place.dtype).reshape(place.shape)

    def bytes_of(self, name: str) -> NDArray[np.uint8]:
        """The bytes of a tensor, mapped.

        Raises:
            BundleError: it is not listed, its file cannot be read, or ends before it.
        """
        place = self.place(name)
        file, end = self._file(place.file), place.offset + place.size_bytes
        if end > len(file):
            raise BundleError(f"{self.folder / place.file}: ends before {name}", AGAIN)
        return file[place.offset : end]

    def place(self, name: str) -> StoredTensor:
        """Where a tensor is.

        Raises:
            BundleError: it is not listed.
        """
        if name not in self.places:
            raise BundleError(f"{self.folder / PLAN}: {name} is not among its tensors", AGAIN)
        return self.places[name]

    def _file(self, name: str) -> NDArray[np.uint8]:
        path = self.folder / name
        if name not in self.files:
            try:
                self.files[name] = np.asarray(np.memmap(path, dtype=np.uint8, mode="r"))
            except (OSError, ValueError) as error:  # an empty file cannot be mapped
                raise BundleError(f"{path}: cannot be read ({error})", AGAIN) from error
        return self.files[name]
