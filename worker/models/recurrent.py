"""Recurrent bodies: simple recurrent networks and long short-term memory, by torch's own fused layers.

h_t = tanh(W x_t + U h_(t-1) + b)  (Elman 1990, there with the logistic function)

i, f, o = sigmoid(W_ifo x_t + U_ifo h_(t-1) + b_ifo);  g = tanh(W_g x_t + U_g h_(t-1) + b_g)
c_t = f c_(t-1) + i g;  h_t = o tanh(c_t)  (Hochreiter and Schmidhuber 1997; f by Gers et al. 2000)

Legend: B rows, T tokens, E width of the embedding, D width of the state, L layers.
"""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from app.contract.specs.architectures import LstmArchitecture, RnnArchitecture
from worker.models.language_model import CausalBody

EMBEDDING_DEVIATION = 0.1
#: A gate that starts open lets gradients pass (Gers et al. 2000, Jozefowicz et al. 2015).
FORGET_BIAS = 1.0

#: Of one layer: h, or h and c, each [1, B, D] as torch's layers have them.
State = tuple[Tensor, ...]
_CELL_WEIGHTS = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")


class RecurrentCache:
    """The states of running rows: a few numbers a row, however much it has read."""

    def __init__(self, num_layers: int, num_parts: int, width: int, like: Tensor) -> None:
        """`num_parts`: 1 for h, 2 for h and c. `like`: a tensor of the device and the type that they have."""
        self._row = like.new_zeros(num_parts, 1, 1, width)
        self.layers: list[State] = [(like.new_zeros(1, 0, width),) * num_parts] * num_layers

    @property
    def size_bytes(self) -> int:
        return sum(part.nbytes for state in self.layers for part in state)

    def bytes_for(self, num_rows: int, num_tokens: int) -> int:
        return num_rows * len(self.layers) * self._row.nbytes

    def reserve(self, num_rows: int, num_tokens: int) -> None:
        """Rows bring their own."""

    def start(self, num_rows: int) -> None:
        new = tuple(part.expand(1, num_rows, -1) for part in self._row)
        self.layers = [_beside(state, new) for state in self.layers]

    def join(self, other: "RecurrentCache") -> None:
        self.layers = [_beside(*states) for states in zip(self.layers, other.layers, strict=True)]

    def leave(self, row: int) -> None:
        rows = [*range(self.layers[0][0].shape[1])]
        rows[row] = rows[-1]
        kept = torch.tensor(rows[:-1], dtype=torch.int64, device=self._row.device)
        self.layers = [tuple(part.index_select(1, kept) for part in state) for state in self.layers]


def _beside(first: State, second: State) -> State:
    return tuple(torch.cat(parts, dim=1) for parts in zip(first, second, strict=True))


class Recurrent(CausalBody[RecurrentCache]):
    """A stack of one-layer modules with our own dropout between them, and not one module of many layers: cuDNN would
    draw that module's dropout from a state of its own, which a resumed run could not take up.
    """

    architecture: LstmArchitecture | RnnArchitecture

    def __init__(self, architecture: LstmArchitecture | RnnArchitecture, vocab_size: int) -> None:
        super().__init__()
        self.architecture = architecture
        self.width = architecture.width
        self.embed_tokens = nn.Embedding(vocab_size, architecture.input_width)
        self.dropouts = nn.ModuleList(nn.Dropout(architecture.dropout) for _ in range(architecture.num_layers + 1))
        layer_type = nn.LSTM if isinstance(architecture, LstmArchitecture) else nn.RNN
        inputs = [architecture.input_width] + [architecture.width] * (architecture.num_layers - 1)
        self.layers = nn.ModuleList(layer_type(below, architecture.width, batch_first=True) for below in inputs)
        self._initialize()

    @property
    def token_embedding(self) -> nn.Embedding:
        return self.embed_tokens

    def stages(self) -> Sequence[nn.ModuleList]:
        layers = zip([self.embed_tokens, *self.layers], self.dropouts, strict=True)
        return [nn.ModuleList([layer, dropout]) for layer, dropout in layers]

    def forward(self, tokens: Tensor) -> Tensor:
        """tokens: int64 [B, T] -> [B, T, D]"""
        below, *above = self.dropouts
        x = below(self.embed_tokens(tokens))
        for layer, dropout in zip(self.layers, above, strict=True):
            x = dropout(layer(x)[0])
        out: Tensor = x
        return out

    def encode(self, batch: Mapping[str, Tensor]) -> Tensor:
        """tokens: int64 [B, T], right-padded -> [B, T, D]. No token looks ahead, so padding behind changes nothing."""
        return self(batch["tokens"])  # type: ignore[no-any-return]

    def step(self, tokens: Tensor, cache: RecurrentCache) -> Tensor:
        embedded: Tensor = self.embed_tokens(tokens)
        if tokens.shape[1] == 1:
            return self._continued_by_one(embedded[:, 0], cache)[:, None]
        return self._continued(embedded, cache)

    def new_cache(self, dtype: torch.dtype) -> RecurrentCache:
        """In the precision of the cells, whatever is asked: what is rounded at each step adds up."""
        num_parts = 2 if isinstance(self.architecture, LstmArchitecture) else 1
        return RecurrentCache(self.architecture.num_layers, num_parts, self.width, self.embed_tokens.weight)

    def _continued(self, x: Tensor, cache: RecurrentCache) -> Tensor:
        for place, layer in enumerate(self.layers):
            state = cache.layers[place]
            if isinstance(layer, nn.LSTM):
                x, cache.layers[place] = layer(x, state)
            else:
                x, hidden = layer(x, state[0])
                cache.layers[place] = (hidden,)
        return x

    def _continued_by_one(self, x: Tensor, cache: RecurrentCache) -> Tensor:
        """x: [B, E] -> [B, D]. By cells: a layer of oneDNN's arranges its weights anew for each call, which at a width
        of 512 makes a step of one row 5.8 times as long, and of sixteen rows twice.
        """
        for place, layer in enumerate(self.layers):
            state = cache.layers[place]
            weights = [layer.get_parameter(name) for name in _CELL_WEIGHTS]
            before = tuple(part[0] for part in state)
            after: State
            if isinstance(layer, nn.LSTM):
                after = torch.lstm_cell(x, before, *weights)
            else:
                after = (torch.rnn_tanh_cell(x, before[0], *weights),)
            cache.layers[place], x = tuple(part[None] for part in after), after[0]
        return x

    @torch.no_grad()
    def _initialize(self) -> None:
        """Torch's own, but for what decides how far back the state reaches: forget gates start open, and a simple
        network's U has a spectral radius of 1 (by the circular law), not 0.6, at which it forgets in a few tokens.
        """
        nn.init.normal_(self.embed_tokens.weight, std=EMBEDDING_DEVIATION)
        for layer in self.layers:
            if isinstance(layer, nn.LSTM):
                _, forget, _, _ = layer.get_parameter("bias_ih_l0").chunk(4)
                forget.fill_(FORGET_BIAS)
            else:
                nn.init.normal_(layer.get_parameter("weight_hh_l0"), std=1 / math.sqrt(self.width))
