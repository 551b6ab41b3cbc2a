"""The artifact store: bytes under keys, immutable once written. Keys are made by the server, never by a user.

Knows nothing of what the bytes mean.
"""

from app.storage.files import CHUNK_BYTES, sync_folder
from app.storage.folder import FolderStore
from app.storage.opening import REQUEST_PATIENCE_SECONDS, open_store
from app.storage.store import ArtifactStore, StoredFile, StoredKey

__all__ = [
    "CHUNK_BYTES",
    "REQUEST_PATIENCE_SECONDS",
    "ArtifactStore",
    "FolderStore",
    "StoredFile",
    "StoredKey",
    "open_store",
    "sync_folder",
]
