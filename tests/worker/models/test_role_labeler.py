"""The role labeler against torch's own bidirectional layer, and its decoding against enumeration."""

from itertools import product

import pytest
import torch

from app.contract.specs.architectures import SkipgramArchitecture
from app.contract.tags import mended
from worker.models.role_labeler import BidirectionalLstm, RoleLabeler, turned
from worker.models.skip_gram import SkipGram

ROLES = ["B-A0", "B-V", "I-A0", "I-V", "O"]


def test_rows_turned_round_keep_their_padding_behind() -> None:
    x = torch.arange(1, 11.0).view(2, 5, 1)
    lengths = torch.tensor([3, 5])

    assert turned(x, lengths)[:, :, 0].tolist()[0][:3] == [3, 2, 1]
    assert turned(x, lengths)[:, :, 0].tolist()[1] == [10, 9, 8, 7, 6]
    assert torch.equal(turned(turned(x, lengths), lengths), x)


def test_both_directions_are_those_of_a_packed_bidirectional_layer() -> None:
    torch.manual_seed(0)
    ours, theirs = BidirectionalLstm(4, 3), torch.nn.LSTM(4, 3, batch_first=True, bidirectional=True)
    for suffix, layer in (("", ours.forwards), ("_reverse", ours.backwards)):
        theirs.load_state_dict({f"{k}{suffix}": v for k, v in layer.state_dict().items()}, strict=False)
    x, lengths = torch.randn(3, 6, 4), torch.tensor([6, 1, 4])
    packed = torch.nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    expected, _ = torch.nn.utils.rnn.pad_packed_sequence(theirs(packed)[0], batch_first=True)

    there = torch.arange(6) < lengths[:, None]

    torch.testing.assert_close(ours(x, lengths)[there], expected[there])


def test_the_best_well_formed_roles_are_told() -> None:
    """Of all sequences, enumerated."""
    torch.manual_seed(0)
    labeler = RoleLabeler(SkipGram(SkipgramArchitecture(width=4), 10), ROLES)
    logits, lengths = torch.randn(5, 4, len(ROLES)) * 3, torch.tensor([4, 3, 4, 1, 2])

    for row, path in enumerate(labeler.decode(logits, lengths)):
        length = int(lengths[row])
        formed = [
            each
            for each in product(range(len(ROLES)), repeat=length)
            if (names := [ROLES[role] for role in each]) == mended(names)
        ]
        scores = {each: sum(float(logits[row, word, role]) for word, role in enumerate(each)) for each in formed}
        assert tuple(path[:length].tolist()) == max(scores, key=lambda each: scores[each])


@pytest.mark.parametrize("asked", [0, 2])
def test_the_predicate_asked_about_changes_what_is_told(asked: int) -> None:
    torch.manual_seed(0)
    labeler = RoleLabeler(SkipGram(SkipgramArchitecture(width=4), 10), ROLES).eval()
    batch = {
        "tokens": torch.tensor([[1, 2, 3]]),
        "lengths": torch.tensor([3]),
        "places": torch.tensor([[0, 1, 2]]),
        "num_words": torch.tensor([3]),
    }
    with torch.no_grad():
        told, other = (labeler(batch | {"predicate": torch.tensor([place])}) for place in (asked, 1))

    assert not torch.allclose(told, other, atol=1e-3)
