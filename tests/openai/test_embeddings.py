"""`client.embeddings`: the client asks for base64 by itself."""

from typing import Any

import httpx2
import openai
import pytest
from openai import OpenAI

TEXTS = ["the quick brown fox", "lazy dog"]


@pytest.fixture(autouse=True)
def _served(replica: str) -> None:
    """There is a replica."""


def test_base64_holds_the_native_vectors(client: OpenAI, api: str, key: str, language_model: str) -> None:
    answer = client.embeddings.create(model=language_model, input=TEXTS)
    native = httpx2.post(
        f"{api}/v1/models/{language_model}/embed", json={"inputs": TEXTS}, headers={"Authorization": f"Bearer {key}"}
    ).json()["embeddings"]
    assert [item.index for item in answer.data] == [0, 1]
    assert [item.embedding for item in answer.data] == [pytest.approx(vector, rel=1e-6) for vector in native]
    assert answer.model == language_model


def test_numbers_are_given_where_they_are_asked_for(client: OpenAI, language_model: str) -> None:
    encoded = client.embeddings.create(model=language_model, input=TEXTS[0])
    plain = client.embeddings.create(model=language_model, input=TEXTS[0], encoding_format="float")
    assert plain.data[0].embedding == pytest.approx(encoded.data[0].embedding, rel=1e-6)


def test_usage_counts_the_tokens_of_the_texts(client: OpenAI, language_model: str) -> None:
    counts = [client.embeddings.create(model=language_model, input=text).usage.prompt_tokens for text in TEXTS]
    usage = client.embeddings.create(model=language_model, input=TEXTS).usage
    assert 0 < counts[1] < counts[0]
    assert usage.prompt_tokens == usage.total_tokens == sum(counts)


def test_an_autoencoder_takes_one_vector_or_several(client: OpenAI, autoencoder: str) -> None:
    vectors: Any = [[1.0, 2.0, 3.0, 4.0], [0.0, 1.0, 0.0, 1.0]]
    both = client.embeddings.create(model=autoencoder, input=vectors)
    one = client.embeddings.create(model=autoencoder, input=vectors[0])
    assert len(both.data) == 2
    assert both.usage.total_tokens == 0
    assert one.data[0].embedding == pytest.approx(both.data[0].embedding, rel=1e-6)


@pytest.mark.parametrize(
    ("fields", "error", "param"),
    [
        ({"input": []}, openai.UnprocessableEntityError, "input"),
        ({"input": [1, 2, 3]}, openai.UnprocessableEntityError, "input.0"),
        ({"dimensions": 8}, openai.BadRequestError, "dimensions"),
        ({"model": "nowhere"}, openai.NotFoundError, None),
    ],
)
def test_bad_input_is_a_typed_error(
    client: OpenAI, language_model: str, fields: dict[str, Any], error: type[openai.APIStatusError], param: str | None
) -> None:
    with pytest.raises(error) as caught:
        client.embeddings.create(**{"model": language_model, "input": TEXTS} | fields)
    assert caught.value.param == param
