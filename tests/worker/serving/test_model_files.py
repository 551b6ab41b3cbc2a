import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from app.contract.checkpoint import FileEntry
from app.contract.inference import ModelReference
from app.contract.model_folder import model_digest
from app.storage import FolderStore, StoredFile
from app.storage.store import unheeding
from worker.serving.errors import ModelCorrupted
from worker.serving.model_files import ModelFiles

CONTENT = {"config.json": b"{}", "model.safetensors": bytes(range(256)) * 100}


class CountingStore(FolderStore):
    """The real store; it counts what is fetched."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.fetched: list[str] = []

    def fetch(self, key: str, destination: Path, heed: Callable[[], None] = unheeding) -> StoredFile:
        self.fetched.append(Path(key).name)
        return super().fetch(key, destination, heed)


@pytest.fixture
def store(tmp_path: Path) -> CountingStore:
    return CountingStore(tmp_path / "artifacts")


def stored(store: FolderStore, scratch: Path, name: str = "m") -> ModelReference:
    entries = []
    for path, common in CONTENT.items():
        content = common + name.encode()
        source = scratch / "source"
        source.write_bytes(content)
        store.put(f"{name}/model/{path}", source)
        entries.append(FileEntry(path=path, size_bytes=len(content), sha256=hashlib.sha256(content).hexdigest()))
    return ModelReference(
        model_id=f"model_{name}", digest=model_digest(entries), artifact_prefix=f"{name}/model", files=tuple(entries)
    )


def test_files_are_fetched_once_and_verified_again(store: CountingStore, tmp_path: Path) -> None:
    reference = stored(store, tmp_path)
    files = ModelFiles(store, tmp_path / "cache", 10**9)
    folder = files.bring(reference)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == {
        path: content + b"m" for path, content in CONTENT.items()
    }
    assert files.bring(reference) == folder
    assert sorted(store.fetched) == sorted(CONTENT)


def test_one_flipped_byte_on_the_local_disk_is_fetched_anew(store: CountingStore, tmp_path: Path) -> None:
    reference = stored(store, tmp_path)
    files = ModelFiles(store, tmp_path / "cache", 10**9)
    weights = files.bring(reference) / "model.safetensors"
    damaged = bytearray(weights.read_bytes())
    damaged[1_000] ^= 1
    weights.write_bytes(damaged)
    assert (files.bring(reference) / "model.safetensors").read_bytes() == CONTENT["model.safetensors"] + b"m"
    assert store.fetched.count("model.safetensors") == 2


def test_one_flipped_byte_in_the_store_is_refused_and_not_kept(store: CountingStore, tmp_path: Path) -> None:
    reference = stored(store, tmp_path)
    weights = tmp_path / "artifacts" / "m" / "model" / "model.safetensors"
    damaged = bytearray(weights.read_bytes())
    damaged[1_000] ^= 1
    weights.write_bytes(damaged)
    with pytest.raises(ModelCorrupted, match=r"model\.safetensors of model_m is not what was registered"):
        ModelFiles(store, tmp_path / "cache", 10**9).bring(reference)
    assert not (tmp_path / "cache" / reference.digest / "model.safetensors").exists()


def test_a_file_missing_from_the_store_is_named(store: CountingStore, tmp_path: Path) -> None:
    reference = stored(store, tmp_path)
    store.delete_prefix("m/model/config.json")
    with pytest.raises(ModelCorrupted, match=r"config\.json of model_m is missing"):
        ModelFiles(store, tmp_path / "cache", 10**9).bring(reference)


def test_a_digest_that_its_files_do_not_make_is_refused(store: CountingStore, tmp_path: Path) -> None:
    reference = stored(store, tmp_path).model_copy(update={"digest": "0" * 64})
    with pytest.raises(ModelCorrupted, match="do not make its digest"):
        ModelFiles(store, tmp_path / "cache", 10**9).bring(reference)


def test_the_folder_loaded_longest_ago_leaves_a_full_disk_cache(store: CountingStore, tmp_path: Path) -> None:
    size_bytes = sum(len(content) + 1 for content in CONTENT.values())
    files = ModelFiles(store, tmp_path / "cache", 2 * size_bytes)
    folders = [files.bring(stored(store, tmp_path, name)) for name in "abc"]
    assert [folder.is_dir() for folder in folders] == [False, True, True]
