"""`client.chat.completions`: the conversation is a transcript, which the model continues, or in a template it knows."""

from pathlib import Path
from typing import Any

import openai
import pytest
from openai import OpenAI

from tests.worker.serving import models
from worker.data.tokenizers import load_tokenizer

MESSAGES: list[Any] = [{"role": "system", "content": "hi"}, {"role": "user", "content": "dog"}]
IMAGE = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}
TRANSCRIPT, STOP = "System: hi\nUser: dog\nAssistant:", "\nUser:"


@pytest.fixture(autouse=True)
def _served(replica: str) -> None:
    """There is a replica."""


def test_the_transcript_is_continued(client: OpenAI, language_model: str) -> None:
    answer = client.chat.completions.create(model=language_model, messages=MESSAGES, max_completion_tokens=4, seed=1)
    text = client.completions.create(model=language_model, prompt=TRANSCRIPT, max_tokens=4, seed=1, stop=[STOP])
    [choice] = answer.choices
    assert (choice.message.role, choice.message.content) == ("assistant", text.choices[0].text.lstrip())
    assert answer.usage == text.usage
    assert (answer.object, choice.finish_reason) == ("chat.completion", "length")


def test_a_model_is_asked_in_the_template_that_it_was_taught(
    client: OpenAI, instruction_model: str, tmp_path: Path
) -> None:
    """The token that ends an answer is one; as text it would be many."""
    tokenizer = load_tokenizer(models.instruction_model(tmp_path / "m") / "tokenizer.json")
    parts = ["Assistant: dog", "User: fox\nAssistant:"]
    messages: list[Any] = [{"role": "assistant", "content": "dog"}, {"role": "user", "content": "fox"}]
    answer = client.chat.completions.create(model=instruction_model, messages=messages, max_completion_tokens=1)
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == sum(len(tokenizer.encode(part).ids) for part in parts) + 1


@pytest.mark.parametrize("name", ["language_model", "instruction_model"])
def test_a_stream_gives_the_same_text(client: OpenAI, name: str, request: pytest.FixtureRequest) -> None:
    options = {"model": request.getfixturevalue(name), "messages": MESSAGES, "max_tokens": 4, "seed": 2, "n": 2}
    whole = client.chat.completions.create(**options)
    stream = client.chat.completions.create(**options, stream=True, stream_options={"include_usage": True})
    *chunks, last = stream
    texts, ends = {0: "", 1: ""}, {}
    for chunk in chunks:
        [choice] = chunk.choices
        texts[choice.index] += choice.delta.content or ""
        ends[choice.index] = choice.finish_reason
    assert list(texts.values()) == [choice.message.content for choice in whole.choices]
    assert ends == {0: "length", 1: "length"}
    assert chunks[0].choices[0].delta.role == "assistant"
    assert (last.choices, last.usage) == ([], whole.usage)


def test_the_clients_own_stream_helper_accumulates(client: OpenAI, language_model: str) -> None:
    with client.chat.completions.stream(model=language_model, messages=MESSAGES, max_tokens=4, seed=2) as stream:
        for _ in stream:
            pass
        final = stream.current_completion_snapshot
    whole = client.chat.completions.create(model=language_model, messages=MESSAGES, max_tokens=4, seed=2)
    assert final.choices[0].message.content == whole.choices[0].message.content


def test_log_probabilities_are_told_as_the_client_types_them(client: OpenAI, language_model: str) -> None:
    options = {"model": language_model, "messages": MESSAGES, "max_tokens": 9, "seed": 2, "logprobs": True}
    answer = client.chat.completions.create(**options, top_logprobs=2)  # type: ignore[call-overload]
    told = answer.choices[0]
    assert len(told.logprobs.content) == answer.usage.completion_tokens > 3
    spelled = b"".join(bytes(token.bytes) for token in told.logprobs.content).decode(errors="replace")
    assert spelled.lstrip() == told.message.content
    for token in told.logprobs.content:
        assert len(token.top_logprobs) == 2
        assert token.top_logprobs[0].logprob >= token.top_logprobs[1].logprob
        assert max(token.logprob, token.top_logprobs[0].logprob) <= 0.0
    chunks = list(client.chat.completions.create(**options, stream=True))  # type: ignore[call-overload]
    streamed = [token for chunk in chunks if chunk.choices[0].logprobs for token in chunk.choices[0].logprobs.content]
    assert [token.logprob for token in streamed] == [token.logprob for token in told.logprobs.content]
    assert not any(token.top_logprobs for token in streamed)


