import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from app.contract.checkpoint import FileEntry
from app.contract.errors import Unavailable
from app.contract.inference import ModelReference
from app.contract.model_folder import model_digest
from app.storage import FolderStore, StoredFile
from app.storage.store import unheeding
from worker.cache import Cache
from worker.local_copies import LocalCopies
from worker.serving.errors import ModelCorrupted
from worker.serving.model_files import model_files

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


@pytest.fixture
def copies(store: CountingStore, tmp_path: Path) -> LocalCopies:
    return LocalCopies(store, Cache(tmp_path / "cache"), 10**9)


def test_files_are_fetched_once_and_verified_again(copies: LocalCopies, store: CountingStore, tmp_path: Path) -> None:
    reference = stored(store, tmp_path)
    for _ in range(2):
        with model_files(copies, reference) as folder:
            assert {file.name: file.read_bytes() for file in folder.iterdir()} == {
                path: content + b"m" for path, content in CONTENT.items()
            }
    assert sorted(store.fetched) == sorted(CONTENT)


def test_one_flipped_byte_on_the_local_disk_is_fetched_anew(
    copies: LocalCopies, store: CountingStore, tmp_path: Path
) -> None:
    reference = stored(store, tmp_path)
    with model_files(copies, reference) as folder:
        weights = folder / "model.safetensors"
    damaged = bytearray(weights.read_bytes())
    damaged[1_000] ^= 1
    weights.write_bytes(damaged)
    with model_files(copies, reference) as folder:
        assert (folder / "model.safetensors").read_bytes() == CONTENT["model.safetensors"] + b"m"
    assert store.fetched.count("model.safetensors") == 2


def test_one_flipped_byte_in_the_store_is_refused_and_not_kept(
    copies: LocalCopies, store: CountingStore, tmp_path: Path
) -> None:
    reference = stored(store, tmp_path)
    weights = tmp_path / "artifacts" / "m" / "model" / "model.safetensors"
    damaged = bytearray(weights.read_bytes())
    damaged[1_000] ^= 1
    weights.write_bytes(damaged)
    told = r"model_m is not what was registered: model\.safetensors has changed"
    with pytest.raises(ModelCorrupted, match=told), model_files(copies, reference):
        pass
    assert list((tmp_path / "cache" / "models").iterdir()) == []


def test_a_file_missing_from_the_store_is_named(copies: LocalCopies, store: CountingStore, tmp_path: Path) -> None:
    reference = stored(store, tmp_path)
    store.delete_prefix("m/model/config.json")
    with pytest.raises(ModelCorrupted, match=r"config\.json is missing"), model_files(copies, reference):
        pass


def test_a_digest_that_its_files_do_not_make_is_refused(
    copies: LocalCopies, store: CountingStore, tmp_path: Path
) -> None:
    reference = stored(store, tmp_path).model_copy(update={"digest": "0" * 64})
    with pytest.raises(ModelCorrupted, match="do not make its digest"), model_files(copies, reference):
        pass


def test_a_store_that_fails_is_told_as_that(copies: LocalCopies, store: CountingStore, tmp_path: Path) -> None:
    reference = stored(store, tmp_path)
    (tmp_path / "cache").write_text("in the way")
    with pytest.raises(Unavailable, match="cannot be fetched now"), model_files(copies, reference):
        pass


def test_the_folder_loaded_longest_ago_leaves_a_full_disk_cache(store: CountingStore, tmp_path: Path) -> None:
    size_bytes = sum(len(content) + 1 for content in CONTENT.values())
    copies = LocalCopies(store, Cache(tmp_path / "cache"), 2 * size_bytes)
    folders = []
    for name in "abc":
        with model_files(copies, stored(store, tmp_path, name)) as folder:
            folders.append(folder)
    assert [folder.is_dir() for folder in folders] == [False, True, True]
