"""`client.models`, and what every resource shares: keys, errors, request ids."""

import openai
import pytest
from openai import OpenAI

from app.contract.job import JobStatus
from app.contract.scopes import Scope
from app.db.session import Database
from app.services.keys import Keys
from app.services.models import Models
from app.settings import Settings
from app.storage import FolderStore
from tests.factories import language_model_spec, make_dataset, make_job, make_model
from tests.openai.conftest import PROJECT


def test_models_are_listed_and_found_by_id_and_alias(
    client: OpenAI, database: Database, store: FolderStore, language_model: str
) -> None:
    Models(database, store, Settings()).put_alias(PROJECT, language_model, "writer")
    assert language_model in [model.id for model in client.models.list()]
    for ref in (language_model, "writer"):
        found = client.models.retrieve(ref)
        assert (found.id, found.object, found.owned_by) == (language_model, "model", PROJECT)
        assert found.created > 1_700_000_000
        assert found.model_dump()["method"] == "causal_language_model"
        assert found.model_dump()["aliases"] == ["writer"]


@pytest.mark.parametrize("ref", ["model_nowhere", "someone/model", "models/with/more"])
def test_an_unknown_model_is_a_typed_error(client: OpenAI, ref: str) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve(ref)
    assert caught.value.code == "not_found"
    assert caught.value.type == "invalid_request_error"
    assert ref in caught.value.message
    assert caught.value.request_id


def test_a_key_without_the_scope_is_a_typed_error(client: OpenAI, database: Database, language_model: str) -> None:
    asks_only = client.with_options(api_key=Keys(database).create(PROJECT, scopes=[Scope.PREDICT]).text, max_retries=0)
    with pytest.raises(openai.PermissionDeniedError, match="needs read") as caught:
        asks_only.models.retrieve(language_model)
    assert caught.value.code == "insufficient_scope"
    with pytest.raises(openai.PermissionDeniedError, match="needs write"):
        asks_only.models.delete(language_model)
    with pytest.raises(openai.NotFoundError):
        asks_only.completions.create(model="none", prompt="x")


def test_a_model_is_deleted_once(client: OpenAI, database: Database, store: FolderStore) -> None:
    dataset = make_dataset(database, project_id=PROJECT)
    job = make_job(database, status=JobStatus.SUCCEEDED, spec=language_model_spec(dataset.id), project_id=PROJECT)
    model = make_model(database, store, job=job)
    assert client.models.delete(model.id).to_dict() == {"id": model.id, "object": "model", "deleted": True}
    with pytest.raises(openai.NotFoundError):
        client.models.delete(model.id)


def test_a_conflict_that_lasts_is_sent_once(
    client: OpenAI, database: Database, store: FolderStore, language_model: str
) -> None:
    Models(database, store, Settings()).put_alias(PROJECT, language_model, "kept")
    with pytest.raises(openai.ConflictError) as caught:
        client.models.delete(language_model)
    assert caught.value.code == "resource_in_use"
    assert caught.value.response.headers["x-should-retry"] == "false"
    assert caught.value.response.request.headers["x-stainless-retry-count"] == "0"


def test_a_wrong_key_is_a_typed_error(client: OpenAI) -> None:
    with pytest.raises(openai.AuthenticationError) as caught:
        client.with_options(api_key="pt_wrong").models.list()
    assert caught.value.code == "unauthenticated"
    assert caught.value.type == "authentication_error"


def test_what_is_not_there_is_a_typed_error(client: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.batches.list()
    assert caught.value.code == "not_found"
    assert "/openai/v1/batches" in caught.value.message
