"""The archive is the model's folder, byte for byte, and is never whole in memory."""

import hashlib
import io
import zipfile
from pathlib import Path

import pytest

from app.contract.checkpoint import FileEntry
from app.contract.errors import ErrorCode, ServiceError
from app.contract.inference import ModelReference
from app.db.session import Database
from app.db.tables import DEFAULT_PROJECT_ID
from app.services.models import Models
from app.services.models.archive import DamagedFile, zipped
from app.settings import Settings
from app.storage import CHUNK_BYTES, FolderStore
from tests.factories import make_model, put

PROJECT = DEFAULT_PROJECT_ID
CARD = "# A model\n"


def download(database: Database, store: FolderStore, ref: str) -> bytes:
    return b"".join(Models(database, store, Settings()).archive(PROJECT, ref).chunks)


def test_an_archive_holds_each_file_of_the_model(database: Database, store: FolderStore) -> None:
    row = make_model(database, store)
    with zipfile.ZipFile(io.BytesIO(download(database, store, row.id))) as archive:
        assert archive.testzip() is None
        assert sorted(archive.namelist()) == ["README.md", "config.json", "model.safetensors", "pretune.json"]
        for entry in row.reference["files"]:
            content = archive.read(entry["path"])
            assert hashlib.sha256(content).hexdigest() == entry["sha256"]


def test_a_model_has_the_same_archive_each_time(database: Database, store: FolderStore) -> None:
    row = make_model(database, store)
    assert download(database, store, row.id) == download(database, store, row.id)


def reference_to(store: FolderStore, content: bytes) -> ModelReference:
    entry = put(store, "default/model/model.safetensors", content)
    return ModelReference(model_id="model_x", digest="d", artifact_prefix="default/model", files=(entry,))


def test_a_large_file_is_sent_in_small_pieces(store: FolderStore) -> None:
    content = bytes(range(256)) * (5 * CHUNK_BYTES // 256)
    pieces = list(zipped(store, reference_to(store, content), CARD))
    assert max(map(len, pieces)) <= CHUNK_BYTES + 1_000
    with zipfile.ZipFile(io.BytesIO(b"".join(pieces))) as archive:
        assert archive.read("model.safetensors") == content


def test_a_file_beyond_four_gibibytes_is_told_as_such(store: FolderStore) -> None:
    """By its header alone: the sizes of such a file stand in 64 bits."""
    reference = reference_to(store, b"small")
    huge = FileEntry(path="model.safetensors", size_bytes=5 << 30, sha256=reference.files[0].sha256)
    first = next(zipped(store, reference.model_copy(update={"files": (huge,)}), CARD))
    version_needed = int.from_bytes(first[4:6], "little")
    assert version_needed == 45


def test_a_damaged_file_breaks_the_download_off(store: FolderStore, tmp_path: Path) -> None:
    reference = reference_to(store, b"as it was written")
    put(store, "default/model/model.safetensors", b"as it is now, once")
    with pytest.raises(DamagedFile, match=r"model\.safetensors"):
        list(zipped(store, reference, CARD))


def test_a_lost_file_is_told_before_anything_is_sent(database: Database, store: FolderStore) -> None:
    row = make_model(database, store)
    store.delete_prefix(f"{row.reference['artifact_prefix']}/model.safetensors")
    with pytest.raises(ServiceError, match=r"has lost model\.safetensors") as caught:
        download(database, store, row.id)
    assert caught.value.code is ErrorCode.MODEL_CORRUPTED
