"""What evaluations of models found, and which of two models is better."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from pretune._sync.http import Http
from pretune.views import ComparisonView, EvaluationSummary, EvaluationView


class Evaluations:
    def __init__(self, http: Http) -> None:
        self._http = http

    def get(self, evaluation_id: str) -> EvaluationView:
        return EvaluationView.model_validate(self._http.get(f"/v1/evaluations/{evaluation_id}"))

    def list(self, model: str, *, page_size: int = 100) -> Iterator[EvaluationSummary]:
        """Those of a model, by its id or an alias, the newest first."""
        for item in self._http.pages(f"/v1/models/{quote(model)}/evaluations", limit=page_size):
            yield EvaluationSummary.model_validate(item)

    def compare(self, first: str, second: str) -> ComparisonView:
        """Two evaluations on the same data; differences are the first's less the second's."""
        return ComparisonView.model_validate(self._http.get(f"/v1/evaluations/{first}/compare/{second}"))

    def download(self, evaluation_id: str, to: Path | str | None = None) -> Path:
        """What each unit of the data adds to the measures, as NumPy arrays. -> where it lies"""
        target = Path(to or f"{evaluation_id}-units.npz")
        return self._http.download(f"/v1/evaluations/{evaluation_id}/units", target)

    def delete(self, evaluation_id: str) -> None:
        self._http.delete(f"/v1/evaluations/{evaluation_id}")
