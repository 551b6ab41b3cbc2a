"""What Prometheus may ask of a replica: for each model its requests, batches, waiting, computing, text and memory.

Series are labelled by the id of the model. Of models that left memory only those asked last keep theirs, so that series
do not grow without end. Equal weights under two ids are one model in memory: what they share is told under the id that
brought it there.
"""

from collections import Counter as Multiset
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from app.contract.errors import ErrorCode, ServiceError
from app.contract.inference import ModelReference, Operation

#: So many models that are not in memory are told of still.
MAX_UNLOADED = 100
#: From a step of a tiny model to a long prompt on a busy machine.
BUCKET_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)
BUCKET_ROWS = (1, 2, 4, 8, 16, 32, 64, 128)
LOAD_BUCKET_SECONDS = (0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300)
CLIENT_GONE = "client_gone"


@dataclass(slots=True)
class Outcome:
    """How a request ended: `ok`, `client_gone`, or the code of its error."""

    value: str = "ok"


@dataclass(frozen=True, slots=True)
class OperationMeter:
    """Of one operation of one model in memory. From any thread."""

    rows: Histogram
    queue_seconds: Histogram
    compute_seconds: Histogram

    def waited(self, seconds: float) -> None:
        """A request, from its arrival until the first of it runs."""
        self.queue_seconds.observe(seconds)

    def computed(self, num_rows: int, seconds: float) -> None:
        """A batch; of a generation, a step."""
        self.rows.observe(num_rows)
        self.compute_seconds.observe(seconds)


@dataclass(frozen=True, slots=True)
class TextMeter(OperationMeter):
    """Of the text that one model in memory generates."""

    first_token_seconds: Histogram
    tokens: Counter

    def began(self, seconds: float) -> None:
        """So long after its request, the first token of an answer is there."""
        self.first_token_seconds.observe(seconds)

    def generated(self, num_tokens: int) -> None:
        self.tokens.inc(num_tokens)


@dataclass(frozen=True, slots=True)
class ModelMeters:
    """Of one model in memory. Series begin when their meter is asked for."""

    of: Callable[[Operation], OperationMeter]
    text: Callable[[], TextMeter]


