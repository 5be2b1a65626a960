"""From a float checkpoint to a bundle: one verb for float32, one for int8; and what each layer costs on the way."""

from bertedge.quantization.make import export, quantize, sensitivity
from bertedge.quantization.model_files import FORMATS

__all__ = ["FORMATS", "export", "quantize", "sensitivity"]
