"""The blocks of the README and of other documents, run as they stand, but for the address."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from pydoc_data.topics import topics

import pytest

from app.embedded.background import stop
from app.embedded.lock import holder_of
from pretune import Client
from tests.e2e.running import STOP_SECONDS, RunningService, environment_of
from tests.e2e.specs import LONG, start_job, wait_for_checkpoint
from tests.imports import stock
from tests.support.documents import ROOT, Block, runnable_blocks
from tests.support.waiting import wait_until

INTERPRETERS = {"sh": ["bash", "-euo", "pipefail", "-c"], "python": [sys.executable, "-c"]}
SECONDS = 120.0
#: Whoever reads may look at a refusal; here it is a mistake of the document.
REFUSALS_FAIL = 'curl() { command curl --fail-with-body "$@"; }\n'
#: As a receiver of a webhook has them.
RECEIVED = """
from datetime import UTC, datetime
from standardwebhooks import Webhook
secret, request_body, at = "whsec_" + "c2VjcmV0" * 4, '{"type": "job.succeeded"}', datetime.now(UTC)
request_headers = {"webhook-id": "msg_1", "webhook-timestamp": str(int(at.timestamp()))}
request_headers["webhook-signature"] = Webhook(secret).sign("msg_1", at, request_body)
"""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def test_the_walk_through(sqlite_service: RunningService, tmp_path: Path) -> None:
    blocks = runnable_blocks("README.md")
    assert [block.language for block in blocks] == ["sh", "python", "sh", "python"]
    shell, python, _, chat = (run(block, sqlite_service.url, tmp_path) for block in blocks)
    assert '"status":"succeeded"' in shell.replace(" ", "")
    for answer in ('"finish_reason"', '"embeddings"', '"scores"', '"job_id"'):
        assert answer in shell, answer
    assert '"aliases":["statements"]' in shell
    assert '"log_likelihood"' in shell
    assert (tmp_path / "model.zip").read_bytes().startswith(b"PK")
    assert "train_loss" in python
    assert chat == "Lima\n"


def test_the_document_of_the_client(sqlite_service: RunningService, tmp_path: Path) -> None:
    (tmp_path / "manual.txt").write_text("\n".join(topics.values())[:40_000])
    (tmp_path / "reviews.csv").write_text("review,stars\n" + "a wonderful film,5\na dull film,1\n" * 20)
    told = [run(block, sqlite_service.url, tmp_path) for block in runnable_blocks("python-client.md")]
    assert "'label': '" in told[0]
    assert "succeeded" in told[0]
    assert told[1].count("'") == 4, "a label for each of two texts"


def test_the_document_of_sweeps(sqlite_service: RunningService, tmp_path: Path) -> None:
    python, shell = (run(block, sqlite_service.url, tmp_path) for block in runnable_blocks("sweeps.md"))
    assert "succeeded {'training.optimizer.learning_rate': " in python
    assert "4 of 4 trials have ended." in python
    for told in ("sums", "complete", "deviation", "number,state,mean,standard_deviation,step,training.optimizer"):
        assert told in shell, told


def test_the_document_of_evaluations(sqlite_service: RunningService, tmp_path: Path) -> None:
    (tmp_path / "manual.txt").write_text("\n".join(topics.values())[:40_000])
    for name, count in (("reviews.csv", 40), ("held-out.csv", 60)):
        rows = "".join(f"a wonderful film of {n} acts,5\na dull film of {n} acts,1\n" for n in range(count))
        (tmp_path / name).write_text("review,stars\n" + rows)
    python, shell = (run(block, sqlite_service.url, tmp_path) for block in runnable_blocks("evaluation.md"))
    for told in ("accuracy: ", "calibration_error: ", "On 120 examples the accuracy of model_"):
        assert told in python, told
    for told in ("precision", "120 examples", "better", ", p "):
        assert told in shell, told
    assert (tmp_path / "units.npz").read_bytes().startswith(b"PK")


def test_the_tutorial_and_what_goes_on_from_it(sqlite_service: RunningService, tmp_path: Path) -> None:
    """In one terminal, as a reader has them."""
    documents = ("tutorial.md", "how-to.md", "batch-predict.md")
    told = run(
        in_one_shell([block for name in documents for block in runnable_blocks(name)]), sqlite_service.url, tmp_path
    )
    assert told.count('{"label": "5"') >= 1
    assert '"label":"1"' in told.replace(" ", "")
    assert "exit code 4" in told
    assert "# Overfitting" in told
    assert "model.safetensors" in told
    assert 'pretune_queue_oldest_job_age_seconds{queue="cpu"}' in told
    assert "/errors/validation_failed" in told
    assert '"kind":"batch_predict"' in told.replace(" ", "")


def test_the_document_of_the_openai_client(sqlite_service: RunningService, tmp_path: Path) -> None:
    """Its second block goes on with the job of the first, in one program."""
    (tmp_path / "manual.txt").write_text("\n".join(topics.values())[:40_000])
    blocks = runnable_blocks("openai.md")
    told = run(Block("python", "".join(block.code for block in blocks)), sqlite_service.url, tmp_path)
    assert told.rstrip().endswith("Lima")


def test_the_document_of_imports(sqlite_service: RunningService, tmp_path: Path) -> None:
    """With a small BERT of random weights: the one that is named is fetched from the internet."""
    stock.bert(tmp_path / "small")
    [block] = runnable_blocks("import.md")
    assert "'bert-base-uncased'" in block.code
    run(refusing(block._replace(code=block.code.replace("bert-base-uncased", "small"))), sqlite_service.url, tmp_path)
    with sqlite_service.client() as client:
        assert client.models.predict("bert", ["The [MASK] is executed."])


def test_the_document_of_webhooks(sqlite_service: RunningService, tmp_path: Path) -> None:
    asked, verified = runnable_blocks("webhooks.md")
    told = run(refusing(asked), sqlite_service.url, tmp_path)
    assert '"url":"https://hooks.yourcompany.example/pretune"' in told.replace(" ", "")
    run(
        Block("python", f"{RECEIVED}{verified.code}assert notice['type'] == 'job.succeeded'"),
        sqlite_service.url,
        tmp_path,
    )


def test_the_runbook(sqlite_service: RunningService, tmp_path: Path) -> None:
    """Its blocks are for one trouble each: a job is brought into all of them."""
    (tmp_path / "pretune-data").symlink_to(sqlite_service.data_dir)
    look, retry, make_room, cancel, promote = map(refusing, runnable_blocks("runbook.md"))
    with sqlite_service.client() as client:
        job = start_job(client, tmp_path, **LONG)
        wait_for_checkpoint(job)
        [checkpoint, *_] = job.checkpoints()

        def told_by(block: Block) -> str:
            return run(block, sqlite_service.url, tmp_path, JOB=job.id, STEP=str(checkpoint.step)).replace(" ", "")

        assert '"broker":"ok"' in told_by(look)
        assert '"aliases":[]' in told_by(promote)
        told_by(cancel)
        wait_until(lambda: job.refresh().status == "cancelled", SECONDS, "it was cancelled")
        assert '"status":"queued"' in told_by(retry)
        told_by(cancel)
        wait_until(lambda: job.refresh().status == "cancelled", SECONDS, "it was cancelled again")
        assert '"freed_bytes":' in told_by(make_room)
        assert job.id not in {each.id for each in client.jobs.list()}


def test_the_document_of_backups(sqlite_service: RunningService, tmp_path: Path) -> None:
    """Its last line starts a service, on what was restored."""
    [block] = runnable_blocks("backup.md")
    restored = tmp_path / "restored"
    environment = environment_of({"PRETUNE_PORT": "0", "PRETUNE_DATA_DIR": str(sqlite_service.data_dir)})
    with sqlite_service.client() as client:
        expected = [model.id for model in client.models.list()]
    with subprocess.Popen(command_of(block), cwd=tmp_path, env=with_our_programs(environment)) as terminal:

        def address() -> str | None:
            assert terminal.poll() is None
            holder = holder_of(restored)
            return holder.url if holder else None

        with Client(wait_until(address, SECONDS, "the restored service is up")) as client:
            assert [model.id for model in client.models.list()] == expected
        stop(restored, STOP_SECONDS)
        assert terminal.wait(STOP_SECONDS) == 0


def in_one_shell(blocks: Sequence[Block]) -> Block:
    return Block("sh", "".join(block.code if block.language == "sh" else from_a_shell(block.code) for block in blocks))


def from_a_shell(python: str) -> str:
    return f"python - <<'END_OF_PYTHON'\n{python}END_OF_PYTHON\n"


def refusing(block: Block) -> Block:
    return block._replace(code=f"{REFUSALS_FAIL}{block.code}")


def run(block: Block, url: str, folder: Path, **variables: str) -> str:
    """What it writes to the standard output."""
    here = block._replace(code=re.sub(r"(http://)?(127\.0\.0\.1|localhost):8080", url, block.code))
    environment = with_our_programs(os.environ | {"PRETUNE_URL": url, **variables})
    done = subprocess.run(command_of(here), cwd=folder, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout


def command_of(block: Block) -> list[str]:
    return [*INTERPRETERS[block.language], block.code]


def with_our_programs(environment: Mapping[str, str]) -> dict[str, str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    return {**environment, "PYTHONPATH": str(ROOT), "PATH": path}
