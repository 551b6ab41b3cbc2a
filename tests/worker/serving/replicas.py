"""Real replicas for tests: the ASGI application under uvicorn, on a port of its own, with a folder store."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn

from app.contract.checkpoint import FileEntry
from app.contract.inference import ModelReference
from app.contract.model_folder import DESCRIPTION_NAME, ModelDescription, model_digest
from app.db import models
from app.db.session import Database, now
from app.db.tables import DEFAULT_PROJECT_ID
from app.settings import Settings
from app.storage import FolderStore
from tests.factories import make_project
from worker.serving.asgi import Application

START_SECONDS = 20


@contextmanager
def running(settings: Settings) -> Iterator[str]:
    """A replica; its address. It has beaten once before the block begins."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        application = Application(settings.model_copy(update={"inference_port": port}))
        config = uvicorn.Config(application, log_level="error", lifespan="on", timeout_graceful_shutdown=2)
        with serving(uvicorn.Server(config), listener):
            yield f"127.0.0.1:{port}"


@contextmanager
def serving(server: uvicorn.Server, listener: socket.socket) -> Iterator[None]:
    """A server in a thread, from its start to its end in order."""
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="uvicorn")
    thread.start()
    try:
        for _ in range(START_SECONDS * 100):
            if server.started or not thread.is_alive():
                break
            thread.join(0.01)
        assert server.started, "the replica did not start"
        yield
    finally:
        server.should_exit = True
        thread.join(START_SECONDS)
        assert not thread.is_alive()


def publish(store: FolderStore, folder: Path, model_id: str) -> ModelReference:
    """Put a model folder into the store, as the supervisor does."""
    prefix = f"default/jobs/job_{model_id}/attempt-1/step-000000001/model"
    entries = []
    for path in sorted(file for file in folder.rglob("*") if file.is_file()):
        name = path.relative_to(folder).as_posix()
        stored = store.put(f"{prefix}/{name}", path)
        entries.append(FileEntry(path=name, size_bytes=stored.size_bytes, sha256=stored.sha256))
    return ModelReference(model_id=model_id, digest=model_digest(entries), artifact_prefix=prefix, files=tuple(entries))


def register(
    database: Database, store: FolderStore, folder: Path, model_id: str, project_id: str = DEFAULT_PROJECT_ID
) -> ModelReference:
    """A model folder as a model of a project, which no job of ours made."""
    description = ModelDescription.model_validate_json((folder / DESCRIPTION_NAME).read_bytes())
    reference = publish(store, folder, model_id)
    make_project(database, project_id)
    with database.transaction() as session:
        models.register(
            session,
            project_id=project_id,
            name=model_id,
            kind=description.kind,
            method=description.method,
            job_id=None,
            checkpoint_step=None,
            parent_model_id=None,
            dataset_id=None,
            reference=reference,
            description=description,
            metrics={"validation_loss": 2.5},
            size_bytes=reference.size_bytes,
            at=now(session),
        )
    return reference
