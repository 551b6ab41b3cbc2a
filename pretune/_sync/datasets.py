"""Uploaded data."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from pretune._sync.bound import Bound
from pretune._sync.http import Http
from pretune.uploads import OnProgress, Upload
from pretune.views import DatasetView, Deletion, Json


class Dataset(DatasetView, Bound):
    def preview(self, limit: int = 10) -> tuple[Json, ...]:
        """The first records, in the shape that they were uploaded in."""
        answer = self._http.get(f"/v1/datasets/{self.id}/preview", limit=limit)
        return tuple(answer["data"])

    def deletion(self) -> Deletion:
        return Deletion.model_validate(self._http.get(f"/v1/datasets/{self.id}/deletion"))

    def delete(self) -> None:
        self._http.delete(f"/v1/datasets/{self.id}")


class Datasets:
    def __init__(self, http: Http) -> None:
        self._http = http

    def upload(
        self,
        file: Path | str,
        *,
        name: str | None = None,
        kind: str | None = None,
        columns: Mapping[str, str] | None = None,
        on_progress: OnProgress | None = None,
    ) -> Dataset:
        """`columns` tells what is called otherwise, as in `{"text": "review"}`; `kind` is inferred where it can be.

        Raises InvalidRequest with the lines that are wrong; then nothing is stored.
        """
        upload = Upload(Path(file), on_progress)
        fields = {"name": name, "kind": kind, "columns": dict(columns) if columns else None}
        return self._bound(self._http.upload("/v1/datasets", upload, fields))

    def get(self, dataset_id: str) -> Dataset:
        return self._bound(self._http.get(f"/v1/datasets/{dataset_id}"))

    def list(self, *, page_size: int = 100) -> Iterator[Dataset]:
        """The newest first."""
        for item in self._http.pages("/v1/datasets", limit=page_size):
            yield self._bound(item)

    def _bound(self, answer: Json) -> Dataset:
        return Dataset.model_validate(answer, context=self._http)
