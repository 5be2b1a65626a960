"""Everything that needs torch; nothing outside this folder imports it.

The package can be called: ``bertedge.train(...)`` is :func:`bertedge.train.pretrain.train`. A function
``bertedge.train`` would not work, because importing a module of this package replaces it by the package.
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
