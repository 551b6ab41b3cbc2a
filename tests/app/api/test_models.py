"""`/v1/models` over HTTP: status codes, headers and shapes. The rules themselves are tested with the service."""

import io
import zipfile

import httpx2
import pytest

from app.contract.job import JobStatus
from app.db.session import Database
from app.db.tables import ModelRow
from app.storage import FolderStore
from tests.factories import make_job, make_model


@pytest.fixture
def model(database: Database, store: FolderStore) -> ModelRow:
    return make_model(database, store, name="tiny")


def test_a_model_is_viewed_by_id_and_by_alias(client: httpx2.Client, model: ModelRow) -> None:
    named = client.put(f"/v1/models/{model.id}/aliases/tiny@production")
    assert (named.status_code, named.json()["aliases"]) == (200, ["tiny@production"])
    by_alias, by_id = (client.get(f"/v1/models/{ref}").json() for ref in ("tiny@production", model.id))
    assert by_alias == by_id
    assert set(by_id) >= {"id", "name", "job_id", "kind", "method", "digest", "metrics", "labels", "num_parameters"}
    assert by_id["input"] == {"kind": "text", "shape": None, "context_length": 16}


def test_an_alias_is_taken_away(client: httpx2.Client, model: ModelRow) -> None:
    client.put(f"/v1/models/{model.id}/aliases/prod")
    assert client.delete(f"/v1/models/{model.id}/aliases/prod").status_code == 204
    assert client.delete(f"/v1/models/{model.id}/aliases/prod").status_code == 404
    assert client.get("/v1/models/prod").status_code == 404


@pytest.mark.parametrize("alias", ["model_1", "job_x", "-a", "a b", "ä", "a" * 201, "a%00b", "a%0A"])
def test_an_alias_that_could_be_taken_for_something_else_is_refused(
    client: httpx2.Client, model: ModelRow, alias: str
) -> None:
    assert client.put(f"/v1/models/{model.id}/aliases/{alias}").status_code == 422


def test_models_are_listed_and_filtered(client: httpx2.Client, model: ModelRow) -> None:
    def found(query: str) -> list[str]:
        return [view["id"] for view in client.get(f"/v1/models?{query}").json()["data"]]

    assert found("") == found(f"job={model.job_id}&name=tiny&method=causal_language_model") == [model.id]
    assert found("name=other") == []
    assert client.get("/v1/models?cursor=x").status_code == 422


def test_lineage_is_a_list(client: httpx2.Client, model: ModelRow) -> None:
    assert client.get(f"/v1/models/{model.id}/lineage").json() == {
        "data": [
            {
                "model_id": model.id,
                "job_id": model.job_id,
                "dataset_id": model.dataset_id,
                "method": "causal_language_model",
            }
        ]
    }


def test_an_archive_is_a_zip_to_be_saved(client: httpx2.Client, model: ModelRow) -> None:
    answer = client.get(f"/v1/models/{model.id}/archive")
    assert answer.headers["Content-Type"] == "application/zip"
    assert answer.headers["Content-Disposition"].endswith(f"{model.id}.zip")
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert "model.safetensors" in archive.namelist()


def test_a_model_in_use_is_not_deleted(client: httpx2.Client, model: ModelRow) -> None:
    client.put(f"/v1/models/{model.id}/aliases/prod")
    answer = client.delete(f"/v1/models/{model.id}")
    assert (answer.status_code, answer.json()["code"]) == (409, "resource_in_use")
    client.delete(f"/v1/models/{model.id}/aliases/prod")
    assert client.delete(f"/v1/models/{model.id}").status_code == 204
    assert client.get(f"/v1/models/{model.id}").status_code == 404


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        ("GET", "/lineage"),
        ("GET", "/archive"),
        ("PUT", "/aliases/a"),
        ("DELETE", "/aliases/a"),
        ("DELETE", ""),
    ],
)
def test_a_model_that_is_not_there_is_404_everywhere(
    client: httpx2.Client, database: Database, store: FolderStore, method: str, path: str
) -> None:
    foreign = make_model(database, store, job=make_job(database, status=JobStatus.SUCCEEDED, project_id="other"))
    for ref in ("model_" + "0" * 32, foreign.id, "none"):
        answer = client.request(method, f"/v1/models/{ref}{path}")
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
