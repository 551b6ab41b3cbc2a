"""The rule of imports: an archive is judged wholly before anything of it is stored; what it becomes has no job."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Annotated

from pydantic import StringConstraints

from app.contract.base import Contract, PlainText
from app.contract.checkpoint import FileEntry
from app.contract.errors import ErrorCode, FieldError, InvalidRequest, Unavailable
from app.contract.inference import ModelReference
from app.contract.layout import model_prefix
from app.contract.model_folder import (
    CONFIG_NAME,
    DESCRIPTION_NAME,
    TOKENIZER_NAME,
    WEIGHTS_NAME,
    ModelDescription,
    model_digest,
)
from app.contract.tensors import body_prefix, stock_tensors
from app.db import aliases, models
from app.db.ids import new_id
from app.db.session import Database, now
from app.services.files import remove_files
from app.services.idempotency import Record
from app.services.models.aliases import check_alias
from app.services.models.imports.description import Described, described
from app.services.models.imports.folder import MAX_TOKENIZER_BYTES, UploadedFolder, uploaded_folder
from app.services.models.imports.problems import refused
from app.services.models.imports.tokenizer import (
    NO_TOKENIZER,
    SPECIAL_TOKENS_NAME,
    TOKENIZER_CONFIG_NAME,
    imported_tokenizer,
)
from app.services.models.imports.weights import StoredTensor, chosen, stored_tensors, write_weights
from app.services.models.views import ModelView, views_of
from app.services.quotas import check_storage
from app.services.uploads import IncomingFile, Upload, uploads_folder
from app.settings import Settings
from app.storage import ArtifactStore

INDEX_NAME = "model.safetensors.index.json"
MAX_SHARDS = 1_000


class ImportForm(Contract):
    """What a user says of a model beside the archive."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=200, strip_whitespace=True)] | None = None
    alias: PlainText | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """Whose model it is to be, and by which names."""

    project_id: str
    name: str | None
    alias: str | None


@dataclass(frozen=True, slots=True)
class Judged:
    """A model that can be registered; `files` are those that it will have, by name."""

    description: ModelDescription
    files: dict[str, Upload]


