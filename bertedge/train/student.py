"""A student whose first weights are projected from its teacher.

The teacher's residual stream (embeddings, block outputs, MLM transform) is projected onto its leading principal
directions P (H_teacher, H_student). Every matrix that reads or writes the stream is multiplied by P on that side.
Layer norm does not commute with P, so the student is an approximation; distillation reduces its error.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from bertedge.encoders import EncoderConfig
from bertedge.errors import UsageError
from bertedge.heads.parts import Parts
from bertedge.train.graph_teacher import GraphTeacher
from bertedge.train.model import ALL_PARTS, BertForPreTraining

Teacher = BertForPreTraining | GraphTeacher


def principal_directions(streams: list[Tensor], size: int) -> Tensor:
    """The ``size`` leading directions of the pooled second moments of several (rows, H) samples, as (H, size).

    If ``size`` is larger than H, the directions beyond H are zero.
    """
    moment = sum(s.T.double() @ s.double() / s.double().square().sum() for s in streams)
    _, vectors = torch.linalg.eigh(moment)
    leading = vectors[:, -size:].flip(1).float()
    return torch.nn.functional.pad(leading, (0, size - leading.shape[1]))


def layer_map(teacher_layers: int, student_layers: int) -> list[int]:
    """The teacher block that each student block starts from and imitates. Evenly spaced, with the last one."""
    return [math.ceil((i + 1) * teacher_layers / student_layers) - 1 for i in range(student_layers)]


def project_student(
    teacher: Teacher, config: EncoderConfig, streams: list[Tensor], parts: Parts = ALL_PARTS
) -> tuple[BertForPreTraining, Tensor]:
    """Make a student of shape ``config`` from a teacher.

    Args:
        parts: the parts of the student. Heads that its teacher lacks get new weights.
        streams: samples of the teacher's residual stream, each (rows, H_teacher).

    Returns:
        The student, and P (H_teacher, H_student), to compare its states with the teacher's. P is on the device of the
        streams.
    """
    if config.vocab_size != teacher.config.vocab_size:
        raise UsageError(
            f"the student has a vocabulary of {config.vocab_size}, its teacher of {teacher.config.vocab_size}",
            "give both the same vocabulary",
        )
    directions = principal_directions(streams, config.hidden_size)
    student = BertForPreTraining(config, parts)
    source, target = teacher.float_tensors(), student.state_dict()
    here = directions.cpu()  # the tensors of both models are on the CPU
    chosen = layer_map(teacher.config.num_hidden_layers, config.num_hidden_layers)
    for name in target:
        origin = name
        if ".layer." in name:
            index = int(name.split(".layer.")[1].split(".")[0])
            origin = name.replace(f".layer.{index}.", f".layer.{chosen[index]}.")
        if origin in source:
            _copy_corner(target[name], _project(origin, source, here, config))
    student.load_state_dict(target)
    return student, directions


def _copy_corner(target: Tensor, values: Tensor) -> None:
    """Copy the part that both shapes share. Additional units of the student keep their new weights."""
    target[tuple(slice(extent) for extent in values.shape)].copy_(values)


def _project(name: str, source: dict[str, Tensor], directions: Tensor, config: EncoderConfig) -> Tensor:
    """One tensor of the student, from the same tensor of the teacher."""
    tensor = source[name]
    scale = math.sqrt(min(directions.shape) / directions.shape[0])
    if name == "cls.predictions.bias" or name.endswith("seq_relationship.bias"):
        return tensor
    if "LayerNorm.weight" in name:  # P mixes channels, so only the energy of the gains is kept
        return torch.full((config.hidden_size,), float(tensor.square().mean().sqrt()) / scale)
    if "embeddings.weight" in name or name.endswith("seq_relationship.weight"):
        return tensor @ directions
    if ".self." in name:  # the last heads are left out
        kept = tensor[: config.hidden_size]
        return kept @ directions if kept.dim() == 2 else kept
    if "attention.output.dense.weight" in name:
        return directions.T @ tensor[:, : config.hidden_size]
    if "intermediate.dense" in name:
        kept = tensor[_strongest(name, source, config.intermediate_size)]
        return kept @ directions if kept.dim() == 2 else kept
    if name.endswith("output.dense.weight"):
        inner = name.replace("output.dense.weight", "intermediate.dense.weight")
        return directions.T @ tensor[:, _strongest(inner, source, config.intermediate_size)]
    return directions.T @ tensor @ directions if tensor.dim() == 2 else directions.T @ tensor


def _strongest(name: str, source: dict[str, Tensor], count: int) -> Tensor:
    """The feed-forward units of a block with the largest product of incoming and outgoing norms, in their order."""
    block = name.rsplit(".intermediate.", 1)[0]
    incoming = source[f"{block}.intermediate.dense.weight"].norm(dim=1)
    outgoing = source[f"{block}.output.dense.weight"].norm(dim=0)
    return torch.topk(incoming * outgoing, min(count, len(incoming))).indices.sort().values
