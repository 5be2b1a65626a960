"""What a model does to a vector after the pooling: dense layers, layer norm, and scaling to length 1.

The modules and their arithmetic are those of sentence-transformers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from bertedge.errors import CheckpointError, nearest

Vector = NDArray[np.float32]
ModuleKind = Literal["dense", "layer_norm", "normalize"]
Activation = Literal["identity", "tanh", "relu", "gelu", "sigmoid", "silu"]
ACTIVATIONS: tuple[Activation, ...] = get_args(Activation)
#: Tensors of the modules, as sentence-transformers names them in their files.
WEIGHT, BIAS, RESIDUAL = "linear.weight", "linear.bias", "residual.weight"
SCALE, SHIFT = "norm.weight", "norm.bias"
#: torch's default, which the layer norm of sentence-transformers has.
LAYER_NORM_EPS = 1e-5
#: A vector shorter than this is not scaled up to length 1.
TINY = 1e-12


@dataclass(frozen=True, kw_only=True)
class VectorModule:
    """One module: a vector of ``inputs`` numbers becomes one of ``outputs`` numbers.

    Attributes:
        kind: ``dense`` is activation(W x + b), plus x with ``residual``; ``layer_norm``; ``normalize`` scales to
            length 1.
        bias: whether a dense layer has a bias.
        weights: its tensors by the names above. They are kept in a file of their own, not in a record.
    """

    kind: ModuleKind
    inputs: int
    outputs: int
    activation: Activation = "identity"
    bias: bool = True
    residual: bool = False
    weights: Mapping[str, Vector] = field(default_factory=dict, compare=False, repr=False, metadata={"stored": False})

    def __post_init__(self) -> None:
        if self.inputs < 1 or self.outputs < 1:
            raise CheckpointError(
                f"{self.name} has {self.inputs} inputs and {self.outputs} outputs, expected at least 1",
                "correct the module's config.json",
            )

    @property
    def name(self) -> str:
        """Its class in sentence-transformers."""
        return {"dense": "Dense", "layer_norm": "LayerNorm", "normalize": "Normalize"}[self.kind]

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Its tensors."""
        return _SHAPES[self.kind](self)

    def with_weights(self, weights: Mapping[str, Vector]) -> VectorModule:
        """A copy with its tensors.

        Raises:
            CheckpointError: one is missing, has another shape, or holds NaN or infinity.
        """
        for name, shape in self.shapes.items():
            if name not in weights:
                raise CheckpointError(f"{name} is missing", "take a fresh copy from the model's source")
            found = weights[name]
            if found.shape != shape:
                raise CheckpointError(
                    f"{name} is {list(found.shape)}, expected {list(shape)}",
                    "the weights and config.json of the module must come from the same model",
                )
            if not np.isfinite(found).all():
                raise CheckpointError(f"{name} holds NaN or infinity", "take a fresh copy from the model's source")
        return replace(self, weights={name: weights[name] for name in self.shapes})

    def apply(self, x: Vector) -> Vector:
        """The module's result, (inputs,) -> (outputs,)."""
        return _COMPUTE[self.kind](self, x).astype(np.float32, copy=False)

    @property
    def words(self) -> str:
        """A line for people."""
        return _WORDS[self.kind](self)


def module_folder(index: int, module: VectorModule) -> str:
    """The folder of a module's settings and weights: the transformer is module 0, the pooling module 1."""
    return f"{index + 2}_{module.name}"


def normalized(vector: Vector) -> Vector:
    """A vector of length 1 in the same direction, shape (D,)."""
    return (vector / max(float(np.linalg.norm(vector)), TINY)).astype(np.float32, copy=False)


def activation_of(name: str) -> Activation:
    """The activation function of a module, from the name of its class in torch.

    Raises:
        CheckpointError: it is not known.
    """
    known = {f"torch.nn.modules.{path}": short for path, short in _TORCH.items()}
    if name not in known:
        raise CheckpointError(f"the activation function {name[:80]!r} is not known", nearest(name, known))
    return known[name]


_TORCH: dict[str, Activation] = {
    "linear.Identity": "identity",
    "activation.Tanh": "tanh",
    "activation.ReLU": "relu",
    "activation.GELU": "gelu",
    "activation.Sigmoid": "sigmoid",
    "activation.SiLU": "silu",
}


def activate(activation: Activation, x: Vector) -> Vector:
    """An activation function of every number; its result."""
    return _ACTIVATE[activation](x).astype(np.float32, copy=False)


def torch_class(activation: Activation) -> str:
    """The opposite of :func:`activation_of`."""
    return next(f"torch.nn.modules.{path}" for path, short in _TORCH.items() if short == activation)


def _sigmoid(x: Vector) -> Vector:
    return (0.5 * (1 + np.tanh(0.5 * x))).astype(np.float32, copy=False)  # does not overflow


def _gelu(x: Vector) -> Vector:
    """Hendrycks and Gimpel 2016, with the exact error function."""
    erf = np.frompyfunc(math.erf, 1, 1)(x / math.sqrt(2)).astype(np.float32)
    return (0.5 * x * (1 + erf)).astype(np.float32, copy=False)


_ACTIVATE: dict[str, Callable[[Vector], Vector]] = {
    "identity": lambda x: x,
    "tanh": np.tanh,
    "relu": lambda x: np.maximum(x, 0),
    "gelu": _gelu,
    "sigmoid": _sigmoid,
    "silu": lambda x: x * _sigmoid(x),
}


def _dense_shapes(module: VectorModule) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {WEIGHT: (module.outputs, module.inputs)}
    if module.bias:
        shapes[BIAS] = (module.outputs,)
    if module.residual and module.inputs != module.outputs:
        shapes[RESIDUAL] = (module.outputs, module.inputs)
    return shapes


def _dense(module: VectorModule, x: Vector) -> Vector:
    weights = module.weights
    out = weights[WEIGHT] @ x
    if module.bias:
        out = out + weights[BIAS]
    out = activate(module.activation, out)
    if not module.residual:
        return out
    return out + (weights[RESIDUAL] @ x if RESIDUAL in weights else x)


def _dense_words(module: VectorModule) -> str:
    activation = "" if module.activation == "identity" else f", {module.activation}"
    return f"dense layer {module.inputs} to {module.outputs}{activation}{', residual' if module.residual else ''}"


def _layer_norm(module: VectorModule, x: Vector) -> Vector:
    """Ba, Kiros and Hinton 2016, equation 4."""
    centred = x - x.mean()
    deviation = np.sqrt((centred**2).mean() + LAYER_NORM_EPS)
    return centred / deviation * module.weights[SCALE] + module.weights[SHIFT]


_SHAPES: dict[str, Callable[[VectorModule], dict[str, tuple[int, ...]]]] = {
    "dense": _dense_shapes,
    "layer_norm": lambda module: {SCALE: (module.inputs,), SHIFT: (module.inputs,)},
    "normalize": lambda module: {},
}
_COMPUTE: dict[str, Callable[[VectorModule, Vector], Vector]] = {
    "dense": _dense,
    "layer_norm": _layer_norm,
    "normalize": lambda module, x: normalized(x),
}
_WORDS: dict[str, Callable[[VectorModule], str]] = {
    "dense": _dense_words,
    "layer_norm": lambda module: "layer norm",
    "normalize": lambda module: "scaled to length 1",
}
