"""Models in ORT format, which minimal builds of onnxruntime read."""

from __future__ import annotations

from pathlib import Path

import onnxruntime as ort

from bertedge.engines.onnxruntime.session import load_session, session_options
from bertedge.engines.onnxruntime.utf8_path import utf8_path


def save_ort_format(model: Path, path: Path) -> None:
    """Write an ONNX file in ORT format.

    onnxruntime optimizes nothing when it loads such a file. So the file is saved after the optimizations of
    :func:`bertedge.engines.onnxruntime.session.open_session`, and gives the same results. None of them depends on the
    CPU.

    Raises:
        BundleError: onnxruntime cannot load the file.
    """
    options = session_options()
    options.add_session_config_entry("session.save_model_format", "ORT")
    options.add_session_config_entry("session.disable_prepacking", "1")
    with utf8_path(path) as named:
        options.optimized_model_filepath = named
        load_session(model, options)


def write_required_operators(model: Path, path: Path) -> None:
    """Write the operators and types that a model needs, for ``build.py --include_ops_by_config``."""
    from onnxruntime.tools.ort_format_model import utils  # loads flatbuffers, which comes with onnxruntime

    utils.log.disabled = True  # its message names a temporary file
    with utf8_path(model) as named:
        utils.create_config_from_models([Path(named)], path, True)
    required = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    # the comments contained the name of the temporary folder, which differs from run to run
    header = f"# Required by {model.name}, found by onnxruntime {ort.__version__}"
    path.write_text("\n".join([header, *required, ""]), encoding="utf-8")