class ReplicaMetrics:
    """A registry of its own for each replica. Lives on one event loop; only the meters are for any thread."""

    def __init__(self, held_bytes: Callable[[], int], limit_bytes: int) -> None:
        registry = self._registry = CollectorRegistry()
        self._in_memory: Multiset[str] = Multiset()  # by id; one may be loaded again while it still leaves
        self._unloaded: OrderedDict[str, None] = OrderedDict()  # those told of still, asked last last
        by_operation = ("model", "operation")
        self._requests = Counter(
            "pretune_model_requests",
            "Requests by outcome: ok, client_gone, or the code of the error.",
            (*by_operation, "outcome"),
            registry=registry,
        )
        self._rows = Histogram(
            "pretune_model_batch_rows",
            "Rows of a batch; of a generation, texts in one step.",
            by_operation,
            buckets=BUCKET_ROWS,
            registry=registry,
        )
        self._queue_seconds = Histogram(
            "pretune_model_queue_seconds",
            "From the arrival of a request at its model until the first of it runs.",
            by_operation,
            buckets=BUCKET_SECONDS,
            registry=registry,
        )
        self._compute_seconds = Histogram(
            "pretune_model_compute_seconds",
            "Of one batch; of a generation, one step.",
            by_operation,
            buckets=BUCKET_SECONDS,
            registry=registry,
        )
        self._first_token_seconds = Histogram(
            "pretune_model_first_token_seconds",
            "From the arrival of a request to the first token of its text.",
            ("model",),
            buckets=BUCKET_SECONDS,
            registry=registry,
        )
        self._tokens = Counter(
            "pretune_model_generated_tokens", "Tokens of generated text.", ("model",), registry=registry
        )
        self._loads = Counter(
            "pretune_model_loads", "Loads by outcome: ok or failed.", ("model", "outcome"), registry=registry
        )
        self._evictions = Counter(
            "pretune_model_evictions", "Departures from memory for another's sake.", ("model",), registry=registry
        )
        self._loaded_bytes = Gauge(
            "pretune_model_loaded_bytes", "Size of a model in memory.", ("model",), registry=registry
        )
        self._labelled = (
            *(self._requests, self._rows, self._queue_seconds, self._compute_seconds, self._first_token_seconds),
            *(self._tokens, self._loads, self._evictions, self._loaded_bytes),
        )
        self._load_seconds = Histogram(
            "pretune_replica_load_seconds",
            "From the wish for a model to the model: waiting for room, fetching, verifying, loading.",
            buckets=LOAD_BUCKET_SECONDS,
            registry=registry,
        )
        self._refused = Counter(
            "pretune_replica_refused_requests",
            "Turned away unread, because the replica had all in hand that it can take.",
            registry=registry,
        )
        held = Gauge("pretune_replica_loaded_bytes", "Size of all models in memory.", registry=registry)
        held.set_function(held_bytes)
        Gauge("pretune_replica_cache_bytes", "The bound of loaded_bytes.", registry=registry).set(limit_bytes)
        ProcessCollector(registry=registry)

    def text(self) -> bytes:
        """In Prometheus' text format. From any thread."""
        return generate_latest(self._registry)

    def refused(self) -> None:
        self._refused.inc()

    @contextmanager
    def request(self, model_id: str, operation: Operation) -> Iterator[Outcome]:
        """Counts what happens in the block as one request; where it hides how it ended, it says so itself."""
        outcome = Outcome()
        try:
            yield outcome
        except ServiceError as error:
            outcome.value = error.code
            raise
        except Exception:
            outcome.value = ErrorCode.INTERNAL
            raise
        except BaseException:
            outcome.value = CLIENT_GONE
            raise
        finally:
            self._requests.labels(model_id, operation, outcome.value).inc()
            self._asked(model_id)

    def model(self, model_id: str) -> ModelMeters:
        """Of a model that comes into memory. From any thread."""
        return ModelMeters(partial(self._operation, model_id), partial(self._text, model_id))

    def _operation(self, model_id: str, operation: Operation) -> OperationMeter:
        labels = (model_id, operation)
        return OperationMeter(
            self._rows.labels(*labels), self._queue_seconds.labels(*labels), self._compute_seconds.labels(*labels)
        )

    def _text(self, model_id: str) -> TextMeter:
        steps = self._operation(model_id, Operation.GENERATE)
        return TextMeter(
            steps.rows,
            steps.queue_seconds,
            steps.compute_seconds,
            self._first_token_seconds.labels(model_id),
            self._tokens.labels(model_id),
        )

    # what the loader tells

    def loaded(self, reference: ModelReference, seconds: float) -> None:
        model_id = reference.model_id
        self._in_memory[model_id] += 1
        self._unloaded.pop(model_id, None)
        self._loads.labels(model_id, "ok").inc()
        self._loaded_bytes.labels(model_id).set(reference.size_bytes)
        self._load_seconds.observe(seconds)

    def failed(self, reference: ModelReference) -> None:
        self._loads.labels(reference.model_id, "failed").inc()
        self._asked(reference.model_id)

    def left(self, reference: ModelReference, *, evicted: bool) -> None:
        model_id = reference.model_id
        self._in_memory[model_id] -= 1
        if evicted:
            self._evictions.labels(model_id).inc()
        if not self._in_memory[model_id]:
            del self._in_memory[model_id]
            self._loaded_bytes.remove(model_id)
            self._asked(model_id)

    def _asked(self, model_id: str) -> None:
        """One that is not in memory is told of until enough others came after it."""
        if model_id in self._in_memory:
            return
        self._unloaded[model_id] = None
        self._unloaded.move_to_end(model_id)
        if len(self._unloaded) > MAX_UNLOADED:
            forgotten, _ = self._unloaded.popitem(last=False)
            for metric in self._labelled:
                metric.remove_by_labels({"model": forgotten})
