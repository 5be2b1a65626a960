"""From a float checkpoint to a bundle: ``export`` for float32, ``quantize`` for int8, and the loss of each layer."""

from bertedge.quantization.make import export, quantize, sensitivity
from bertedge.quantization.model_files import FORMATS

__all__ = ["FORMATS", "export", "quantize", "sensitivity"]