@dataclass(frozen=True, slots=True)
class Imports:
    database: Database
    store: ArtifactStore
    settings: Settings

    def create(
        self, project_id: str, upload: Upload, form: ImportForm, record: Record[ModelView] | None = None
    ) -> ModelView:
        """Judge the archive, then store its files, then make the row: whatever fails, nothing is left.

        Raises InvalidRequest (`invalid_model`) with the located errors. `record` as in `Jobs.submit`.
        """
        if form.alias is not None:
            check_alias(form.alias)
        asked = Asked(project_id, form.name or PurePosixPath(upload.filename).stem[:200] or None, form.alias)
        with ExitStack() as stack, uploaded_folder(upload) as folder:
            judged = self._judged(folder, stack)
            model_id = new_id("model")
            prefix = model_prefix(project_id, model_id)
            with self._stored(prefix, judged.files):
                return self._registered(asked, judged.description, _reference(model_id, prefix, judged), record)

    def _judged(self, folder: UploadedFolder, stack: ExitStack) -> Judged:
        """Its files lie in scratch until `stack` is left."""
        told = described(folder)
        if told.description.num_parameters > self.settings.max_parameters:
            raise _too_large(told.description.num_parameters, self.settings.max_parameters)
        if TOKENIZER_NAME not in folder:
            raise refused(TOKENIZER_NAME, NO_TOKENIZER)
        description = told.description.model_dump_json(indent=2) + "\n"
        files = {
            CONFIG_NAME: self._written(CONFIG_NAME, _json(folder, CONFIG_NAME), stack),
            DESCRIPTION_NAME: self._written(DESCRIPTION_NAME, description, stack),
            WEIGHTS_NAME: self._weights(folder, told.description, stack),
            TOKENIZER_NAME: self._written(TOKENIZER_NAME, self._tokenizer(folder, told, stack), stack),
        }
        for name in (TOKENIZER_CONFIG_NAME, SPECIAL_TOKENS_NAME):
            if name in folder:
                files[name] = self._written(name, _json(folder, name), stack)
        return Judged(told.description, files)

    def _tokenizer(self, folder: UploadedFolder, told: Described, stack: ExitStack) -> str:
        incoming = self._incoming(stack)
        incoming.write(folder.read(TOKENIZER_NAME, MAX_TOKENIZER_BYTES))
        return imported_tokenizer(folder, incoming.finished(TOKENIZER_NAME).path, told)

    def _weights(self, folder: UploadedFolder, description: ModelDescription, stack: ExitStack) -> Upload:
        stored: list[StoredTensor] = []
        for name in _weight_files(folder):
            stored += stored_tensors(folder.unpack(name, self._incoming(stack)).path, name)
        tensors = chosen(stored, stock_tensors(description), body_prefix(description.body))
        written = self._incoming(stack)
        write_weights(tensors, written)
        return written.finished(WEIGHTS_NAME)

    def _written(self, name: str, content: str, stack: ExitStack) -> Upload:
        incoming = self._incoming(stack)
        incoming.write(content.encode())
        return incoming.finished(name)

    def _incoming(self, stack: ExitStack) -> IncomingFile:
        return stack.enter_context(IncomingFile(uploads_folder(self.settings), self.settings.max_upload_bytes))

    @contextmanager
    def _stored(self, prefix: str, files: dict[str, Upload]) -> Iterator[None]:
        """The files are in the store while the block runs, and after it unless it raised."""
        try:
            for name, file in files.items():
                self.store.put(f"{prefix}/{name}", file.path)
            yield
        except OSError as error:
            remove_files(self.store, [prefix])
            raise Unavailable(f"The model cannot be stored now: {error.strerror}.") from error
        except BaseException:
            remove_files(self.store, [prefix])
            raise

    def _registered(
        self,
        asked: Asked,
        description: ModelDescription,
        reference: ModelReference,
        record: Record[ModelView] | None,
    ) -> ModelView:
        size_bytes = sum(entry.size_bytes for entry in reference.files)
        with self.database.transaction() as session:
            check_storage(session, asked.project_id, size_bytes, self.settings.max_stored_bytes)
            row = models.register(
                session,
                project_id=asked.project_id,
                name=asked.name,
                kind=description.kind,
                method=description.method,
                job_id=None,
                checkpoint_step=None,
                parent_model_id=None,
                dataset_id=None,
                reference=reference,
                description=description,
                metrics={},
                size_bytes=size_bytes,
                at=now(session),
            )
            if asked.alias is not None:
                aliases.put(session, asked.project_id, asked.alias, row.id, now(session))
            [view] = views_of(session, [row], self.settings)
            if record is not None:
                record(session, view)
            return view


def _weight_files(folder: UploadedFolder) -> list[str]:
    """The one file, or the parts that an index tells."""
    if WEIGHTS_NAME in folder:
        return [WEIGHTS_NAME]
    if INDEX_NAME not in folder:
        raise refused(WEIGHTS_NAME, f"The archive has no such file, nor {INDEX_NAME} with the parts that it tells.")
    told = folder.json(INDEX_NAME).get("weight_map")
    names = [*told.values()] if isinstance(told, dict) else []
    if not names or not all(isinstance(name, str) for name in names) or len({*names}) > MAX_SHARDS:
        raise refused(
            f"{INDEX_NAME}: weight_map", f"It must tell the file of each tensor, {MAX_SHARDS:,} files at most."
        )
    return sorted({*names})


def _reference(model_id: str, prefix: str, judged: Judged) -> ModelReference:
    files = tuple(
        FileEntry(path=name, size_bytes=file.size_bytes, sha256=file.sha256)
        for name, file in sorted(judged.files.items())
    )
    return ModelReference(model_id=model_id, digest=model_digest(files), artifact_prefix=prefix, files=files)


def _json(folder: UploadedFolder, name: str) -> str:
    return json.dumps(folder.json(name), indent=2) + "\n"


def _too_large(num_parameters: int, limit: int) -> InvalidRequest:
    message = f"The model has {num_parameters:,} parameters; the limit is {limit:,}."
    return InvalidRequest(message, code=ErrorCode.TOO_LARGE, errors=[FieldError(location=CONFIG_NAME, message=message)])
