"""Knowledge distillation: a student learns from its teacher's heads, hidden states and self-attention.

Hinton et al. 2015 for the logits; Jiao et al. 2020 (TinyBERT, equation 8) for the hidden states, with the fixed
projection of :mod:`bertedge.train.student` instead of a learned one; Wang et al. 2021 (MiniLMv2, equations 5 to 7)
for the self-attention relations.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn import functional as F

from bertedge.encoders import EncoderConfig
from bertedge.errors import UsageError
from bertedge.heads import HEADS
from bertedge.heads.parts import Parts
from bertedge.predictor import NO_LABEL
from bertedge.train.inputs import Counts, Inputs
from bertedge.train.loop import Objective, pretraining_loss
from bertedge.train.model import ALL_PARTS, BertForPreTraining, Block, PretrainingOutput
from bertedge.train.student import Teacher, layer_map, project_student
from bertedge.train.training_settings import DistillationSettings

#: The number of batches from which the principal directions are computed.
PROJECTION_BATCHES = 8


@torch.no_grad()
def start_student(
    teacher: Teacher, config: EncoderConfig, batches: Iterable[Inputs], parts: Parts = ALL_PARTS
) -> tuple[BertForPreTraining, Tensor]:
    """A student projected from its teacher, and the projection (H_teacher, H_student)."""
    teacher.eval()
    streams = teacher.streams()
    for inputs in batches:
        hidden = inputs.run(teacher).hidden_states
        streams += [state.flatten(0, 1) for state in hidden]
        streams += teacher.streams(hidden[-1].flatten(0, 1)[inputs.masked_index])
    return project_student(teacher, config, streams, parts)


def distillation_objective(
    teacher: Teacher,
    student: BertForPreTraining,
    projection: Tensor,
    settings: DistillationSettings,
) -> Objective:
    """The loss of a student against its teacher on the same inputs. Parts with weight 0 are not computed.

    Raises:
        UsageError: the relation heads do not divide both widths, or the teacher is of a family without relations.
    """
    teacher.eval()
    if settings.relations_weight and not isinstance(teacher, BertForPreTraining):
        raise UsageError(
            f"relations_weight is {settings.relations_weight:g}, but only a BERT teaches the relations of its tokens",
            "leave it at 0 for a teacher of another family",
        )
    layers = layer_map(teacher.config.num_hidden_layers, student.config.num_hidden_layers)
    imitated = [0, *(1 + i for i in layers)]
    heads = _relation_heads(settings, teacher.config, student.config)

    def objective(output: PretrainingOutput, inputs: Inputs, counts: Counts) -> Tensor:
        with torch.no_grad():
            target = inputs.run(teacher)
        loss: Tensor | float = 0.0
        if settings.labels_weight and student.tasks:
            loss = settings.labels_weight * pretraining_loss(output, inputs, counts)
        if settings.logits_weight:
            loss = loss + settings.logits_weight * _logits_loss(output, target, inputs, counts, settings.temperature)
        if settings.hidden_weight:
            with torch.no_grad():
                states = [target.hidden_states[i].float() @ projection for i in imitated]
            loss = loss + settings.hidden_weight * _hidden_error(output.hidden_states, states, inputs, counts)
        if settings.relations_weight and isinstance(teacher, BertForPreTraining):
            loss = loss + settings.relations_weight * _relation_loss(
                (student, output.hidden_states), (teacher, target.hidden_states), heads, inputs, counts
            )
        # every parameter takes part in every step
        pooled = [logits for task, logits in output.logits.items() if HEADS[task].needs_pooler]
        last = pooled[0] if pooled else output.hidden_states[-1]
        return loss + 0.0 * last.sum()

    return objective


def _logits_loss(
    output: PretrainingOutput, target: PretrainingOutput, inputs: Inputs, counts: Counts, temperature: float
) -> Tensor | float:
    """The loss of the heads that both have, where the label is known. Other answers teach nothing."""
    loss: Tensor | float = 0.0
    for task in (task for task in output.logits if task in target.logits):
        student, teacher, known = output.logits[task], target.logits[task], inputs.labels[task] != NO_LABEL
        if not known.all():  # avoids a copy of the (M, V) logits
            student, teacher = student[known], teacher[known]
        loss = loss + _divergence(student, teacher, temperature).sum() / counts.labels[task]
    return loss


def _divergence(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """KL(teacher || student) plus the teacher's entropy, which has no gradient; (rows, classes) -> (rows,).

    The factor ``temperature ** 2`` keeps the gradient's size (Hinton et al. 2015, section 2.1).
    """
    if temperature != 1.0:  # avoids a division of the (M, V) logits
        student, teacher = student / temperature, teacher / temperature
    return temperature**2 * F.cross_entropy(student.float(), F.softmax(teacher.float(), dim=-1), reduction="none")


def _hidden_error(student: list[Tensor], teacher: list[Tensor], inputs: Inputs, counts: Counts) -> Tensor:
    """Mean over layers and tokens of the squared error relative to the energy of the teacher's state."""
    errors = [
        (s.float() - t).square().sum(-1) / t.square().sum(-1).clamp_min(1e-6)
        for s, t in zip(student, teacher, strict=True)
    ]
    error = torch.stack(errors).mean(0)
    if inputs.attention_mask is not None:
        error = error * inputs.attention_mask
    return error.sum() / counts.tokens


