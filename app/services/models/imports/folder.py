"""An uploaded archive as the folder that was packed. What is not asked for by name is never unpacked."""

import json
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import Any

from app.contract.model_folder import CONFIG_NAME
from app.records.archive import DAMAGE, open_archive
from app.records.source import Source
from app.records.types import InvalidDataset
from app.services.models.imports.problems import all_refused, refused
from app.services.uploads import IncomingFile, Upload
from app.storage import CHUNK_BYTES

MIB = 1 << 20
#: What is parsed here is small; a tokenizer is parsed elsewhere.
MAX_JSON_BYTES, MAX_TOKENIZER_BYTES = 4 * MIB, 64 * MIB
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
PICKLE_REFUSED = (
    "It may be a pickle, which can run any code when it is read, so it was not read. Leave it out of the archive. "
    "Where there is no model.safetensors beside it, make one: in transformers, "
    'AutoModelForCausalLM.from_pretrained("folder").save_pretrained("converted") '
    "(or the class of the model's task) writes it."
)


class UploadedFolder:
    """Files at the top of the archive, or of the one folder that it holds."""

    def __init__(self, archive: zipfile.ZipFile, entries: Mapping[str, zipfile.ZipInfo]) -> None:
        self._archive = archive
        self._entries = entries

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    def json(self, name: str) -> dict[str, Any]:
        """Raises InvalidRequest where there is no such file, or no JSON object in it."""
        try:
            content = json.loads(self.read(name, MAX_JSON_BYTES), object_pairs_hook=_object)
        except (ValueError, RecursionError) as error:
            raise refused(name, f"This is no JSON: {error}.") from None
        if not isinstance(content, dict):
            raise refused(name, "This is no JSON object.")
        return content

    def read(self, name: str, max_bytes: int) -> bytes:
        """A small file, whole."""
        entry = self._entry(name)
        if entry.file_size > max_bytes:
            raise refused(name, f"It has {entry.file_size:,} bytes; at most {max_bytes:,} are taken.")
        with _damage_refused(name), self._archive.open(entry) as file:
            return file.read()

    def unpack(self, name: str, into: IncomingFile) -> Upload:
        """The CRC that the archive tells is checked on the way."""
        with _damage_refused(name), self._archive.open(self._entry(name)) as file:
            while chunk := file.read(CHUNK_BYTES):
                into.write(chunk)
        return into.finished(name)

    def _entry(self, name: str) -> zipfile.ZipInfo:
        if name not in self._entries:
            raise refused(name, "The archive has no such file.")
        return self._entries[name]


@contextmanager
def uploaded_folder(upload: Upload) -> Iterator[UploadedFolder]:
    """Raises InvalidRequest for what is no zip, for one that is unsafe, and for pickles."""
    if not upload.size_bytes:
        raise refused("file", "The file is empty.")
    with upload.path.open("rb") as file:
        try:
            archive, entries = open_archive(Source(file, ".zip", upload.size_bytes))
        except InvalidDataset as error:
            raise all_refused(error.errors) from None
        with archive:
            yield UploadedFolder(archive, _at_the_top(entries))


def _at_the_top(entries: list[zipfile.ZipInfo]) -> dict[str, zipfile.ZipInfo]:
    """By name. The folder that is meant is the one with config.json, however deep the archive packs it."""
    paths = [PurePosixPath(entry.filename) for entry in entries]
    if pickles := [str(path) for path in paths if path.suffix.lower() in PICKLES]:
        raise refused(pickles[0], PICKLE_REFUSED)
    root = _root(paths)
    found: dict[str, zipfile.ZipInfo] = {}
    for path, entry in zip(paths, entries, strict=True):
        if path.parent == root:
            if path.name in found:
                raise refused(str(path), "The archive holds this file twice.")
            found[path.name] = entry
    return found


def _root(paths: list[PurePosixPath]) -> PurePosixPath:
    roots = {path.parent for path in paths if path.name == CONFIG_NAME}
    if not roots:
        raise refused(CONFIG_NAME, "The archive has no such file. Pack the folder that save_pretrained() writes.")
    depth = min(len(root.parts) for root in roots)
    highest = sorted(str(root) for root in roots if len(root.parts) == depth)
    if len(highest) > 1:
        raise refused(CONFIG_NAME, f"The archive holds several models: {', '.join(highest[:5])}. Pack one.")
    return PurePosixPath(highest[0])


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        raise ValueError("a key is given twice")
    return content


@contextmanager
def _damage_refused(name: str) -> Iterator[None]:
    try:
        yield
    except DAMAGE as error:
        raise refused(name, f"The archive is damaged here: {str(error)[:200]}.") from None
