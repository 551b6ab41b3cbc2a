"""Archives of small stock models, made once, and the api that they are uploaded to."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from app.settings import Settings

Post = Callable[..., Any]


@pytest.fixture
def upload(client: httpx2.Client) -> Post:
    """Posts a folder as a zip, or the bytes of a file as they are."""

    def post(content: Path | bytes, filename: str = "tiny.zip", **form: str) -> Any:
        data = content if isinstance(content, bytes) else zip_of(content)
        return client.post("/v1/models/import", files={"file": (filename, data)}, data=form)

    return post


@pytest.fixture
def stored(settings: Settings) -> Callable[[str], Path]:
    """Where a model's files lie."""
    return lambda model_id: settings.artifacts_dir / "default" / "models" / model_id


def zip_of(folder: Path) -> bytes:
    return Path(shutil.make_archive(str(folder), "zip", folder)).read_bytes()
