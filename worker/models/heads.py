"""Task heads over a body. Know no data set, no tokenizer and no loss.

Legend: B batch, T tokens, D width of the body, L labels, K targets.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from worker.models.body import Body
from worker.models.encoder import Encoder, PredictionHead
from worker.models.standardization import Standardization


def pool(encoded: Tensor, lengths: Tensor) -> Tensor:
    """The mean over each example's own tokens: [B, T, D], lengths int64 [B] -> [B, D].

    Padding is cut out rather than multiplied by zero: what stands there, even NaN, never reaches an answer.
    """
    positions = torch.arange(encoded.shape[1], device=encoded.device)
    padding = (positions >= lengths[:, None])[..., None]  # [B, T, 1]
    total = encoded.float().masked_fill(padding, 0.0).sum(dim=1)
    return total / lengths[:, None]


def encode_example(body: Body, batch: Mapping[str, Tensor]) -> Tensor:
    """One vector an example, whatever the body gives: [B, D]"""
    encoded = body.encode(batch)
    return pool(encoded, batch["lengths"]) if encoded.dim() == 3 else encoded


class Task(nn.Module):
    """A body with something of its own on top."""

    def __init__(self, body: Body) -> None:
        super().__init__()
        self.body = body


class LinearTask(Task):
    """One linear layer on top; over an encoder, behind a prediction head, as stock encoders have it."""

    def __init__(self, body: Body, num_outputs: int) -> None:
        super().__init__(body)
        self.transform = PredictionHead(body.width) if isinstance(body, Encoder) else nn.Identity()
        self.head = nn.Linear(body.width, num_outputs)

    def read(self, batch: Mapping[str, Tensor]) -> Tensor:
        """-> what the head makes of each example [B, outputs]"""
        outputs: Tensor = self.head(self.transform(encode_example(self.body, batch)))
        return outputs


class Classifier(LinearTask):
    """A logit a label."""

    def __init__(self, body: Body, num_labels: int) -> None:
        super().__init__(body, num_labels)

    def forward(self, batch: Mapping[str, Tensor]) -> Tensor:
        """-> logits [B, L]"""
        return self.read(batch)


class Regressor(LinearTask):
    """The head reads onto standardised targets, on which the loss is taken; answers are in the targets' own units."""

    def __init__(self, body: Body, target_size: int) -> None:
        super().__init__(body, target_size)
        self.target_standardization = Standardization((target_size,))

    def forward(self, batch: Mapping[str, Tensor]) -> Tensor:
        """-> estimates [B, K]"""
        return self.target_standardization.undo(self.read(batch))