def test_parts_of_text_are_one_text(client: OpenAI, language_model: str) -> None:
    parts: list[Any] = [
        MESSAGES[0],
        {"role": "user", "content": [{"type": "text", "text": "d"}, {"type": "text", "text": "og"}]},
    ]
    answers = [
        client.chat.completions.create(model=language_model, messages=messages, max_tokens=4, seed=4)
        for messages in (parts, MESSAGES)
    ]
    assert answers[0].choices[0].message.content == answers[1].choices[0].message.content


def test_an_answer_goes_back_into_the_conversation(client: OpenAI, language_model: str) -> None:
    """As the client gave it, with all that it holds beside the text."""
    answer = client.chat.completions.create(model=language_model, messages=MESSAGES, max_tokens=1, seed=1)
    message = answer.choices[0].message
    forms: list[Any] = [message, message.model_dump(), {"role": "assistant", "content": message.content}]
    texts = [
        client.chat.completions.create(model=language_model, messages=[said, MESSAGES[1]], max_tokens=2, seed=1)
        for said in forms
    ]
    assert len({each.choices[0].message.content for each in texts}) == 1


def test_without_a_bound_the_context_is_filled(client: OpenAI, language_model: str) -> None:
    answer = client.chat.completions.create(model=language_model, messages=MESSAGES, temperature=0)
    bounded = client.chat.completions.create(
        model=language_model, messages=MESSAGES, temperature=0, max_completion_tokens=10_000
    )
    assert answer.choices[0].message == bounded.choices[0].message


@pytest.mark.parametrize(
    ("fields", "error", "param"),
    [
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, openai.BadRequestError, "tools"),
        ({"response_format": {"type": "json_object"}}, openai.BadRequestError, "response_format"),
        ({"top_logprobs": 2}, openai.UnprocessableEntityError, "top_logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, openai.UnprocessableEntityError, "top_logprobs"),
        ({"store": True}, openai.BadRequestError, "store"),
        ({"web_search_options": {}}, openai.BadRequestError, "web_search_options"),
        ({"stream": True, "stream_options": {"x": 1}}, openai.BadRequestError, "stream_options.x"),
        ({"messages": [IMAGE]}, openai.BadRequestError, "messages.0.content.0.image_url"),
        (
            {"messages": [{"role": "user", "content": [{"type": "video"}]}]},
            openai.BadRequestError,
            "messages.0.content.0",
        ),
        ({"max_tokens": 2, "max_completion_tokens": 3}, openai.UnprocessableEntityError, "max_tokens"),
        ({"max_completion_tokens": 0}, openai.UnprocessableEntityError, "max_completion_tokens"),
        ({"messages": []}, openai.UnprocessableEntityError, "messages"),
        ({"messages": [{"role": "tool", "content": "x"}]}, openai.UnprocessableEntityError, "messages.0.role"),
        ({"messages": [{"role": "user", "content": "dog " * 99}]}, openai.UnprocessableEntityError, "messages"),
        ({"messages": [{"role": "user", "content": "x", "name": "ada"}]}, openai.BadRequestError, "messages.0.name"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(
    client: OpenAI, language_model: str, fields: dict[str, Any], error: type[openai.APIStatusError], param: str
) -> None:
    with pytest.raises(error) as caught:
        client.chat.completions.create(**{"model": language_model, "messages": MESSAGES} | fields)
    assert caught.value.param == param