def _relation_heads(settings: DistillationSettings, teacher: EncoderConfig, student: EncoderConfig) -> int:
    """The number of heads of the relations, which must divide both widths."""
    common = math.gcd(teacher.hidden_size, student.hidden_size)
    heads = settings.relation_heads or math.gcd(common, student.num_attention_heads)
    if common % heads:
        raise UsageError(
            f"relations in {heads} heads do not divide the widths {teacher.hidden_size} and {student.hidden_size}",
            f"choose a number that divides {common}",
        )
    return heads


def _relation_loss(
    student: tuple[BertForPreTraining, list[Tensor]],
    teacher: tuple[BertForPreTraining, list[Tensor]],
    heads: int,
    inputs: Inputs,
    counts: Counts,
) -> Tensor:
    """Mean over queries, keys and values, heads and tokens of the divergence of their relations (MiniLMv2, eq. 5)."""
    total: Tensor | float = 0.0
    with torch.no_grad():
        targets = _last_projections(*teacher)
    for own, target in zip(_last_projections(*student), targets, strict=True):
        with torch.no_grad():
            expected = _relations(target, heads, inputs).exp()
        divergence = F.kl_div(_relations(own, heads, inputs), expected, reduction="none").sum(-1).mean(1)  # (B, S)
        if inputs.attention_mask is not None:
            divergence = divergence * inputs.attention_mask
        total = total + divergence.sum() / (3 * counts.tokens)
    assert isinstance(total, Tensor)
    return total


def _last_projections(model: BertForPreTraining, states: list[Tensor]) -> list[Tensor]:
    """Queries, keys and values of the last block, (B, S, H) each."""
    block = model.encoder.layer[-1]
    assert isinstance(block, Block)
    attention = block.attention.self
    return [projected(states[-2]) for projected in (attention.query, attention.key, attention.value)]


def _relations(x: Tensor, heads: int, inputs: Inputs) -> Tensor:
    """log softmax(x x^T / sqrt(d)) within each head: (B, S, H) -> (B, heads, S, S)."""
    split = x.unflatten(2, (heads, -1)).transpose(1, 2)
    scores = ((split * split.shape[-1] ** -0.5) @ split.transpose(-1, -2)).float()
    if inputs.attention_mask is not None:
        padding = inputs.attention_mask[:, None, None, :] == 0
        scores = scores.masked_fill(padding, -1e4)
    return scores.log_softmax(-1)
