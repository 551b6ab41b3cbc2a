import asyncio

import pytest

from app.contract.errors import Overloaded
from app.contract.inference import Operation
from tests.worker.serving.figures import Figures, new_metrics
from tests.worker.serving.test_loader import reference
from worker.serving.metrics import MAX_UNLOADED, ReplicaMetrics


def figures_of(metrics: ReplicaMetrics) -> Figures:
    return Figures.of(metrics.text().decode())


@pytest.mark.parametrize(
    ("error", "outcome"),
    [(Overloaded("full"), "overloaded"), (KeyError("bug"), "internal"), (asyncio.CancelledError(), "client_gone")],
)
def test_a_request_is_counted_by_how_it_ends(error: BaseException, outcome: str) -> None:
    metrics = new_metrics()
    with pytest.raises(type(error)), metrics.request("model_a", Operation.EMBED):
        raise error
    for _ in range(2):
        with metrics.request("model_a", Operation.EMBED):
            pass
    with metrics.request("model_a", Operation.GENERATE) as ending:
        ending.value = "internal"
    told = figures_of(metrics)
    requests = "model_requests_total"
    assert told.get(requests, model="model_a", operation="embed", outcome=outcome) == 1
    assert told.get(requests, model="model_a", operation="embed", outcome="ok") == 2
    assert told.get(requests, model="model_a", operation="generate", outcome="internal") == 1


def test_models_that_left_long_ago_are_forgotten_and_those_in_memory_never() -> None:
    metrics = new_metrics()
    metrics.loaded(reference("stays"), 0.1)
    for number in range(MAX_UNLOADED + 5):
        model = reference(f"m{number}")
        metrics.loaded(model, 0.1)
        metrics.model(model.model_id).of(Operation.PREDICT).computed(1, 0.1)
        metrics.model(model.model_id).text().generated(5)
        metrics.left(model, evicted=True)
        with metrics.request("m0", Operation.PREDICT):
            pass
    kept = {f"m{number}" for number in range(6, MAX_UNLOADED + 5)}
    assert figures_of(metrics).models() == {"stays", "m0"} | kept


def test_a_model_that_comes_back_while_it_leaves_is_in_memory() -> None:
    """Unloaded in use, it leaves when its last request ends: that may be after it was loaded again."""
    metrics, model = new_metrics(), reference("a")
    metrics.loaded(model, 0.1)
    metrics.loaded(model, 0.1)
    metrics.left(model, evicted=False)
    assert figures_of(metrics).get("model_loaded_bytes", model="a") == model.size_bytes
    metrics.left(model, evicted=False)
    assert figures_of(metrics).get("model_loaded_bytes", model="a") is None
