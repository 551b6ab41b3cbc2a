"""Cross-entropy of a linear layer without its logits: they are made, used and dropped a few rows at a time.

Legend: N predictions, D width, V vocabulary. Of N x V numbers only a chunk exists at once, and the gradients are made
in the forward pass while it is warm (as Liger Kernel does: Hsu et al. 2024).
"""

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  its usual name
from torch import Tensor

#: Logits of one chunk: 4 MiB of fp32.
CHUNK_NUMBERS = 1 << 20


def summed_cross_entropy(hidden: Tensor, weight: Tensor, targets: Tensor, bias: Tensor | None = None) -> Tensor:
    """hidden: [N, D], weight: [V, D], targets: int64 [N], bias: [V] -> the sum of negative log-likelihoods, fp32."""
    if bias is not None:  # one more column of the weights, which reads a one
        hidden, weight = F.pad(hidden, (0, 1), value=1.0), torch.cat([weight, bias[:, None]], 1)
    if torch.is_grad_enabled():
        total: Tensor = _SummedCrossEntropy.apply(hidden, weight, targets)  # type: ignore[no-untyped-call]
        return total
    return token_losses(hidden, weight, targets).sum()


def token_losses(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """The same for each prediction: fp32 [N]. For evaluation: gradients through it would keep every chunk."""
    dtype = _compute_dtype(hidden)
    weight = weight.to(dtype)
    with torch.autocast(hidden.device.type, enabled=False):
        losses = []
        for rows, wanted in _chunks(hidden, weight, targets):
            logits = (rows.to(dtype) @ weight.t()).float()
            losses.append(logits.logsumexp(1) - logits.gather(1, wanted[:, None]).squeeze(1))
        return torch.cat(losses)


class _SummedCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
        dtype = _compute_dtype(hidden)
        cast_weight = weight.detach().to(dtype)
        total = hidden.new_zeros((), dtype=torch.float32)
        hidden_gradients = []
        weight_gradient = torch.zeros_like(weight)
        with torch.autocast(hidden.device.type, enabled=False):
            for rows, wanted in _chunks(hidden.detach().to(dtype), cast_weight, targets):
                logits = (rows @ cast_weight.t()).float()
                log_normalizer = logits.logsumexp(1, keepdim=True)
                total += (log_normalizer - logits.gather(1, wanted[:, None])).sum()
                # The gradient by the logits: probabilities, less one at the target.
                probabilities = logits.sub_(log_normalizer).exp_()
                gradient = probabilities.scatter_add_(1, wanted[:, None], -torch.ones_like(log_normalizer)).to(dtype)
                hidden_gradients.append(gradient @ cast_weight)
                weight_gradient += gradient.t() @ rows
        ctx.save_for_backward(torch.cat(hidden_gradients).to(hidden.dtype), weight_gradient)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        hidden_gradient, weight_gradient = ctx.saved_tensors
        return hidden_gradient * gradients[0], weight_gradient * gradients[0], None


def _chunks(hidden: Tensor, weight: Tensor, targets: Tensor) -> list[tuple[Tensor, Tensor]]:
    rows = max(64, CHUNK_NUMBERS // weight.shape[0])
    return list(zip(torch.split(hidden, rows), torch.split(targets, rows), strict=True))


def _compute_dtype(hidden: Tensor) -> torch.dtype:
    kind = hidden.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else hidden.dtype
