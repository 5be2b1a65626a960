"""Paths for libraries that take UTF-8 only, as onnxruntime does; on Linux a name may be any bytes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bertedge.scratch import temporary_folder


@contextmanager
def utf8_path(path: Path) -> Iterator[str]:
    """The path as it is or, where a folder's name is not UTF-8, one through a link to that folder.

    The file's own name has to be UTF-8. The link is gone after the block.
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
