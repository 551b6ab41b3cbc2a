"""Which form the store has, by the settings."""

from app.settings import Settings
from app.storage.folder import FolderStore
from app.storage.objects import ObjectStore
from app.storage.store import ArtifactStore

#: For a store that is away for a moment. Behind a request, its client waits too.
REQUEST_PATIENCE_SECONDS = 5.0
WORK_PATIENCE_SECONDS = 120.0


def open_store(settings: Settings, patience_seconds: float = WORK_PATIENCE_SECONDS) -> ArtifactStore:
    """Asks nothing of it yet. `patience_seconds`: for so long a transfer is tried again where the store is away."""
    if settings.store is None:
        return FolderStore(settings.artifacts_dir)
    return ObjectStore(settings.store, patience_seconds)
