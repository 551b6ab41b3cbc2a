"""What a fine-tune inherits from its parent. Legend: B batch, T tokens, D width."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Self

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


class Body(nn.Module, ABC):
    """Turns raw input into vectors of `width` numbers; its own buffers hold whatever scaling that takes."""

    width: int

    def __init__(self) -> None:
        super().__init__()
        self._num_frozen = 0

    @abstractmethod
    def stages(self) -> Sequence[nn.ModuleList]:
        """Its layers from the input up, embeddings first: all parameters and all dropout, each in one of them."""

    def freeze(self, num_stages: int) -> None:
        """The lowest stages learn nothing from now on: no gradients, and dropout off in training too. All others do."""
        self._num_frozen = num_stages
        for place, stage in enumerate(self.stages()):
            stage.requires_grad_(place >= num_stages)
        self.train(self.training)

    def blocks(self) -> Sequence[nn.Module]:
        """Equal layers, each of which reads what the one below gives; most bodies have none."""
        return ()

    def recompute_activations(self) -> None:
        """From now on a forward pass keeps of each block only what it reads, and the backward pass computes the rest
        again, with the dropout that it had (Chen et al. 2016)."""
        for block in self.blocks():
            block.forward = partial(checkpoint, block.forward, use_reentrant=False)

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        for stage in self.stages()[: self._num_frozen]:
            stage.eval()
        return self

    @abstractmethod
    def encode(self, batch: Mapping[str, Tensor]) -> Tensor:
        """A vector a token [B, T, D] from `tokens` int64 [B, T] and `lengths` int64 [B], right-padded; or one vector
        an example [B, D] from raw `inputs` [B, ...].
        """
