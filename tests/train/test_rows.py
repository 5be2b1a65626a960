"""Loss and gradient row by row are those of the composed operators."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from bertedge.train import rows
from bertedge.train.rows import row_loss


def composed(
    logits: torch.Tensor, labels: torch.Tensor, targets: torch.Tensor | None, weights: tuple[float, float], t: float
) -> torch.Tensor:
    loss = weights[0] * F.cross_entropy(logits.float(), labels, reduction="sum")
    if targets is None:
        return loss
    soft = F.cross_entropy(logits.float() / t, F.softmax(targets.float() / t, dim=1), reduction="sum")
    return loss + weights[1] * t**2 * soft


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 150),
    st.integers(2, 40),
    st.sampled_from([(1.0, 0.0), (0.5, 1.0), (0.0, 2.0)]),
    st.sampled_from([1.0, 2.5]),
    st.integers(0, 5),
)
def test_loss_and_gradient(count: int, size: int, weights: tuple[float, float], t: float, seed: int) -> None:
    torch.manual_seed(seed)
    logits, targets = 4 * torch.randn(count, size), 4 * torch.randn(count, size)
    labels = torch.randint(size, (count,))
    results = []
    for loss_of in (
        lambda x: composed(x, labels, targets, weights, t),
        lambda x: row_loss(
            x, labels, label_weight=weights[0], targets=targets, target_weight=weights[1], temperature=t
        ),
    ):
        x = logits.clone().requires_grad_()
        loss = loss_of(x)
        (3 * loss).backward()
        results.append((loss, x.grad))
    (expected, slope), (got, own) = results
    torch.testing.assert_close(got, expected.float(), rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(own, slope, rtol=1e-4, atol=1e-4)


def test_without_targets_it_is_cross_entropy() -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(rows.ROWS + 3, 50), torch.randint(50, (rows.ROWS + 3,))
    torch.testing.assert_close(row_loss(logits, labels), F.cross_entropy(logits, labels, reduction="sum"))


@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_bfloat16_and_large_logits_stay_finite(scale: float) -> None:
    torch.manual_seed(0)
    logits = (scale * torch.randn(5, 100)).bfloat16().requires_grad_()
    loss = row_loss(logits, torch.arange(5), targets=scale * torch.randn(5, 100))
    loss.backward()
    assert loss.dtype == torch.float32
    assert logits.grad is not None
    assert logits.grad.dtype == torch.bfloat16
    assert torch.isfinite(loss)
    assert torch.isfinite(logits.grad).all()


def test_no_rows_have_no_loss() -> None:
    logits = torch.randn(0, 9, requires_grad=True)
    loss = row_loss(logits, torch.zeros(0, dtype=torch.int64))
    loss.backward()
    assert loss.item() == 0
