"""Finished models: asked, named, taken away."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from pretune import protocol
from pretune._async.bound import AsyncBound
from pretune._async.http import AsyncHttp
from pretune.uploads import OnProgress, Upload
from pretune.views import (
    Deletion,
    GeneratedText,
    Json,
    Loaded,
    ModelView,
    Outputs,
    Samples,
    UnloadedModel,
    Vectors,
)

if TYPE_CHECKING:
    from pretune._async.jobs import AsyncJob


class AsyncModel(ModelView, AsyncBound):
    async def refresh(self) -> "AsyncModel":
        return AsyncModel.model_validate(await self._http.get(f"/v1/models/{self.id}"), context=self._http)

    async def predict(self, inputs: Sequence[Any], **parameters: Any) -> Outputs:
        return await AsyncModels(self._http).predict(self.id, inputs, **parameters)

    async def embed(self, inputs: Sequence[Any], **parameters: Any) -> Vectors:
        return await AsyncModels(self._http).embed(self.id, inputs, **parameters)

    async def generate(self, prompt: str | Sequence[Json], **parameters: Any) -> GeneratedText:
        return await AsyncModels(self._http).generate(self.id, prompt, **parameters)

    async def stream(self, prompt: str | Sequence[Json], **parameters: Any) -> AsyncGenerator[str, None]:
        async with aclosing(AsyncModels(self._http).stream(self.id, prompt, **parameters)) as pieces:
            async for piece in pieces:
                yield piece

    async def sample(self, **parameters: Any) -> Samples:
        return await AsyncModels(self._http).sample(self.id, **parameters)

    async def evaluate(self, dataset: str, **fields: Any) -> "AsyncJob":
        return await AsyncModels(self._http).evaluate(self.id, dataset, **fields)

    async def lineage(self) -> tuple[Json, ...]:
        """The root first, this model last."""
        answer = await self._http.get(f"/v1/models/{self.id}/lineage")
        return tuple(answer["data"])

    async def set_alias(self, alias: str) -> "AsyncModel":
        """A name that can move: from now on it means this model."""
        answer = await self._http.put(f"/v1/models/{self.id}/aliases/{alias}")
        return AsyncModel.model_validate(answer, context=self._http)

    async def remove_alias(self, alias: str) -> None:
        await self._http.delete(f"/v1/models/{self.id}/aliases/{alias}")

    async def load(self) -> Loaded:
        """Once the replica that answers for it holds it in memory."""
        return Loaded.model_validate(await self._http.ask(f"/v1/models/{self.id}/load", {}))

    async def unload(self) -> UnloadedModel:
        """Out of the memory of every replica; one that is pinned must be unpinned first."""
        return UnloadedModel.model_validate(await self._http.ask(f"/v1/models/{self.id}/unload", {}))

    async def pin(self) -> "AsyncModel":
        """Every replica keeps it in memory."""
        return AsyncModel.model_validate(await self._http.put(f"/v1/models/{self.id}/pin"), context=self._http)

    async def unpin(self) -> None:
        await self._http.delete(f"/v1/models/{self.id}/pin")

    async def download(self, to: Path | str | None = None) -> Path:
        """The folder as an archive, which Hugging Face's tools load once unpacked. -> where it lies"""
        return await self._http.download(f"/v1/models/{self.id}/archive", Path(to or f"{self.id}.zip"))

    async def deletion(self) -> Deletion:
        return Deletion.model_validate(await self._http.get(f"/v1/models/{self.id}/deletion"))

    async def delete(self) -> None:
        await self._http.delete(f"/v1/models/{self.id}")


class AsyncModels:
    """`model` is an id or an alias."""

    def __init__(self, http: AsyncHttp) -> None:
        self._http = http

    async def get(self, model: str) -> AsyncModel:
        return self._bound(await self._http.get(_path(model)))

    async def list(
        self, *, method: str | None = None, job: str | None = None, name: str | None = None, page_size: int = 100
    ) -> AsyncIterator[AsyncModel]:
        """The newest first."""
        async for item in self._http.pages("/v1/models", method=method, job=job, name=name, limit=page_size):
            yield self._bound(item)

    async def upload(
        self,
        archive: Path | str,
        *,
        name: str | None = None,
        alias: str | None = None,
        on_progress: OnProgress | None = None,
    ) -> AsyncModel:
        """A zip of a folder as `save_pretrained` writes it, of a Llama, GPT-2 or BERT; weights in safetensors alone."""
        upload = Upload(Path(archive), on_progress)
        return self._bound(await self._http.upload("/v1/models/import", upload, {"name": name, "alias": alias}))

    async def predict(self, model: str, inputs: Sequence[Any], **parameters: Any) -> Outputs:
        """One output for each input, in order, in the shape that the method gives."""
        answer = await self._http.ask(_path(model, "/predict"), {"inputs": list(inputs), "parameters": parameters})
        outputs: Outputs = answer["outputs"]
        return outputs

    async def embed(self, model: str, inputs: Sequence[Any], **parameters: Any) -> Vectors:
        """One vector for each input."""
        answer = await self._http.ask(_path(model, "/embed"), {"inputs": list(inputs), "parameters": parameters})
        embeddings: Vectors = answer["embeddings"]
        return embeddings

    async def generate(self, model: str, prompt: str | Sequence[Json], **parameters: Any) -> GeneratedText:
        """Continues a text, or answers the messages of a conversation. `parameters`: max_tokens, temperature, seed."""
        return GeneratedText.model_validate(
            await self._http.ask(_path(model, "/generate"), _generation(prompt, parameters))
        )

    async def stream(self, model: str, prompt: str | Sequence[Json], **parameters: Any) -> AsyncGenerator[str, None]:
        """The text of `generate`, in pieces as they become final. Leaving the loop stops the model."""
        body = _generation(prompt, parameters) | {"stream": True}
        async with aclosing(self._http.ask_for_events(_path(model, "/generate"), body)) as events:
            async for event in events:
                if text := event.as_json().get("text"):
                    yield text

    async def sample(self, model: str, **parameters: Any) -> Samples:
        """Drawn from a GAN, in the shape and scale of its training data. `parameters`: count, seed."""
        answer = await self._http.ask(_path(model, "/generate"), {"parameters": parameters})
        samples: Samples = answer["samples"]
        return samples

    async def evaluate(self, model: str, dataset: str, **fields: Any) -> "AsyncJob":
        """A job that judges the model; once it has succeeded, `job.evaluation()` tells what it found. `fields`: seed,
        resamples, name..."""
        from pretune._async.jobs import AsyncJob  # noqa: PLC0415  a job knows the model that it makes

        answer = await self._http.create(_path(model, "/evaluate"), {"dataset": dataset, **fields})
        return AsyncJob.model_validate(answer, context=self._http)

    def _bound(self, answer: Json) -> AsyncModel:
        return AsyncModel.model_validate(answer, context=self._http)


def _path(model: str, rest: str = "") -> str:
    return f"/v1/models/{quote(model)}{rest}"


def _generation(prompt: str | Sequence[Json], parameters: Json) -> Json:
    told: Json = {"prompt": prompt} if isinstance(prompt, str) else {"messages": list(prompt)}
    return told | {"parameters": protocol.without_none(parameters)}
