"""From a float checkpoint to a bundle: one verb for float32, one for int8."""

from bertedge.quantize.make import export, quantize
from bertedge.quantize.methods import METHODS

__all__ = ["METHODS", "export", "quantize"]
