"""Optimizers: torch's own, with clipping and the schedule. No step waits for a number to reach the host."""

from collections.abc import Sequence
from typing import Any, assert_never

import torch
from torch import Tensor, nn

from app.contract.specs import training as specs
from worker.training.protocols import RatedParameters
from worker.training.schedule import rate_factor


class ScheduledOptimizer:
    """One optimizer of a method."""

    def __init__(self, rated: Sequence[RatedParameters], options: specs.TrainingOptions, total_steps: int) -> None:
        self._parameters = [parameter for parameters, _ in rated for parameter in parameters]
        self._options = options
        self._total_steps = total_steps
        weight_decay = options.optimizer.weight_decay
        scaled = [(group, scale) for parameters, scale in rated for group in _decay_groups(parameters, weight_decay)]
        self._optimizer = _torch_optimizer([group for group, _ in scaled], options.optimizer)
        self._rate_scales = [scale for _, scale in scaled]

    def learning_rate(self, step: int) -> float:
        """Of parameters whose rate is not scaled."""
        factor = rate_factor(self._options.schedule, step, self._total_steps)
        return self._options.optimizer.decided_rate * factor

    def prepare(self, step: int) -> None:
        """Take the learning rate of step `step` (from 0)."""
        for group, scale in zip(self._optimizer.param_groups, self._rate_scales, strict=True):
            group["lr"] = self.learning_rate(step) * scale

    def apply(self, gradient_divisor: Tensor | float = 1.0) -> Tensor:
        gradients = [parameter.grad for parameter in self._parameters if parameter.grad is not None]
        norm = nn.utils.get_total_norm(gradients) / gradient_divisor
        torch._foreach_mul_(gradients, self._clipped(norm) / gradient_divisor)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        return norm

    def state_dict(self) -> dict[str, Any]:
        return self._optimizer.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._optimizer.load_state_dict(state)

    def _clipped(self, norm: Tensor) -> Tensor:
        """What brings gradients of this norm under the limit."""
        limit = self._options.gradient_clip_norm
        return torch.ones_like(norm) if limit is None else (limit / (norm + 1e-6)).clamp(max=1.0)


def _torch_optimizer(groups: list[dict[str, Any]], spec: specs.Optimizer) -> torch.optim.Optimizer:
    match spec:
        case specs.AdamW():
            return torch.optim.AdamW(groups, spec.decided_rate, spec.betas, fused=True)
        case specs.Adam():
            return torch.optim.Adam(groups, spec.decided_rate, spec.betas, fused=True)
        case specs.Sgd():
            # Not fused: that breaks where parameters with and without momentum meet, as when a layer thaws.
            return torch.optim.SGD(groups, spec.decided_rate, spec.momentum, foreach=True)
        case _:
            assert_never(spec)


def _decay_groups(parameters: Sequence[nn.Parameter], weight_decay: float) -> list[dict[str, Any]]:
    """Decay falls on matrices and kernels; norms and biases, which are vectors, are left alone."""
    return [
        {"params": [parameter for parameter in parameters if parameter.dim() >= 2], "weight_decay": weight_decay},
        {"params": [parameter for parameter in parameters if parameter.dim() < 2], "weight_decay": 0.0},
    ]
