"""Task heads over a body. Know no data set, no tokenizer and no loss.

Legend: B batch, T tokens, D width of the body, L labels, K targets.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from app.contract.model_folder import Pooling
from worker.models.bert import Pooler
from worker.models.body import Body
from worker.models.encoder import Encoder
from worker.models.standardization import Standardization


def pool(encoded: Tensor, lengths: Tensor) -> Tensor:
    """The mean over each example's own tokens: [B, T, D], lengths int64 [B] -> [B, D].

    Padding is cut out rather than multiplied by zero: what stands there, even NaN, never reaches an answer.
    """
    positions = torch.arange(encoded.shape[1], device=encoded.device)
    padding = (positions >= lengths[:, None])[..., None]  # [B, T, 1]
    total = encoded.float().masked_fill(padding, 0.0).sum(dim=1)
    return total / lengths[:, None]


def last_token(encoded: Tensor, lengths: Tensor) -> Tensor:
    """[B, T, D], lengths int64 [B] -> [B, D]"""
    return encoded[torch.arange(len(encoded), device=encoded.device), lengths - 1]


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
    """One linear layer on top; over our encoder, behind a prediction head, as its stock form has it."""

    def __init__(self, body: Body, num_outputs: int, *, bias: bool = True) -> None:
        super().__init__(body)
        self.transform = body.prediction_head() if isinstance(body, Encoder) else nn.Identity()
        self.head = nn.Linear(body.width, num_outputs, bias=bias)

    def read(self, batch: Mapping[str, Tensor]) -> Tensor:
        """-> what the head makes of each example [B, outputs]"""
        outputs: Tensor = self.head(self.transform(encode_example(self.body, batch)))
        return outputs


class Classifier(LinearTask):
    """A logit a label."""

    def __init__(self, body: Body, num_labels: int, pooling: Pooling = "mean") -> None:
        super().__init__(body, num_labels, bias=pooling != "last")
        self.pooling = pooling
        if pooling == "first":
            self.transform = Pooler(body.width)

    def forward(self, batch: Mapping[str, Tensor]) -> Tensor:
        """-> logits [B, L]"""
        logits: Tensor = self.head(self.transform(self._example(batch)))
        return logits

    def _example(self, batch: Mapping[str, Tensor]) -> Tensor:
        """-> [B, D]"""
        match self.pooling:
            case "mean":
                return encode_example(self.body, batch)
            case "last":
                return last_token(self.body.encode(batch), batch["lengths"])
            case "first":
                return self.body.encode(batch)[:, 0]


class Regressor(LinearTask):
    """The head reads onto standardised targets, on which the loss is taken; answers are in the targets' own units."""

    def __init__(self, body: Body, target_size: int) -> None:
        super().__init__(body, target_size)
        self.target_standardization = Standardization((target_size,))

    def forward(self, batch: Mapping[str, Tensor]) -> Tensor:
        """-> estimates [B, K]"""
        return self.target_standardization.undo(self.read(batch))
