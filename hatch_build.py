"""The build hook of ``pyproject.toml``: adds the native engine's library to wheels.

One library serves every Python, since it has a C interface and is called with ctypes; so a wheel is for one platform
and any Python 3. Without a C++ compiler the wheel is for any platform and holds the reason instead.
"""

from __future__ import annotations

import importlib
import sys
import sysconfig
import tempfile
import types
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

NATIVE = "bertedge/engines/native"


def native_build(root: Path) -> Any:
    """The module ``build``, without the packages that it lies in: they import numpy, which is not there."""
    package = types.ModuleType("bertedge_native")
    package.__path__ = [str(root / NATIVE)]
    sys.modules[package.__name__] = package
    return importlib.import_module("bertedge_native.build")


def platform_tag(machine: str) -> str:
    """The platform of a wheel: this system's, with the processors that the compiler compiled for.

    macOS's own Pythons call their platform universal2; the library is for one kind of processor.
    """
    system, *rest = sysconfig.get_platform().replace(".", "_").split("-")
    if system != "macosx":
        return f"{system}_{machine}"
    version = rest[0]
    if machine == "aarch64":
        return f"macosx_{'11_0' if version.startswith('10_') else version}_arm64"
    return f"macosx_{version}_{machine}"


class NativeBuildHook(BuildHookInterface):
    """Builds in the tree for an editable installation, otherwise below ``build/``."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the library, and give it and its record to the wheel."""
        root = Path(self.root)
        build = native_build(root)
        editable = version == "editable"
        self.scratch = tempfile.TemporaryDirectory(prefix="bertedge-")  # until the wheel is written
        output = root / NATIVE if editable else Path(self.scratch.name)
        try:
            built = build.build_for_install(output)
        except build.BuildError as error:
            self.app.abort(f"error: the native engine was not built: {error}\nhint: {error.hint}")
        (self.app.display_warning if built.library is None else self.app.display_info)(built.sentence())
        if built.library is not None:
            build_data["pure_python"] = False
            build_data["tag"] = f"py3-none-{platform_tag(built.machine)}"
        if not editable:
            names = filter(None, (built.library, build.RECORD))
            build_data["force_include"] |= {str(output / name): f"{NATIVE}/{name}" for name in names}
