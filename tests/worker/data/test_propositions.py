"""Propositions as examples: the stretch of a sentence around its predicate, and what is asked of the data."""

from pathlib import Path

import numpy as np
import pytest

from tests.contract import semantic_roles
from tests.worker.data.test_tagged_words import BPE, CONTEXT_LENGTH, body, quiet
from worker.data.failures import BadData
from worker.data.propositions import RoleReader
from worker.data.tagged_words import NO_TAG
from worker.data.words import SubWords, bounds_around


def test_a_stretch_around_a_word_cannot_grow() -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        room = int(rng.integers(1, 12))
        lengths = rng.integers(1, room + 1, rng.integers(1, 30)).tolist()
        place = int(rng.integers(len(lengths)))
        start, end = bounds_around(lengths, place, room)
        size = sum(lengths[start:end])
        assert start <= place < end
        assert size <= room
        assert start == 0 or size + lengths[start - 1] > room
        assert end == len(lengths) or size + lengths[end] > room


def test_a_word_stands_in_the_middle_of_its_stretch() -> None:
    assert bounds_around([1] * 20, 10, 5) == (8, 13)
    assert bounds_around([1] * 20, 0, 5) == (0, 5)
    assert bounds_around([1] * 20, 19, 5) == (15, 20)
    assert bounds_around([1] * 3, 1, 50) == (0, 3)


def test_roles_stand_beside_their_words_and_the_predicate_is_found_in_the_row(tmp_path: Path) -> None:
    room = CONTEXT_LENGTH - 1  # each word is one sub-word
    roles = ["B-A0"] * 1 + ["I-A0"] * 29 + ["B-V"] + ["B-A1"] + ["I-A1"] * 8
    made = [(["a"] * 40, 30, roles), (["b", "c"], 0, ["B-V", "B-A1"])]
    dataset = semantic_roles.semantic_roles(tmp_path, made)
    reader = RoleReader.taught_by(dataset, quiet)

    data = reader.read(dataset, SubWords(BPE, body()))
    batch = data.examples.gather(np.arange(2))

    assert reader.roles == ("B-A0", "B-A1", "B-V", "I-A0", "I-A1")
    assert batch["num_words"].tolist() == [room, 2]
    assert batch["start"].tolist() == [23, 0]
    assert batch["predicate"].tolist() == [7, 0]
    assert [reader.roles[code] for code in batch["roles"][0].tolist()] == [
        "B-A0",  # what was begun before the stretch begins with it
        *["I-A0"] * 6,
        "B-V",
        "B-A1",
        *["I-A1"] * 6,
    ]
    assert [reader.roles[code] for code in batch["given"][0].tolist()] == roles
    assert batch["roles"][1].tolist() == [2, 1] + [NO_TAG] * (room - 2)


def test_propositions_of_one_sentence_stay_on_one_side_of_a_split(tmp_path: Path) -> None:
    dataset = semantic_roles.semantic_roles(tmp_path)
    keys = RoleReader.taught_by(dataset, quiet).read(dataset, SubWords(BPE, body())).keys

    assert (keys[::2] == keys[1::2]).all()


def test_roles_that_training_never_shows_are_refused(tmp_path: Path) -> None:
    reader = RoleReader.taught_by(semantic_roles.semantic_roles(tmp_path, [(["a", "b"], 0, ["B-V", "B-A1"])]), quiet)
    other = semantic_roles.semantic_roles(tmp_path, [(["a", "b"], 0, ["B-V", "B-A2"])], "other.jsonl")

    with pytest.raises(BadData, match="never show: 'B-A2'"):
        reader.read(other, SubWords(BPE, body()))


def test_predicates_without_arguments_teach_nothing(tmp_path: Path) -> None:
    with pytest.raises(BadData, match="No proposition has an argument: the roles are B-V, O"):
        RoleReader.taught_by(semantic_roles.semantic_roles(tmp_path, [(["a", "b"], 0, ["B-V", "O"])]), quiet)
