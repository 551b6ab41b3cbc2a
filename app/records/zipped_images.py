"""Images of a .zip as blocks: PNG and JPEG files, the folder of each its label."""

import zipfile
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.records import fields
from app.records.archive import damage_refused, open_archive, place
from app.records.blocks import Block, batched
from app.records.images import decode_image
from app.records.limits import MAX_RECORD_BYTES, MIB
from app.records.problems import BadValue, Problems, refusal
from app.records.source import Source
from app.records.types import DatasetKind


class ZippedImages:
    """PNG and JPEG files, all of one size and mode class. The folder of each is its label."""

    def __init__(self, source: Source) -> None:
        self._archive, entries = open_archive(source)
        self._entries = [entry for entry in entries if not _is_clutter(entry.filename)]
        if not self._entries:
            raise refusal("file", "The archive holds no pictures.")
        self._labels = [PurePosixPath(entry.filename).parent.name for entry in self._entries]

    def candidates(self) -> Sequence[DatasetKind]:
        """The kinds that the folders allow: in one folder, its name may be a label or mean nothing."""
        if not any(self._labels):
            return [DatasetKind.IMAGES]
        one_folder = len(set(self._labels)) == 1
        return [DatasetKind.LABELED_IMAGES, DatasetKind.IMAGES] if one_folder else [DatasetKind.LABELED_IMAGES]

    def blocks(self, labeled: bool, problems: Problems) -> Iterator[Block]:
        for rows in batched(self._pictures(labeled, problems), lambda row: row[0].nbytes):
            pictures, labels = zip(*rows, strict=True)
            yield Block(np.stack(pictures), list(labels) if labeled else None)

    def _pictures(self, labeled: bool, problems: Problems) -> Iterator[tuple[NDArray[np.uint8], Any]]:
        same_shape = _SameShape()
        for entry, label in zip(self._entries, self._labels, strict=True):
            try:
                picture = same_shape(decode_image(self._bytes(entry)), place(entry))
                yield picture, fields.label(_folder(label)) if labeled else None
            except BadValue as error:
                problems.add(place(entry), error)

    def _bytes(self, entry: zipfile.ZipInfo) -> bytes:
        if entry.file_size > MAX_RECORD_BYTES:
            raise BadValue(f"The picture is larger than {MAX_RECORD_BYTES // MIB} MiB.")
        with damage_refused(place(entry)), self._archive.open(entry) as stream:
            return stream.read()


def _folder(label: str) -> str:
    if not label:
        raise BadValue("The picture lies in no folder, so it has no label.")
    return label


def _is_clutter(name: str) -> bool:
    """What desktop systems add to archives by themselves."""
    path = PurePosixPath(name)
    return "__MACOSX" in path.parts or path.name.startswith(".") or path.name == "Thumbs.db"


class _SameShape:
    """Pictures of the first one's size and class; the message names the first."""

    def __init__(self) -> None:
        self._first: tuple[tuple[int, ...], str] | None = None

    def __call__(self, picture: NDArray[np.uint8], name: str) -> NDArray[np.uint8]:
        if self._first is None:
            self._first = picture.shape, name
        shape, first_name = self._first
        if picture.shape != shape:
            raise BadValue(f"The picture is {_described(picture.shape)}; the first, {first_name}, {_described(shape)}.")
        return picture


def _described(shape: Sequence[int]) -> str:
    channels, height, width = shape
    return f"{width} x {height} {'grey' if channels == 1 else 'colour'}"
