"""Word vectors in the text format, read back by gensim."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.contract import word2vec
from tests.contract.runs import prepared
from tests.worker.serving.test_predictors import answers
from worker.data.tokenizers import words_of
from worker.methods.pretrain.word2vec import Word2VecMethod
from worker.serving.predictors import load_predictor

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture
def method(tmp_path: Path) -> Word2VecMethod:
    method = prepared(word2vec.assignment(tmp_path / "job"))
    assert isinstance(method, Word2VecMethod)
    return method


@pytest.fixture
def folder(method: Word2VecMethod, tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    method.export(folder)
    return folder


def test_gensim_reads_every_word_with_its_vector(method: Word2VecMethod, folder: Path) -> None:
    from gensim.models import KeyedVectors  # noqa: PLC0415  a second, for this room alone

    theirs = KeyedVectors.load_word2vec_format(str(folder / "vectors.txt"))

    vocabulary = method.tokenizer.get_vocab()
    assert theirs.index_to_key == [*words_of(method.tokenizer)]
    for word in ("class", "the", '"'):
        vector = method.model.body.embeddings.weight[vocabulary[word]].detach().numpy()
        np.testing.assert_allclose(theirs[word], vector, rtol=1e-6)


def test_gensim_finds_the_neighbors_that_the_predictor_tells(folder: Path) -> None:
    from gensim.models import KeyedVectors  # noqa: PLC0415

    theirs = KeyedVectors.load_word2vec_format(str(folder / "vectors.txt"))
    [output] = answers(load_predictor(folder).predict, ["class"])

    expected = theirs.most_similar("class", topn=10)
    assert [neighbor["word"] for neighbor in output["neighbors"]] == [word for word, _ in expected]
    np.testing.assert_allclose([each["score"] for each in output["neighbors"]], [score for _, score in expected], 1e-4)


def test_words_that_are_never_drawn_keep_their_vectors(method: Word2VecMethod) -> None:
    special = [method.tokenizer.token_to_id(name) for name in ("<|begin|>", "<|pad|>", "\ufffd")]
    before = method.model.body.embeddings.weight[special].detach().clone()
    optimizer = torch.optim.Adam(method.model.parameters(), 0.1)
    for step in range(3):
        for batch in method.train_data.micro_batches(step):
            optimizer.zero_grad()
            method.total(batch).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    assert torch.equal(method.model.body.embeddings.weight[special], before)
