"""Everything that needs torch; nothing outside this folder imports it.

The package can be called: ``bertedge.train(...)`` is :func:`bertedge.train.pretrain.train`. A function of that name in
``bertedge`` would not do, since the import of a module below puts the package in its place.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

from bertedge.errors import MissingExtraError


class _Callable(ModuleType):
    def __call__(self, *arguments: Any, **options: Any) -> Any:
        try:
            from bertedge.train.pretrain import train
        except ModuleNotFoundError as error:
            raise MissingExtraError(error.name or "torch", "train") from error
        return train(*arguments, **options)


sys.modules[__name__].__class__ = _Callable
