"""Remembers for a moment how models are reached, so that not every request asks the database. Knows no replica."""

import time
from collections import OrderedDict
from dataclasses import dataclass

from pydantic_core import to_json

from app.contract.inference import ModelReference

#: A model never changes, but may be deleted: its id answers from memory for so long.
REMEMBERED_SECONDS = 1.0
MAX_REMEMBERED = 4_096


@dataclass(frozen=True, slots=True)
class RoutedModel:
    """A model's reference, written as JSON once and not for every request."""

    model_id: str
    digest: str
    reference_json: bytes

    @classmethod
    def of(cls, reference: ModelReference) -> "RoutedModel":
        return cls(reference.model_id, reference.digest, to_json(reference))


class Routes:
    """Routed models by project and id, those remembered first out first. Lives on one event loop."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, str], tuple[float, RoutedModel]] = OrderedDict()

    def get(self, project_id: str, model_id: str) -> RoutedModel | None:
        since, routed = self._known.get((project_id, model_id), (float("-inf"), None))
        return routed if time.monotonic() - since < REMEMBERED_SECONDS else None

    def put(self, project_id: str, routed: RoutedModel) -> None:
        key = (project_id, routed.model_id)
        self._known[key] = (time.monotonic(), routed)
        self._known.move_to_end(key)
        if len(self._known) > MAX_REMEMBERED:
            self._known.popitem(last=False)
