"""Read ONNX files with their weights, also through links, as in the hub's cache. The onnx package refuses links."""

from __future__ import annotations

from pathlib import Path

import onnx

from bertedge.errors import BundleError
from bertedge.manifest import AGAIN, WEIGHTS


def load_onnx(path: Path) -> onnx.ModelProto:
    """Read a model and its weights into memory.

    Raises:
        BundleError: it is not an ONNX model, or its weights are not where it says.
    """
    try:
        model = onnx.load_model_from_string(path.read_bytes())
    except OSError:
        raise
    except Exception as error:  # protobuf's exceptions share no base
        raise BundleError(f"{path}: is not an ONNX model ({error})", AGAIN) from error
    outside = [tensor for tensor in model.graph.initializer if tensor.data_location == onnx.TensorProto.EXTERNAL]
    weights = path.with_name(WEIGHTS)
    if outside:
        with open(weights, "rb") as file:
            for tensor in outside:
                place = {entry.key: entry.value for entry in tensor.external_data}
                offset, length = int(place.get("offset", 0)), int(place.get("length", 0))
                file.seek(max(0, offset))
                data = file.read(max(0, length))
                if place.get("location") != WEIGHTS or offset < 0 or len(data) != length:
                    raise BundleError(f"{path}: {tensor.name} is not where the file says", AGAIN)
                tensor.raw_data = data
                tensor.data_location = onnx.TensorProto.DEFAULT
                del tensor.external_data[:]
    return model
