"""`client.files`: a file is a data set and keeps its id."""

import hashlib
from pathlib import Path

import httpx2
import openai
import pytest
from openai import OpenAI

REVIEWS = b'{"text": "a joy", "label": "good"}\n{"text": "a bore", "label": "bad"}\n'


def test_a_file_is_a_data_set(client: OpenAI, api: str, key: str, tmp_path: Path) -> None:
    path = tmp_path / "reviews.jsonl"
    path.write_bytes(REVIEWS)
    made = client.files.create(file=path, purpose="fine-tune")
    assert (made.object, made.filename, made.purpose, made.status) == (
        "file", "reviews.jsonl", "fine-tune", "processed"
    )  # fmt: skip
    assert (made.bytes, made.model_dump()["kind"]) == (len(REVIEWS), "labeled_text")
    assert client.files.retrieve(made.id) == made
    native = httpx2.get(f"{api}/v1/datasets/{made.id}", headers={"Authorization": f"Bearer {key}"}).json()
    assert (native["sha256"], native["num_examples"]) == (hashlib.sha256(REVIEWS).hexdigest(), 2)
    assert client.files.content(made.id).read() == REVIEWS
    assert client.files.delete(made.id).to_dict() == {"id": made.id, "object": "file", "deleted": True}
    for call in (client.files.retrieve, client.files.content, client.files.delete):
        with pytest.raises(openai.NotFoundError):
            call(made.id)


def test_native_fields_come_by_extra_body(client: OpenAI) -> None:
    made = client.files.create(
        file=("stars.csv", b"review,stars\na joy,5\na bore,1\n"),
        purpose="fine-tune",
        extra_body={"name": "stars", "columns": {"text": "review", "label": "stars"}, "kind": "labeled_text"},
    )
    told = made.model_dump()
    assert (told["name"], told["columns"], told["num_examples"]) == ("stars", {"text": "review", "label": "stars"}, 2)


def test_files_are_paged_by_after(client: OpenAI) -> None:
    made = [client.files.create(file=(f"{n}.txt", f"text {n}".encode()), purpose="fine-tune").id for n in range(3)]
    first = client.files.list(limit=2)
    assert [file.id for file in first.data] == made[:0:-1]
    assert first.has_more
    assert [file.id for file in client.files.list(limit=2)][:3] == made[::-1], "the client goes on by itself"
    assert [file.id for file in client.files.list(after=made[1], limit=1).data] == [made[0]]
    assert list(client.files.list(purpose="assistants")) == []


@pytest.mark.parametrize(
    ("name", "content", "purpose", "error", "code", "param"),
    [
        ("a.jsonl", b'{"text": 1}\n', "fine-tune", openai.UnprocessableEntityError, "invalid_dataset", "line 1"),
        ("a.txt", b"text", "assistants", openai.BadRequestError, "operation_not_supported", "purpose"),
    ],
)
def test_a_bad_file_is_a_typed_error(
    *,
    client: OpenAI,
    name: str,
    content: bytes,
    purpose: str,
    error: type[openai.APIStatusError],
    code: str,
    param: str,
) -> None:
    before = len(client.files.list().data)
    with pytest.raises(error) as caught:
        client.files.create(file=(name, content), purpose=purpose)  # type: ignore[arg-type]
    assert (caught.value.code, caught.value.param) == (code, param)
    assert len(client.files.list().data) == before


def test_the_client_is_told_what_is_wrong_with_a_file(client: OpenAI) -> None:
    with pytest.raises(openai.UnprocessableEntityError, match="line 1: text must be a string"):
        client.files.create(file=("a.jsonl", b'{"text": 1}\n'), purpose="fine-tune")


def test_what_no_page_gave_is_no_place_to_go_on(client: OpenAI) -> None:
    with pytest.raises(openai.UnprocessableEntityError) as caught:
        client.files.list(after="nowhere")
    assert caught.value.param == "after"


def test_an_upload_is_made_once_for_its_key(client: OpenAI) -> None:
    once = {"Idempotency-Key": "upload-1"}
    made = [client.files.create(file=("once.txt", b"once"), purpose="fine-tune", extra_headers=once) for _ in range(2)]
    assert made[0] == made[1]
