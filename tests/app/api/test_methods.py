"""`/v1/methods` tells exactly what jobs take."""

import json
from typing import Any

import pytest
from starlette.testclient import TestClient

from app.contract.compatibility import METHOD_TRAITS
from app.contract.specs.methods import TRAINING_DEFAULTS

pytestmark = pytest.mark.databases("sqlite")  # the database is not the subject

KEYS = sorted(METHOD_TRAITS)


@pytest.fixture
def methods(client: TestClient) -> dict[tuple[str, str], dict[str, Any]]:
    return {(view["kind"], view["type"]): view for view in client.get("/v1/methods").json()["data"]}


def test_every_method_is_listed(methods: dict[tuple[str, str], dict[str, Any]]) -> None:
    assert sorted(methods) == KEYS


def test_a_pretraining_tells_its_architectures_data_and_defaults(
    methods: dict[tuple[str, str], dict[str, Any]],
) -> None:
    autoencoder = methods["pretrain", "autoencoder"]
    assert [each["type"] for each in autoencoder["architectures"]] == ["mlp", "conv"]
    assert autoencoder["architectures"][1]["inputs"] == ["image"]
    assert autoencoder["architectures"][0]["defaults"]["hidden_widths"] == [128, 64]
    assert autoencoder["dataset_kinds"] == {"features": "vectors", "image": "images"}
    assert autoencoder["augmentations"] == {"features": [], "image": ["crop_area", "shift_pixels"]}
    assert autoencoder["parents"] is None
    assert autoencoder["defaults"]["method"]["code_size"] == 32


def test_a_fine_tune_tells_the_parents_that_fit(methods: dict[tuple[str, str], dict[str, Any]]) -> None:
    regression = methods["finetune", "regression"]
    assert regression["architectures"] == []
    assert set(regression["parents"]["inputs"]) == {"text", "features"}
    assert regression["defaults"]["strategy"] == {"type": "full", "layer_learning_rate_decay": 1.0}
    assert regression["parents"]["methods"] is None
    assert methods["finetune", "gan"]["parents"]["methods"] == ["gan"]


def default_optimizer(key: tuple[str, str]) -> dict[str, Any]:
    """As JSON tells it."""
    optimizer: dict[str, Any] = json.loads(json.dumps(TRAINING_DEFAULTS[key]["optimizer"]))
    return optimizer


@pytest.mark.parametrize("key", KEYS)
def test_the_defaults_are_those_of_the_method(
    methods: dict[tuple[str, str], dict[str, Any]], key: tuple[str, str]
) -> None:
    told = methods[key]["defaults"]["training"]["optimizer"]
    assert told == told | default_optimizer(key)


@pytest.mark.parametrize("key", KEYS)
def test_the_schema_is_that_of_a_whole_job_with_the_method(
    client: TestClient, methods: dict[tuple[str, str], dict[str, Any]], key: tuple[str, str]
) -> None:
    answer = client.get(methods[key]["schema_url"])
    assert answer.status_code == 200
    schema = answer.json()
    assert {"kind", "dataset", "method"} <= set(schema["required"])
    assert ("parent" in schema["required"]) == (key[0] == "finetune")
    method = schema["$defs"][schema["properties"]["method"]["$ref"].rpartition("/")[2]]
    assert method["properties"]["type"]["const"] == key[1]
    told = schema["properties"]["training"]["default"]["optimizer"]
    assert told == told | default_optimizer(key)


def test_a_method_that_is_none_is_404_and_told_what_there_is(client: TestClient) -> None:
    answer = client.get("/v1/methods/pretrain/telepathy/schema")
    assert answer.status_code == 404
    assert "pretrain/autoencoder" in answer.json()["detail"]
