"""`/v1/datasets` over HTTP: the form, its limits, and the answers."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from app.settings import Settings
from tests.app.records.files import csv_of, npz, picture, zipped

CSV = b"review,stars\ngood,5\nbad,1\n"
COLUMNS = json.dumps({"text": "review", "label": "stars"})


def _upload(client: TestClient, data: bytes = CSV, filename: str = "reviews.csv", **form: Any) -> Any:
    return client.post("/v1/datasets", files={"file": (filename, data)}, data=form)


def _leftovers(settings: Settings) -> list[Path]:
    return [path for folder in (settings.scratch_dir, settings.artifacts_dir) for path in folder.rglob("*.*")]


def _locations(answer: Any) -> set[str]:
    return {error["location"] for error in answer.json()["errors"]}


def test_an_upload_answers_where_it_is(client: TestClient, settings: Settings) -> None:
    answer = _upload(client, name="Reviews", columns=COLUMNS)
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert answer.headers["location"] == f"/v1/datasets/{made['id']}"
    assert client.get(answer.headers["location"]).json() == made
    assert (made["name"], made["kind"], made["num_examples"]) == ("Reviews", "labeled_text", 2)
    assert made["profile"] == {"labels": {"1": 1, "5": 1}, "num_labels": 2, "length": {"p50": 3, "p95": 4, "max": 4}}
    assert list(settings.scratch_dir.rglob("*.upload")) == []


def test_the_list_is_newest_first_and_continues(client: TestClient) -> None:
    ids = [_upload(client, columns=COLUMNS).json()["id"] for _ in range(3)]
    page = client.get("/v1/datasets", params={"limit": 2}).json()
    assert [view["id"] for view in page["data"]] == ids[:0:-1]
    rest = client.get("/v1/datasets", params={"limit": 2, "cursor": page["next_cursor"]}).json()
    assert ([view["id"] for view in rest["data"]], rest["next_cursor"]) == (ids[:1], None)


def test_bad_records_answer_422_with_their_lines_and_store_nothing(client: TestClient, settings: Settings) -> None:
    answer = _upload(client, b"text,label\nok,x\nbroken\n")
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_dataset")
    assert answer.json()["errors"] == [{"location": "line 3", "message": "The record has 1 fields; the header has 2."}]
    assert client.get("/v1/datasets").json()["data"] == []
    assert _leftovers(settings) == []


@pytest.mark.parametrize(
    ("form", "location"),
    [
        ({"kind": "pictures"}, "kind"),
        ({"kind": "images"}, "kind"),
        ({"columns": "[]"}, "columns"),
        ({"columns": "{"}, "columns"),
        ({"columns": '{"text": 1}'}, "columns"),
        ({"columns": "[" * 50_000}, "columns"),
        ({"columns": '{"text": "nope"}'}, "columns.text"),
        ({"name": "x" * 201}, "name"),
        ({"name": "   "}, "name"),
        ({"colums": "{}"}, "colums"),
        ({"name": "x" * 70_000}, "name"),
    ],
)
def test_a_bad_field_of_the_form_is_named(client: TestClient, form: dict[str, Any], location: str) -> None:
    answer = _upload(client, **form)
    assert answer.status_code == 422, answer.text
    assert location in _locations(answer)


def test_a_form_without_a_file_or_with_two_is_refused(client: TestClient) -> None:
    assert _locations(client.post("/v1/datasets", files={"other": ("a.csv", CSV)})) == {"other"}
    assert _locations(client.post("/v1/datasets", files=[("file", ("a.csv", CSV)), ("file", ("b.csv", CSV))])) == {
        "file"
    }
    assert client.post("/v1/datasets", files={"name": (None, b"x")}).status_code == 422


@pytest.mark.parametrize(
    ("content_type", "body", "status"),
    [
        ("application/json", b"{}", 415),
        ("multipart/form-data", b"x", 422),
        ("multipart/form-data; boundary=b", b"no boundary at all", 422),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\nx',
            422,
        ),
        ("multipart/form-data; boundary=b", b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--\r\n", 422),
        ("multipart/form-data; boundary=" + "b" * 400, b"x", 422),
        ("multipart/form-data; boundary=b", b"", 422),
    ],
)
def test_a_body_that_is_no_form_is_refused(
    client: TestClient, settings: Settings, content_type: str, body: bytes, status: int
) -> None:
    answer = client.post("/v1/datasets", content=body, headers={"content-type": content_type})
    assert answer.status_code == status, answer.text
    assert _leftovers(settings) == []


def test_a_file_above_the_limit_answers_413(client: TestClient, settings: Settings) -> None:
    answer = _upload(client, b"x" * (settings.max_upload_bytes + 1), "a.txt")
    assert (answer.status_code, answer.json()["code"]) == (413, "payload_too_large")
    assert _leftovers(settings) == []


def test_a_length_that_is_not_told_or_lies_does_not_get_past_the_limit(client: TestClient, settings: Settings) -> None:
    def body() -> Iterator[bytes]:
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\n'
        for _ in range(settings.max_upload_bytes // (1 << 16) + 1):
            yield b"x" * (1 << 16)
        yield b"\r\n--b--\r\n"

    for lie in ({}, {"content-length": "10"}):
        headers = {"content-type": "multipart/form-data; boundary=b"} | lie
        answer = client.post("/v1/datasets", content=body(), headers=headers)
        assert answer.status_code == 413
    told = {"content-type": "multipart/form-data; boundary=b", "content-length": str(1 << 50)}
    assert client.post("/v1/datasets", content=b"", headers=told).status_code == 413
    assert _leftovers(settings) == []


def test_a_name_with_a_path_names_no_file(client: TestClient, settings: Settings, tmp_path: Path) -> None:
    before = {path for path in tmp_path.rglob("*") if "data" not in path.relative_to(tmp_path).parts}
    made = _upload(client, filename="../../../evil.csv", columns=COLUMNS).json()
    assert made["filename"] == "evil.csv"
    assert list(tmp_path.rglob("evil*")) == []
    assert {path for path in tmp_path.rglob("*") if "data" not in path.relative_to(tmp_path).parts} == before


@pytest.mark.parametrize("filename", ["", "noext", "a.exe"])
def test_a_file_without_a_known_suffix_is_refused(client: TestClient, filename: str) -> None:
    assert _upload(client, filename=filename).status_code == 422


def test_previews_show_the_first_records_as_they_were_uploaded(client: TestClient) -> None:
    def preview(data: bytes, filename: str, **form: str) -> Any:
        made = _upload(client, data, filename, **form)
        assert made.status_code == 201, made.text
        return client.get(f"/v1/datasets/{made.json()['id']}/preview", params={"limit": 1}).json()["data"]

    pixels = np.arange(16, dtype=np.uint8).reshape(4, 4)
    assert preview(CSV, "a.csv", columns=COLUMNS) == [{"text": "good", "label": "5"}]
    assert preview(b"abc", "a.txt") == [{"text": "abc"}]
    assert preview(csv_of(["x", "y", "target"], [1, 2, 3]), "a.csv") == [{"features": [1.0, 2.0], "target": 3.0}]
    assert preview(npz(features=np.eye(2), labels=np.array([7, 8])), "a.npz") == [{"features": [1.0, 0.0], "label": 7}]
    (shown,) = preview(zipped({"a/1.png": picture(pixels), "b/2.png": picture(pixels)}), "a.zip")
    assert shown["label"] == "a"
    assert base64.b64decode(shown["image"]).startswith(b"\x89PNG")
    (clipped,) = preview(b"x" * 100_000, "a.txt")
    assert len(clipped["text"]) < 5_000


def test_a_deleted_data_set_is_gone(client: TestClient, settings: Settings) -> None:
    path = _upload(client, columns=COLUMNS).headers["location"]
    assert client.delete(path).status_code == 204
    assert client.get(path).status_code == 404
    assert client.get(f"{path}/preview").status_code == 404
    assert client.delete(path).status_code == 404
    assert [file for file in settings.artifacts_dir.rglob("*") if file.is_file()] == []
