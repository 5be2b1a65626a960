"""Cross-entropy over a large vocabulary, a few rows at a time.

The logits of a step are by far its largest tensor. Going over them whole, as composed operators do, reads and
writes them in float32 half a dozen times; a few rows at a time stay in the cache, and the gradient is known as soon
as the loss is.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

#: Rows at once: 64 rows of 30,522 pieces are 8 MB in float32.
ROWS = 64


class _RowLoss(torch.autograd.Function):
    """See :func:`row_loss`."""

    @staticmethod
    def forward(
        ctx: Any,
        logits: Tensor,
        labels: Tensor,
        label_weight: float,
        targets: Tensor | None,
        target_weight: float,
        temperature: float,
    ) -> Tensor:
        gradient = torch.empty_like(logits)
        total = torch.zeros((), dtype=torch.float32, device=logits.device)
        for start in range(0, len(logits), ROWS):
            rows = slice(start, start + ROWS)
            x, label = logits[rows].float(), labels[rows, None]
            norm = x.logsumexp(1, keepdim=True)
            total += label_weight * (norm - x.gather(1, label)).sum()
            slope = (x - norm).exp_().mul_(label_weight)
            slope.scatter_add_(1, label, torch.full_like(norm, -label_weight))
            if targets is not None:
                scaled = x.div_(temperature)
                norm = scaled.logsumexp(1, keepdim=True)
                expected = (targets[rows].float() / temperature).softmax(1)
                total += target_weight * temperature**2 * (norm.sum() - (expected * scaled).sum())
                soft = scaled.sub_(norm).exp_().sub_(expected)
                slope.add_(soft, alpha=target_weight * temperature)
            gradient[rows] = slope
        ctx.save_for_backward(gradient)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, incoming: Tensor) -> tuple[Tensor, None, None, None, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * incoming.to(gradient.dtype), None, None, None, None, None


def row_loss(
    logits: Tensor,
    labels: Tensor,
    *,
    label_weight: float = 1.0,
    targets: Tensor | None = None,
    target_weight: float = 1.0,
    temperature: float = 1.0,
) -> Tensor:
    """The sum over rows of the cross-entropy with labels and, if given, with another model's answers.

    Args:
        logits: (M, V), float32 or bfloat16.
        labels: (M,), each an index below V.
        targets: the other model's logits (M, V); their part is KL(targets || logits) at a temperature, up to a term
            that no gradient sees, times its square (Hinton et al. 2015, section 2.1).

    Returns:
        A float32 scalar.
    """
    if targets is not None and target_weight == 0:
        targets = None
    loss: Tensor = _RowLoss.apply(logits, labels, label_weight, targets, target_weight, temperature)
    return loss
