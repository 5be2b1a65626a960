"""The table of peers. A new peer is a row here and, for a new library, a file in this folder.

Modules are loaded when a row is used, in its own process, so a missing package gives a row with the reason.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from bertedge.errors import UnfitMachineError
from peers.protocol import Peer, Work


@dataclass(frozen=True, kw_only=True)
class Row:
    """A peer and what it is.

    Attributes:
        home: ``module:class`` in this folder.
        options: what the class is made with.
        packages: whose versions belong to the result.
        words: what the work ``words`` includes beyond the encoder.
        how: how it was made and is run.
        int8: its fidelity is compared with bertedge's int8.
        works: the kinds of work that it is measured on.
        onnxruntime: it runs on onnxruntime.
        reads_texts: for ``embedding``, it has a call that takes a list of texts.
        file_of: the row whose file it runs; empty if it makes its own.
        one_file: its file serves every kind of work.
        on_request: measured only if it is asked for by name.
        batches_itself: it takes any number of texts in one call and groups them itself; other peers get batches of
            32.
    """

    home: str
    packages: tuple[str, ...]
    words: str
    how: str
    options: Mapping[str, Any] = field(default_factory=dict)
    int8: bool = False
    batches_itself: bool = False
    works: tuple[Work, ...] = ("words", "vectors")
    onnxruntime: bool = False
    reads_texts: bool = False
    file_of: str = ""
    one_file: bool = False
    on_request: bool = False

    def peer(self) -> Peer:
        """The peer itself."""
        module, name = self.home.split(":")
        return getattr(import_module(f"peers.{module}"), name)(**self.options)


#: The native engine's kernels.
KERNELS = ("amx", "avx512-vnni", "avx512", "avx-vnni", "avx2", "neon-i8mm", "neon-dotprod", "neon")
STATIC, NATIVE, FAITHFUL = "bertedge static", "bertedge native", "bertedge faithful, native"


def of_kernel(kernel: str) -> str:
    """The row of a kernel of the native engine."""
    return f"{NATIVE}, {kernel}"


TORCH = ("torch", "transformers")
OPTIMUM = ("optimum-onnx", "optimum", "onnxruntime", "onnx", "transformers", "torch")
OPENVINO = ("openvino", "transformers", "torch")
OURS = ("bertedge", "onnxruntime", "onnx", "numpy")
SBERT = ("sentence-transformers", "transformers", "torch")
POOLED = "pooling and scaling to length 1"
MASKED = "both heads, masked positions only"
EVERYWHERE = "MLM head at every position; it has no export with the NSP head"


def ours(*, int8: bool = True, **settings: Any) -> Row:
    """A row of bertedge: what all of them have in common, and its own settings."""
    return Row(
        home="own:Bertedge", packages=OURS, words=MASKED, batches_itself=True, one_file=True, int8=int8, **settings
    )


PEERS = {
    "PyTorch float32": Row(
        home="pytorch:PyTorch",
        options={"dtype": "float32"},
        packages=TORCH,
        words=MASKED,
        how="the class of transformers, scaled dot product attention, `inference_mode`",
        works=("words", "vectors", "labels"),
    ),
    "PyTorch float32, compiled": Row(
        home="pytorch:PyTorch",
        options={"dtype": "float32", "compiled": True},
        packages=TORCH,
        words=MASKED,
        how="the same, every layer through `torch.compile(dynamic=True)`; cold start includes compiling",
    ),
    "PyTorch bfloat16": Row(
        home="pytorch:PyTorch",
        options={"dtype": "bfloat16"},
        packages=TORCH,
        words=MASKED,
        how="as float32, weights and activations in bfloat16",
    ),
    "PyTorch bfloat16, compiled": Row(
        home="pytorch:PyTorch",
        options={"dtype": "bfloat16", "compiled": True},
        packages=TORCH,
        words=MASKED,
        how="both",
    ),
    "onnxruntime float32": Row(
        home="optimum_onnx:Optimum",
        options={"quantized": False},
        packages=OPTIMUM,
        words=EVERYWHERE,
        how="exported by Optimum, run as a bare session",
        works=("words", "vectors", "labels", "embedding"),
        onnxruntime=True,
    ),
    "Optimum int8": Row(
        home="optimum_onnx:Optimum",
        packages=OPTIMUM,
        words=EVERYWHERE,
        how="`avx512_vnni(is_static=False, per_channel=True)`, run as a bare session",
        int8=True,
        works=("words", "vectors", "labels", "embedding"),
        onnxruntime=True,
    ),
    "Optimum int8, O2": Row(
        home="optimum_onnx:Optimum",
        options={"level": 2},
        packages=OPTIMUM,
        words=EVERYWHERE,
        how="the same after Optimum's own graph optimisation",
        int8=True,
        onnxruntime=True,
    ),
    "OpenVINO float": Row(
        home="openvino_ir:OpenVino",
        packages=OPENVINO,
        words=MASKED,
        how="converted from PyTorch, weights float32; it computes in the precision that it chooses for this CPU",
    ),
    "OpenVINO int8": Row(
        home="openvino_ir:OpenVino",
        options={"quantized": True},
        packages=(*OPENVINO, "nncf"),
        words=MASKED,
        how="the same after `nncf.quantize(model_type=TRANSFORMER)` with bertedge's calibration texts",
        int8=True,
    ),
    "CTranslate2 int8": Row(
        home="ctranslate:CTranslate2",
        packages=("ctranslate2", "transformers", "torch"),
        words="both heads in numpy float32, masked positions only, weights counted in the file; it has no heads itself",
        how="`TransformersConverter`, `quantization=int8`, `Encoder.forward_batch`",
        int8=True,
    ),
    "sentence-transformers float32": Row(
        home="sbert:SentenceTransformers",
        packages=SBERT,
        words=POOLED,
        how="PyTorch; a call gives token ids to the model, `encode` takes sentences",
        works=("embedding",),
        reads_texts=True,
    ),
    "sentence-transformers ONNX int8": Row(
        home="sbert:SentenceTransformers",
        options={"quantized": True},
        packages=(*SBERT, "optimum-onnx", "onnxruntime"),
        words=POOLED,
        how='`backend="onnx"` after `export_dynamic_quantized_onnx_model(model, "avx512_vnni")`',
        int8=True,
        works=("embedding",),
        reads_texts=True,
        onnxruntime=True,
    ),
    "bertedge float32": ours(
        int8=False,
        options={"recipe": None},
        how="`bertedge export`, engine onnxruntime",
        works=("words", "vectors", "labels", "embedding"),
        onnxruntime=True,
        reads_texts=True,
    ),
    "bertedge dynamic": ours(
        options={"recipe": "dynamic"},
        how="`bertedge quantize --recipe dynamic`, engine onnxruntime",
        onnxruntime=True,
    ),
    STATIC: ours(
        options={"recipe": "default"},
        how="`bertedge quantize`, engine onnxruntime",
        works=("words", "vectors", "labels", "embedding"),
        onnxruntime=True,
        reads_texts=True,
    ),
    NATIVE: ours(
        options={"recipe": "default", "engine": "native"},
        how="the same bundle, engine native, the best kernel of this CPU",
        works=("words", "vectors", "labels", "embedding"),
        reads_texts=True,
        file_of=STATIC,
    ),
    FAITHFUL: ours(
        options={"recipe": "faithful", "engine": "native"},
        how="`bertedge quantize --recipe faithful`, engine native",
    ),
    **{
        of_kernel(kernel): ours(
            options={"recipe": "default", "engine": "native", "kernel": kernel},
            how=f"as {NATIVE}, with the kernel {kernel}",
            file_of=STATIC,
            on_request=True,
        )
        for kernel in KERNELS
    },
}
#: The float model that outputs are compared with, by the main work of a comparison.
REFERENCES: dict[Work, str] = {
    "words": "PyTorch float32",
    "labels": "PyTorch float32",
    "embedding": "sentence-transformers float32",
}
REFERENCE = REFERENCES["words"]
#: Other rows of ours -> the rows that they are compared with.
COMPARED = {
    STATIC: ("Optimum int8", "OpenVINO int8", "CTranslate2 int8"),
    FAITHFUL: (NATIVE, STATIC),
    **{of_kernel(kernel): (NATIVE, STATIC, "OpenVINO int8") for kernel in KERNELS},
}


def peers_of(work: Work) -> list[str]:
    """The peers that do this kind of work, without those on request."""
    return [name for name, row in PEERS.items() if work in row.works and not row.on_request]


def kernels_here() -> list[str]:
    """The native engine's kernels that this CPU runs, best first; none where it is not built."""
    from bertedge.engines.native import library

    try:
        return library.kernels_here()
    except UnfitMachineError:
        return []


def ours_among(peers: Collection[str]) -> str:
    """The row that these are compared with: the native engine where it runs."""
    return NATIVE if NATIVE in peers and kernels_here() else STATIC


def ours_of(report: Mapping[str, Any]) -> str:
    """The row that the others of a report are compared with; reports made before the native engine do not name it."""
    ours: str = report.get("ours", STATIC)
    return ours
