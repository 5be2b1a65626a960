"""From a float checkpoint to a bundle: one verb for float32, one for int8."""

from bertedge.quantization.formats import FORMATS
from bertedge.quantization.make import export, quantize

__all__ = ["FORMATS", "export", "quantize"]
