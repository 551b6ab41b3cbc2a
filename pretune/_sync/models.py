"""Finished models: asked, named, taken away."""

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from pretune import protocol
from pretune._sync.bound import Bound
from pretune._sync.http import Http
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
    from pretune._sync.jobs import Job


class Model(ModelView, Bound):
    def refresh(self) -> "Model":
        return Model.model_validate(self._http.get(f"/v1/models/{self.id}"), context=self._http)

    def predict(self, inputs: Sequence[Any], **parameters: Any) -> Outputs:
        return Models(self._http).predict(self.id, inputs, **parameters)

    def embed(self, inputs: Sequence[Any], **parameters: Any) -> Vectors:
        return Models(self._http).embed(self.id, inputs, **parameters)

    def generate(self, prompt: str | Sequence[Json], **parameters: Any) -> GeneratedText:
        return Models(self._http).generate(self.id, prompt, **parameters)

    def stream(self, prompt: str | Sequence[Json], **parameters: Any) -> Generator[str, None]:
        with closing(Models(self._http).stream(self.id, prompt, **parameters)) as pieces:
            yield from pieces

    def sample(self, **parameters: Any) -> Samples:
        return Models(self._http).sample(self.id, **parameters)

    def evaluate(self, dataset: str, **fields: Any) -> "Job":
        return Models(self._http).evaluate(self.id, dataset, **fields)

    def lineage(self) -> tuple[Json, ...]:
        """The root first, this model last."""
        answer = self._http.get(f"/v1/models/{self.id}/lineage")
        return tuple(answer["data"])

    def set_alias(self, alias: str) -> "Model":
        """A name that can move: from now on it means this model."""
        answer = self._http.put(f"/v1/models/{self.id}/aliases/{alias}")
        return Model.model_validate(answer, context=self._http)

    def remove_alias(self, alias: str) -> None:
        self._http.delete(f"/v1/models/{self.id}/aliases/{alias}")

    def load(self) -> Loaded:
        """Once the replica that answers for it holds it in memory."""
        return Loaded.model_validate(self._http.ask(f"/v1/models/{self.id}/load", {}))

    def unload(self) -> UnloadedModel:
        """Out of the memory of every replica; one that is pinned must be unpinned first."""
        return UnloadedModel.model_validate(self._http.ask(f"/v1/models/{self.id}/unload", {}))

    def pin(self) -> "Model":
        """Every replica keeps it in memory."""
        return Model.model_validate(self._http.put(f"/v1/models/{self.id}/pin"), context=self._http)

    def unpin(self) -> None:
        self._http.delete(f"/v1/models/{self.id}/pin")

    def download(self, to: Path | str | None = None) -> Path:
        """The folder as an archive, which Hugging Face's tools load once unpacked. -> where it lies"""
        return self._http.download(f"/v1/models/{self.id}/archive", Path(to or f"{self.id}.zip"))

    def deletion(self) -> Deletion:
        return Deletion.model_validate(self._http.get(f"/v1/models/{self.id}/deletion"))

    def delete(self) -> None:
        self._http.delete(f"/v1/models/{self.id}")


class Models:
    """`model` is an id or an alias."""

    def __init__(self, http: Http) -> None:
        self._http = http

    def get(self, model: str) -> Model:
        return self._bound(self._http.get(_path(model)))

    def list(
        self, *, method: str | None = None, job: str | None = None, name: str | None = None, page_size: int = 100
    ) -> Iterator[Model]:
        """The newest first."""
        for item in self._http.pages("/v1/models", method=method, job=job, name=name, limit=page_size):
            yield self._bound(item)

    def upload(
        self,
        archive: Path | str,
        *,
        name: str | None = None,
        alias: str | None = None,
        on_progress: OnProgress | None = None,
    ) -> Model:
        """A zip of a folder as `save_pretrained` writes it, of a Llama, GPT-2 or BERT; weights in safetensors alone."""
        upload = Upload(Path(archive), on_progress)
        return self._bound(self._http.upload("/v1/models/import", upload, {"name": name, "alias": alias}))

    def predict(self, model: str, inputs: Sequence[Any], **parameters: Any) -> Outputs:
        """One output for each input, in order, in the shape that the method gives."""
        answer = self._http.ask(_path(model, "/predict"), {"inputs": list(inputs), "parameters": parameters})
        outputs: Outputs = answer["outputs"]
        return outputs

    def embed(self, model: str, inputs: Sequence[Any], **parameters: Any) -> Vectors:
        """One vector for each input."""
        answer = self._http.ask(_path(model, "/embed"), {"inputs": list(inputs), "parameters": parameters})
        embeddings: Vectors = answer["embeddings"]
        return embeddings

    def generate(self, model: str, prompt: str | Sequence[Json], **parameters: Any) -> GeneratedText:
        """Continues a text, or answers the messages of a conversation. `parameters`: max_tokens, temperature, seed."""
        return GeneratedText.model_validate(self._http.ask(_path(model, "/generate"), _generation(prompt, parameters)))

    def stream(self, model: str, prompt: str | Sequence[Json], **parameters: Any) -> Generator[str, None]:
        """The text of `generate`, in pieces as they become final. Leaving the loop stops the model."""
        body = _generation(prompt, parameters) | {"stream": True}
        with closing(self._http.ask_for_events(_path(model, "/generate"), body)) as events:
            for event in events:
                if text := event.as_json().get("text"):
                    yield text

    def sample(self, model: str, **parameters: Any) -> Samples:
        """Drawn from a GAN, in the shape and scale of its training data. `parameters`: count, seed."""
        answer = self._http.ask(_path(model, "/generate"), {"parameters": parameters})
        samples: Samples = answer["samples"]
        return samples

    def evaluate(self, model: str, dataset: str, **fields: Any) -> "Job":
        """A job that judges the model; once it has succeeded, `job.evaluation()` tells what it found. `fields`: seed,
        resamples, name..."""
        from pretune._sync.jobs import Job  # noqa: PLC0415  a job knows the model that it makes

        answer = self._http.create(_path(model, "/evaluate"), {"dataset": dataset, **fields})
        return Job.model_validate(answer, context=self._http)

    def _bound(self, answer: Json) -> Model:
        return Model.model_validate(answer, context=self._http)


def _path(model: str, rest: str = "") -> str:
    return f"/v1/models/{quote(model)}{rest}"


def _generation(prompt: str | Sequence[Json], parameters: Json) -> Json:
    told: Json = {"prompt": prompt} if isinstance(prompt, str) else {"messages": list(prompt)}
    return told | {"parameters": protocol.without_none(parameters)}
