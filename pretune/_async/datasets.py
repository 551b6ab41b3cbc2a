"""Uploaded data."""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from pretune._async.bound import AsyncBound
from pretune._async.http import AsyncHttp
from pretune.uploads import OnProgress, Upload
from pretune.views import DatasetView, Deletion, Json


class AsyncDataset(DatasetView, AsyncBound):
    async def preview(self, limit: int = 10) -> tuple[Json, ...]:
        """The first records, in the shape that they were uploaded in."""
        answer = await self._http.get(f"/v1/datasets/{self.id}/preview", limit=limit)
        return tuple(answer["data"])

    async def deletion(self) -> Deletion:
        return Deletion.model_validate(await self._http.get(f"/v1/datasets/{self.id}/deletion"))

    async def delete(self) -> None:
        await self._http.delete(f"/v1/datasets/{self.id}")


class AsyncDatasets:
    def __init__(self, http: AsyncHttp) -> None:
        self._http = http

    async def upload(
        self,
        file: Path | str,
        *,
        name: str | None = None,
        kind: str | None = None,
        columns: Mapping[str, str] | None = None,
        on_progress: OnProgress | None = None,
    ) -> AsyncDataset:
        """`columns` tells what is called otherwise, as in `{"text": "review"}`; `kind` is inferred where it can be.

        Raises InvalidRequest with the lines that are wrong; then nothing is stored.
        """
        upload = Upload(Path(file), on_progress)
        fields = {"name": name, "kind": kind, "columns": dict(columns) if columns else None}
        return self._bound(await self._http.upload("/v1/datasets", upload, fields))

    async def get(self, dataset_id: str) -> AsyncDataset:
        return self._bound(await self._http.get(f"/v1/datasets/{dataset_id}"))

    async def list(self, *, page_size: int = 100) -> AsyncIterator[AsyncDataset]:
        """The newest first."""
        async for item in self._http.pages("/v1/datasets", limit=page_size):
            yield self._bound(item)

    def _bound(self, answer: Json) -> AsyncDataset:
        return AsyncDataset.model_validate(answer, context=self._http)
