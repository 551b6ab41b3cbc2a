"""What a replica's metrics tell, read as Prometheus reads it."""

from collections.abc import Mapping
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

from worker.serving.metrics import ReplicaMetrics


def new_metrics() -> ReplicaMetrics:
    """Of a replica that is not there."""
    return ReplicaMetrics(lambda: 0, 100)


@dataclass(frozen=True, slots=True)
class Figures:
    """`series` by the name of a sample, then by its labels in order of their names."""

    series: Mapping[tuple[str, frozenset[tuple[str, str]]], float]

    @classmethod
    def of(cls, text: str) -> "Figures":
        families = text_string_to_metric_families(text)
        samples = [sample for family in families for sample in family.samples]
        return cls({(sample.name, frozenset(sample.labels.items())): sample.value for sample in samples})

    def get(self, name: str, **labels: str) -> float | None:
        """None where there is no such series."""
        return self.series.get((f"pretune_{name}", frozenset(labels.items())))

    def models(self) -> set[str]:
        """The models that any series is labelled by."""
        return {value for _, labels in self.series for label, value in labels if label == "model"}
