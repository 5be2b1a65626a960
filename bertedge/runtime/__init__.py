"""Run bundles; this needs only numpy, tokenizers, and onnxruntime or the native engine."""

from bertedge.heads.mlm.fill_mask import Fill
from bertedge.runtime.bert_runtime import BertRuntime, load

__all__ = ["BertRuntime", "Fill", "load"]
