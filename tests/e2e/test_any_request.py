"""Whatever a client may send: the service answers as its schema says, and never with a fault of its own.

The committed schema makes the requests, right and wrong ones, alone and in chains where one answer feeds the next call.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from app.client.smoke import run_smoke
from app.openapi import SCHEMA_PATH
from tests.e2e.running import RunningService, environment_of, running
from tests.e2e.specs import pretrain, reviews_file, text_file

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

KEY = "0123456789abcdef" * 2
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
#: Of each thing, since some of the requests delete.
COPIES = 4
#: What lists the ids that a parameter takes.
COLLECTIONS = {
    "dataset_id": "datasets",
    "job_id": "jobs",
    "model": "models",
    "key_id": "keys",
    "webhook_id": "webhooks",
}
#: How often a parameter names what is there, or a text of a body does.
IN_PATHS, IN_BODIES = 0.8, 0.1


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """Its requests come faster than any client's; how that is bounded is tested elsewhere."""
    folder = tmp_path_factory.mktemp("any_request")
    with running(folder / "data", PRETUNE_BOOTSTRAP_KEY=KEY) as service:
        yield service


@pytest.fixture(scope="module")
def known(service: RunningService, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """The ids of what a project has, by the name of the parameter that takes them."""
    folder = tmp_path_factory.mktemp("files")
    with service.client(KEY) as client:
        made = run_smoke(client, tell=lambda _: None)
        for _ in range(COPIES):
            client.datasets.upload(reviews_file(folder), kind="labeled_text")
            text = client.datasets.upload(text_file(folder), kind="text")
            client.jobs.create(pretrain(text.id)).cancel()
    with httpx2.Client(base_url=service.url, headers={"Authorization": f"Bearer {KEY}"}, timeout=60) as http:
        archive = http.get(f"/v1/models/{made['language_model']}/archive").content
        for number in range(COPIES):
            form = {"alias": f"copy-{number}"}
            http.post("/v1/models/import", files={"file": ("m.zip", archive)}, data=form).raise_for_status()
            http.post("/v1/webhooks", json={"url": f"https://{number}.invalid/"}).raise_for_status()
        listed = {
            name: [each["id"] for each in http.get(f"/v1/{collection}").json()["data"]]
            for name, collection in COLLECTIONS.items()
        }
    return listed | {"model": [*listed["model"], "copy-0"]}


def test_with_a_key_every_answer_is_foreseen(
    service: RunningService, known: dict[str, list[str]], tmp_path: Path
) -> None:
    """But for the revocation of keys, by which it would lock itself out."""
    options = ("--exclude-operation-id", "revoke_key", "--phases", "coverage,fuzzing,stateful", "--max-examples", "12")
    tried(service, known, tmp_path, "--header", f"Authorization: Bearer {KEY}", *options)


def test_without_a_key_every_answer_is_foreseen(
    service: RunningService, known: dict[str, list[str]], tmp_path: Path
) -> None:
    tried(service, known, tmp_path, "--phases", "fuzzing", "--max-examples", "2")


def tried(service: RunningService, known: dict[str, list[str]], folder: Path, *options: str) -> None:
    (folder / "schemathesis.toml").write_text(configuration(known))
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(folder / "schemathesis.toml"), "run"]
    command += [str(SCHEMA_PATH), "--url", service.url, "--checks", CHECKS, "--seed", "1", "--no-shrink"]
    command += ["--generation-database", "none", "--suppress-health-check", "all", "--warnings", "off"]
    told = subprocess.run(
        [*command, *options],
        cwd=folder,
        env=environment_of({"NO_COLOR": "1"}) | {"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stdout[-20_000:] + told.stderr[-2_000:]
    assert service.process.poll() is None


def configuration(known: dict[str, list[str]]) -> str:
    """TOML, whose values are written as JSON's are."""
    words = known | {"any": sorted({each for values in known.values() for each in values})}
    lines = [f"[dictionaries.{name}]\nvalues = {json.dumps(values)}" for name, values in words.items()]
    bound: dict[str, Any] = {f"path.{name}": (name, IN_PATHS) for name in known}
    lines += ["[parameters]"]
    lines += [f'"{place}" = {{dictionary = "{name}", probability = {often}}}' for place, (name, often) in bound.items()]
    lines += ["[generation.dictionaries]", f'string = {{dictionary = "any", probability = {IN_BODIES}}}']
    return "\n".join(lines) + "\n"
