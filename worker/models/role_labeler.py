"""The role of each word for a given predicate (Shi and Lin 2019, section 3.2): the body's vectors and a mark of the
predicate through a bidirectional LSTM, then a layer over the states of the word and of the predicate.

Knows no data set and no tokenizer.

Legend: B batch, W words, D width of the body and of a direction of the LSTM, M width of the mark, L roles.
"""

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F  # noqa: N812  its usual name
from torch import Tensor, nn

from worker.models.body import Body
from worker.models.chain import best_paths
from worker.models.heads import Task
from worker.models.tagger import MAX_PAIRS, bio_rules, encode_words, summed, summed_by_row

#: As in the paper.
MARK_WIDTH = 10


class RoleLabeler(Task):
    """A batch has what the body reads, `places` int64 [B, W], `num_words` int64 [B] and `predicate` int64 [B], which
    of the words it is; to learn from, `roles` int64 [B, W], behind the words what cross-entropy leaves out."""

    def __init__(self, body: Body, roles: Sequence[str], dropout: float = 0.0) -> None:
        super().__init__(body)
        self.mark = nn.Embedding(2, MARK_WIDTH)
        self.dropout = nn.Dropout(dropout)
        self.lstm = BidirectionalLstm(body.width + MARK_WIDTH, body.width)
        self.hidden = nn.Linear(4 * body.width, body.width)
        self.head = nn.Linear(body.width, len(roles))
        self.rules = bio_rules(roles)

    def forward(self, batch: Mapping[str, Tensor]) -> Tensor:
        """-> logits [B, W, L]"""
        words, predicate = encode_words(self.body, batch), batch["predicate"][:, None]
        is_predicate = torch.arange(words.shape[1], device=words.device) == predicate
        marked = torch.cat([words, self.mark(is_predicate.long())], 2)
        states = self.dropout(self.lstm(self.dropout(marked), batch["num_words"]))  # [B, W, 2 D]
        of_predicate = states.gather(1, predicate[:, :, None].expand(-1, -1, states.shape[2])).expand_as(states)
        hidden = F.relu(self.hidden(torch.cat([states, of_predicate], 2)))
        logits: Tensor = self.head(self.dropout(hidden))
        return logits

    def loss(self, logits: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """The negative log-likelihood of the roles, summed over words."""
        return summed(logits, batch["roles"])

    def losses(self, logits: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """The same of each row, [B]"""
        return summed_by_row(logits, batch["roles"])

    def decode(self, logits: Tensor, num_words: Tensor) -> Tensor:
        """-> the most likely of the well-formed sequences of roles: int64 [B, W]"""
        chain = type(self.rules)(*(part.to(logits.device) for part in self.rules))
        rows = max(1, MAX_PAIRS // logits.shape[2] ** 2)
        pairs = zip(torch.split(logits.float().log_softmax(2), rows), torch.split(num_words, rows), strict=True)
        return torch.cat([best_paths(some, lengths, chain) for some, lengths in pairs])


class BidirectionalLstm(nn.Module):
    """Two layers of one direction each, the second over rows that are turned round by their own lengths: then padding
    stands behind the words for both, and needs no packing."""

    def __init__(self, input_width: int, width: int) -> None:
        super().__init__()
        self.forwards = nn.LSTM(input_width, width, batch_first=True)
        self.backwards = nn.LSTM(input_width, width, batch_first=True)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """x: [B, W, inputs], lengths: int64 [B] -> [B, W, 2 D]; what stands behind a row's length means nothing"""
        onward = self.forwards(x)[0]
        return torch.cat([onward, turned(self.backwards(turned(x, lengths))[0], lengths)], 2)


def turned(x: Tensor, lengths: Tensor) -> Tensor:
    """Each row's words in reverse order, padding behind them still: [B, W, ...]; done twice, it changes nothing."""
    num_words = x.shape[1]
    order = (lengths[:, None] - 1 - torch.arange(num_words, device=x.device)) % num_words
    return x.gather(1, order[:, :, None].expand_as(x))
