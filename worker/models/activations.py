"""What stands between the two layers of a feed-forward block."""

from collections.abc import Callable
from functools import partial

import torch.nn.functional as F  # noqa: N812  its usual name
from torch import Tensor

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu_tanh": partial(F.gelu, approximate="tanh"),
    "relu": F.relu,
}
