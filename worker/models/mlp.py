"""Fully connected bodies and decoders over vectors, or over images read as vectors.

Legend: B batch, F features (C*H*W for an image), D width of the encoding, S the shape of one example.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import prod

from torch import Tensor, nn

from worker.models.body import Body
from worker.models.standardization import Standardization


class MlpBody(Body):
    """ReLU layers (Nair and Hinton 2010); with `code_size`, a linear layer onto the code of an autoencoder follows.

    x [B, S] -> standardised, flattened [B, F] -> relu(W_i x + b_i) for each hidden width -> [B, D]
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        hidden_widths: Sequence[int],
        dropout: float = 0.0,
        code_size: int | None = None,
    ) -> None:
        super().__init__()
        self.width = code_size or hidden_widths[-1]
        self.standardization = Standardization(input_shape)
        self.layers = relu_layers([prod(input_shape), *hidden_widths], dropout)
        self.code = nn.Linear(hidden_widths[-1], code_size) if code_size else nn.Identity()

    def stages(self) -> Sequence[nn.ModuleList]:
        return stages_of(self.layers, self.code)

    def encode(self, batch: Mapping[str, Tensor]) -> Tensor:
        """batch["inputs"]: raw numbers [B, S] -> encoding [B, D]"""
        encoding: Tensor = self.code(self.features(batch["inputs"]))
        return encoding

    def features(self, inputs: Tensor) -> Tensor:
        """raw numbers [B, S] -> the last hidden layer, which the code is read off from"""
        hidden: Tensor = self.layers(self.standardization(inputs).flatten(1))
        return hidden


class MlpDecoder(nn.Module):
    """The mirror of an MlpBody: code [B, D] -> the standardised example [B, S]."""

    def __init__(
        self, output_shape: tuple[int, ...], hidden_widths: Sequence[int], dropout: float, code_size: int
    ) -> None:
        super().__init__()
        self._output_shape = output_shape
        self.layers = relu_layers([code_size, *reversed(hidden_widths)], dropout)
        self.output = nn.Linear(hidden_widths[0], prod(output_shape))

    def forward(self, code: Tensor) -> Tensor:
        flat: Tensor = self.output(self.layers(code))
        return flat.view(-1, *self._output_shape)


def stages_of(layers: nn.Sequential, code: nn.Module) -> list[nn.ModuleList]:
    """A weighted layer, its ReLU and its dropout in each; then the code, where there is one."""
    hidden = [nn.ModuleList([*layers][start : start + 3]) for start in range(0, len(layers), 3)]
    return hidden if isinstance(code, nn.Identity) else [*hidden, nn.ModuleList([code])]


def relu_layers(widths: Sequence[int], dropout: float) -> nn.Sequential:
    """Linear, ReLU and dropout from each width to the next, initialised for ReLU (He et al. 2015)."""
    layers = nn.Sequential()
    for fan_in, fan_out in pairwise(widths):
        layers += nn.Sequential(he_initialized(nn.Linear(fan_in, fan_out)), nn.ReLU(), nn.Dropout(dropout))
    return layers


def he_initialized(layer: nn.Linear | nn.Conv2d) -> nn.Module:
    """Weights with variance 2 / fan_in, so that ReLU layers keep the size of what passes (He et al. 2015, eq. 10)."""
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
