"""Paths for onnxruntime, which takes UTF-8 only; on Linux a name may consist of any bytes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bertedge.scratch import temporary_folder


@contextmanager
def utf8_path(path: Path) -> Iterator[str]:
    """The path, or a path through a temporary link if the name of a folder is not UTF-8.

    The file's own name must be UTF-8. The link is deleted after the block.
    """
    try:
        os.fspath(path).encode()
    except UnicodeEncodeError:
        with temporary_folder() as scratch:
            link = scratch / "folder"
            link.symlink_to(path.parent.absolute(), target_is_directory=True)
            yield str(link / path.name)
    else:
        yield str(path)
