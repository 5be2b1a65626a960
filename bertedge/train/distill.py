"""Knowledge distillation: a student learns both heads from its teacher's outputs and hidden states.

Hinton et al. 2015 for the logits; Jiao et al. 2020 (TinyBERT, equation 8) for the hidden states, with the fixed
projection of :mod:`bertedge.train.student` in the place of a learned one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor
from torch.nn import functional as F

from bertedge.config import BertConfig
from bertedge.predictor import NO_LABEL
from bertedge.train.loop import Inputs, Objective, pretraining_loss
from bertedge.train.model import BertForPreTraining, PretrainingOutput
from bertedge.train.student import layer_map, project_student

#: Batches that the principal directions are taken from.
PROJECTION_BATCHES = 8


@dataclass(frozen=True, kw_only=True)
class DistillationSettings:
    """Weights of the parts of the loss, and the temperature of the logits."""

    hidden_weight: float = 1.0
    logits_weight: float = 1.0
    labels_weight: float = 0.5
    temperature: float = 1.0


@torch.no_grad()
def start_student(
    teacher: BertForPreTraining, config: BertConfig, batches: Iterator[Inputs]
) -> tuple[BertForPreTraining, Tensor]:
    """A student projected from its teacher, and the projection (H_teacher, H_student); consumes a few batches."""
    teacher.eval()
    streams: list[Tensor] = [teacher.bert.embeddings.word_embeddings.weight.detach()]
    for inputs in islice(batches, PROJECTION_BATCHES):
        hidden = inputs.run(teacher).hidden_states
        streams += [state.flatten(0, 1) for state in hidden]
        streams.append(teacher.cls.predictions.transform(hidden[-1].flatten(0, 1)[inputs.masked_index]))
    return project_student(teacher, config, streams)


def distillation_objective(
    teacher: BertForPreTraining, projection: Tensor, settings: DistillationSettings, student_layers: int
) -> Objective:
    """The loss of a student against its teacher on the same inputs."""
    teacher.eval()
    imitated = [0, *(1 + i for i in layer_map(teacher.config.num_hidden_layers, student_layers))]

    def objective(output: PretrainingOutput, inputs: Inputs, share_done: float) -> Tensor:
        with torch.no_grad():
            target = inputs.run(teacher)
            states = [target.hidden_states[i].float() @ projection for i in imitated]
        loss = settings.labels_weight * pretraining_loss(output, inputs, share_done)
        loss = loss + settings.logits_weight * _divergence(output.mlm_logits, target.mlm_logits, settings.temperature)
        if bool((inputs.next_sentence_labels != NO_LABEL).any()):
            loss = loss + settings.logits_weight * _divergence(
                output.nsp_logits, target.nsp_logits, settings.temperature
            )
        return loss + settings.hidden_weight * _hidden_error(output.hidden_states, states)

    return objective


def _divergence(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """KL(teacher || student) up to the teacher's entropy, which no gradient sees; mean over rows.

    The factor ``temperature ** 2`` keeps the gradient's size (Hinton et al. 2015, section 2.1).
    """
    if temperature != 1.0:  # a division of (M, V) logits is worth avoiding
        student, teacher = student / temperature, teacher / temperature
    return temperature**2 * F.cross_entropy(student.float(), F.softmax(teacher.float(), dim=-1))


def _hidden_error(student: list[Tensor], teacher: list[Tensor]) -> Tensor:
    """Mean over layers of the squared error relative to the teacher's energy."""
    errors = [(s.float() - t).square().mean() / t.square().mean() for s, t in zip(student, teacher, strict=True)]
    return torch.stack(errors).mean()
