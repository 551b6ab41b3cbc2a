"""Zip files that users made. Nothing is ever extracted to disk; entries are streamed, and their names only shown.

Refused before anything is unpacked: names that leave the archive, links, encryption, and sizes or ratios of a bomb.
A size that lies is no way around: an entry never gives more bytes than it declares.
"""

import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from app.records.limits import MAX_ARCHIVE_ENTRIES, MAX_UNPACK_RATIO, MAX_UNPACKED_BYTES, RATIO_FREE_BYTES
from app.records.problems import refusal, shown
from app.records.source import Source

DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, UnicodeDecodeError)
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def open_archive(source: Source) -> tuple[zipfile.ZipFile, list[zipfile.ZipInfo]]:
    """The archive and its entries that are files, in the order of its directory."""
    with damage_refused("file"):
        archive = zipfile.ZipFile(source.file)
    entries = archive.infolist()
    if len(entries) > MAX_ARCHIVE_ENTRIES:
        raise refusal("file", f"The archive has {len(entries):,} entries; at most {MAX_ARCHIVE_ENTRIES:,} are taken.")
    _check_sizes(entries, source.size_bytes)
    for entry in entries:
        _check_entry(entry, source.size_bytes)
    return archive, [entry for entry in entries if not entry.is_dir()]


def _check_sizes(entries: list[zipfile.ZipInfo], packed_bytes: int) -> None:
    unpacked_bytes = sum(entry.file_size for entry in entries)
    if unpacked_bytes > MAX_UNPACKED_BYTES:
        raise refusal("file", f"The archive unpacks to {unpacked_bytes:,} bytes; at most {MAX_UNPACKED_BYTES:,}.")
    if unpacked_bytes > max(RATIO_FREE_BYTES, MAX_UNPACK_RATIO * packed_bytes):
        ratio = unpacked_bytes // packed_bytes
        raise refusal("file", f"The archive unpacks to {ratio:,} times its size; at most {MAX_UNPACK_RATIO}.")


def _check_entry(entry: zipfile.ZipInfo, packed_bytes: int) -> None:
    name = entry.orig_filename
    reason = (
        ("its name holds a NUL" if "\0" in name else None)
        or ("its name is absolute" if name.startswith(("/", "\\")) or name[1:2] == ":" else None)
        or ("its name leaves the archive" if ".." in name.replace("\\", "/").split("/") else None)
        or ("it is a link" if stat.S_ISLNK(entry.external_attr >> 16) else None)
        or ("it begins outside the file" if not 0 <= entry.header_offset < packed_bytes else None)
        or ("it is encrypted" if entry.flag_bits & 0x1 else None)
        or ("it is packed by a method other than deflate" if entry.compress_type not in METHODS else None)
    )
    if reason:
        raise refusal(place(entry), f"The entry is not taken: {reason}.")


def place(entry: zipfile.ZipInfo) -> str:
    """An entry's name as a location."""
    return shown(entry.orig_filename, 120)


@contextmanager
def damage_refused(location: str) -> Iterator[None]:
    try:
        yield
    except DAMAGE as error:
        raise refusal(location, f"The archive is damaged: {str(error)[:200]}.") from None
