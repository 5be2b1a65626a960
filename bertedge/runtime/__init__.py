"""Running bundles: numpy, onnxruntime and tokenizers, nothing else."""

from bertedge.runtime.bert_runtime import BertRuntime, Fill, load

__all__ = ["BertRuntime", "Fill", "load"]
