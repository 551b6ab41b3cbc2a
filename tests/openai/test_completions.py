"""`client.completions`: whole and streamed."""

import openai
import pytest
from openai import OpenAI

PROMPT = "the quick brown"


@pytest.fixture(autouse=True)
def _served(replica: str) -> None:
    """There is a replica."""


def test_a_prompt_is_continued(client: OpenAI, language_model: str) -> None:
    answer = client.completions.create(model=language_model, prompt=PROMPT, max_tokens=8, temperature=0)
    assert (answer.object, answer.model) == ("text_completion", language_model)
    [choice] = answer.choices
    assert choice.finish_reason == "length"
    assert choice.text
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 8
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + 8


def test_sixteen_tokens_are_given_where_nothing_is_said(client: OpenAI, language_model: str) -> None:
    answer = client.completions.create(model=language_model, prompt="the", temperature=0)
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 16


def test_a_stream_gives_the_same_text(client: OpenAI, language_model: str) -> None:
    options = {"model": language_model, "prompt": PROMPT, "max_tokens": 12, "seed": 5}
    whole = client.completions.create(**options)  # type: ignore[call-overload]
    chunks = list(client.completions.create(**options, stream=True))  # type: ignore[call-overload]
    assert "".join(chunk.choices[0].text for chunk in chunks) == whole.choices[0].text
    assert [chunk.choices[0].finish_reason for chunk in chunks][-1] == "length"
    assert {chunk.choices[0].finish_reason for chunk in chunks[:-1]} == {None}
    assert len({chunk.id for chunk in chunks}) == 1


def test_the_usage_of_a_stream_comes_last(client: OpenAI, language_model: str) -> None:
    *chunks, last = client.completions.create(
        model=language_model, prompt=PROMPT, max_tokens=4, stream=True, stream_options={"include_usage": True}
    )
    assert last.choices == []
    assert last.usage is not None
    assert last.usage.completion_tokens == 4
    assert all(chunk.usage is None for chunk in chunks)


def test_choices_of_several_prompts_stand_side_by_side(client: OpenAI, language_model: str) -> None:
    prompts = [PROMPT, "lazy dog"]
    options = {"model": language_model, "max_tokens": 6, "seed": 3}
    both = client.completions.create(prompt=prompts, n=2, **options)  # type: ignore[call-overload]
    assert [choice.index for choice in both.choices] == [0, 1, 2, 3]
    assert both.choices[0].text != both.choices[1].text, "choices of one seed differ"
    alone = client.completions.create(prompt=prompts[1], n=2, **options)  # type: ignore[call-overload]
    assert [choice.text for choice in alone.choices] == [choice.text for choice in both.choices[2:]]
    texts = dict.fromkeys(range(4), "")
    stream = client.completions.create(  # type: ignore[call-overload]
        prompt=prompts, n=2, stream=True, stream_options={"include_usage": True}, **options
    )
    usages = []
    for chunk in stream:
        usages += [chunk.usage] if chunk.usage else []
        for choice in chunk.choices:
            texts[choice.index] += choice.text
    assert list(texts.values()) == [choice.text for choice in both.choices]
    assert usages == [both.usage]


def test_native_parameters_come_by_extra_body(client: OpenAI, language_model: str) -> None:
    likeliest = client.completions.create(model=language_model, prompt=PROMPT, max_tokens=8, temperature=0)
    first = client.completions.create(
        model=language_model, prompt=PROMPT, max_tokens=8, temperature=2, extra_body={"top_k": 1}
    )
    assert first.choices[0].text == likeliest.choices[0].text


@pytest.mark.parametrize("prompt", [PROMPT, [PROMPT, "lazy dog"]])
def test_an_echo_is_the_prompt_before_each_text(client: OpenAI, language_model: str, prompt: str | list[str]) -> None:
    options = {"model": language_model, "prompt": prompt, "max_tokens": 4, "seed": 1, "n": 2}
    plain = client.completions.create(**options)  # type: ignore[call-overload]
    echoed = client.completions.create(echo=True, **options)  # type: ignore[call-overload]
    given = [each for each in ([prompt] if isinstance(prompt, str) else prompt) for _ in range(2)]
    wanted = [before + choice.text for before, choice in zip(given, plain.choices, strict=True)]
    assert [choice.text for choice in echoed.choices] == wanted
    assert echoed.usage == plain.usage
    texts = dict.fromkeys(range(len(given)), "")
    for chunk in client.completions.create(echo=True, stream=True, **options):  # type: ignore[call-overload]
        texts[chunk.choices[0].index] += chunk.choices[0].text
    assert list(texts.values()) == wanted


