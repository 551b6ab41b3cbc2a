"""What a fine-tune inherits from its parent. Legend: B batch, T tokens, D width."""

from abc import ABC, abstractmethod
from collections.abc import Mapping

from torch import Tensor, nn


class Body(nn.Module, ABC):
    """Turns raw input into vectors of `width` numbers; its own buffers hold whatever scaling that takes."""

    width: int

    @abstractmethod
    def encode(self, batch: Mapping[str, Tensor]) -> Tensor:
        """A vector a token [B, T, D] from `tokens` int64 [B, T] and `lengths` int64 [B], right-padded; or one vector
        an example [B, D] from raw `inputs` [B, ...].
        """