def test_a_stop_sequence_ends_the_text(client: OpenAI, language_model: str) -> None:
    options = {"model": language_model, "prompt": PROMPT, "max_tokens": 12, "temperature": 0}
    text = client.completions.create(**options).choices[0].text  # type: ignore[call-overload]
    stop = text[4:6]
    stopped = client.completions.create(stop=stop, **options).choices[0]  # type: ignore[call-overload]
    assert (stopped.text, stopped.finish_reason) == (text[: text.index(stop)], "stop")


def test_log_probabilities_are_told_as_the_client_types_them(client: OpenAI, language_model: str) -> None:
    options = {"model": language_model, "prompt": PROMPT, "max_tokens": 12, "seed": 1, "logprobs": 2}
    choice = client.completions.create(**options).choices[0]  # type: ignore[call-overload]
    told = choice.logprobs
    assert len(told.tokens) == len(told.token_logprobs) == len(told.top_logprobs) == len(told.text_offset) == 12
    for token, logprob, likeliest in zip(told.tokens, told.token_logprobs, told.top_logprobs, strict=True):
        assert likeliest[token] == logprob
        assert len(likeliest) in (2, 3)
        assert max(likeliest.values()) <= 0.0
    chunks = list(client.completions.create(**options, stream=True))  # type: ignore[call-overload]
    streamed = [chunk.choices[0].logprobs for chunk in chunks if chunk.choices[0].logprobs is not None]
    assert [offset for each in streamed for offset in each.text_offset] == told.text_offset
    assert [token for each in streamed for token in each.tokens] == told.tokens


@pytest.mark.parametrize(
    ("field", "value"),
    [("best_of", 2), ("suffix", "x"), ("presence_penalty", 0.5), ("max_token", 3)],
)
def test_what_is_not_supported_is_refused_by_name(
    client: OpenAI, language_model: str, field: str, value: object
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.completions.create(model=language_model, prompt=PROMPT, extra_body={field: value})
    assert (caught.value.code, caught.value.param) == ("operation_not_supported", field)
    assert field in caught.value.message


def test_what_asks_for_nothing_is_taken(client: OpenAI, language_model: str) -> None:
    answer = client.completions.create(
        model=language_model,
        prompt=PROMPT,
        max_tokens=1,
        echo=False,
        n=2,
        best_of=2,
        logprobs=None,
        logit_bias={},
        frequency_penalty=0,
        presence_penalty=0.0,
        user="ada",
    )
    assert len(answer.choices) == 2


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"prompt": "the quick " * 50}, "prompt"),
        ({"temperature": -1}, "temperature"),
        ({"stop": [""]}, "stop"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"prompt": [1, 2, 3]}, "prompt"),
        ({"n": 0}, "n"),
        ({"n": 40, "prompt": ["a", "b"]}, "n"),
    ],
)
def test_bad_input_is_a_typed_error(
    client: OpenAI, language_model: str, fields: dict[str, object], param: str, stream: bool
) -> None:
    body = {"model": language_model, "prompt": PROMPT, "stream": stream} | fields
    with pytest.raises(openai.UnprocessableEntityError) as caught:
        client.completions.create(**body)  # type: ignore[call-overload]
    assert str(caught.value.param).startswith(param)
    assert caught.value.code in {"validation_failed", "invalid_input"}


def test_a_model_that_does_not_write_says_what_it_does(client: OpenAI, autoencoder: str) -> None:
    with pytest.raises(openai.UnprocessableEntityError) as caught:
        client.completions.create(model=autoencoder, prompt=PROMPT)
    assert caught.value.code == "operation_not_supported"
