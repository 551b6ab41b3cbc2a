"""Search spaces without their sampler: the values at their ends, the points of a grid, and a job with values set in it.

Knows no trial and no score.
"""

import json
import math
import random
from collections.abc import Mapping, Sequence
from copy import deepcopy
from itertools import product
from typing import Any, assert_never

from app.contract.errors import FieldError, InvalidRequest
from app.contract.specs.sweep import (
    DEFAULT_TRIALS,
    AnySearch,
    Categorical,
    IntUniform,
    LogIntUniform,
    LogUniform,
    SweepSpec,
    Uniform,
)

Json = dict[str, Any]
Parameters = Mapping[str, Any]
#: Of a range of whole numbers, all are tried where there are no more than these.
MAX_ENUMERATED = 64
MAX_GRID = 10_000


def with_values(template: Mapping[str, Any], defaults: Mapping[str, Any], values: Parameters) -> Json:
    """The job with each value at its path. What a path goes through is made where it is not given, of the type that the
    same job with every default filled in has there. Raises InvalidRequest where it goes through something else than an
    object."""
    job: Json = deepcopy(dict(template))
    for path, value in values.items():
        *names, last = path.split(".")
        holder, filled = job, defaults
        for depth, name in enumerate(names):
            filled = _within(filled, name)
            inner = holder.get(name)
            if inner is None:
                inner = holder[name] = {"type": filled["type"]} if "type" in filled else {}
            if not isinstance(inner, dict):
                at = ".".join(names[: depth + 1])
                raise refused(path, f"{path} goes through {at}, which is {json.dumps(inner)} and has no fields.")
            holder = inner
        holder[last] = deepcopy(value)
    return job


def _within(defaults: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    inner = defaults.get(name)
    return inner if isinstance(inner, dict) else {}


def ends(search: AnySearch) -> list[Any]:
    """Values that stand for the whole range: all where they are few, else the lowest and the highest."""
    match search:
        case Categorical():
            return search.choices
        case IntUniform() if (search.high - search.low) // search.step < MAX_ENUMERATED:
            return list(range(search.low, search.high + 1, search.step))
        case IntUniform():
            return [search.low, search.low + (search.high - search.low) // search.step * search.step]
        case LogIntUniform() if search.high - search.low < MAX_ENUMERATED:
            return list(range(search.low, search.high + 1))
        case LogIntUniform() | Uniform() | LogUniform():
            return [search.low, search.high]
        case _:
            assert_never(search)


def num_trials(spec: SweepSpec) -> int:
    """Those that a sweep makes, at most. Raises InvalidRequest for a grid of a range without points."""
    if spec.sampler != "grid":
        return spec.trials or DEFAULT_TRIALS
    size = math.prod(len(grid_values(path, search)) for path, search in spec.search.items())
    if size > MAX_GRID:
        raise refused(
            next(iter(spec.search)),
            f"The grid has {size:,} points, and may have {MAX_GRID:,}. Give fewer points or choices, or the sampler "
            "random.",
        )
    return min(size, spec.trials or size)


def grid_point(spec: SweepSpec, number: int) -> Json:
    """The trial `number` of a grid: each point once, in an order drawn by the seed."""
    values = {path: grid_values(path, search) for path, search in spec.search.items()}
    sizes = [len(each) for each in values.values()]
    order = list(range(math.prod(sizes)))
    random.Random(spec.seed).shuffle(order)  # noqa: S311  no secret
    place, point = order[number], {}
    for path, each in values.items():
        place, index = divmod(place, len(each))
        point[path] = each[index]
    return point


def grid_values(path: str, search: AnySearch) -> Sequence[Any]:
    """Raises InvalidRequest for a range without points."""
    if isinstance(search, Categorical):
        return search.choices
    if search.points is None:
        if isinstance(search, IntUniform):
            return range(search.low, search.high + 1, search.step)
        raise refused(path, f"A grid takes single values of {path}: give `points`, or choices by `categorical`.")
    return _spaced(search, search.points)


def corners(search: Mapping[str, AnySearch], limit: int) -> list[Json]:
    """Choices of values that stand for all: every combination of `ends` where there are at most `limit`; else each
    value of each field beside the first of the others, and the last of all together."""
    values = {path: ends(each) for path, each in search.items()}
    if math.prod(len(each) for each in values.values()) <= limit:
        return [dict(zip(values, chosen, strict=True)) for chosen in product(*values.values())]
    first = {path: each[0] for path, each in values.items()}
    alone = [first | {path: value} for path, each in values.items() for value in each[1:]]
    return [first, *alone, {path: each[-1] for path, each in values.items()}]


def refused(path: str, message: str) -> InvalidRequest:
    message = f"{message[0].upper()}{message[1:]}" if not message.startswith(path) else message
    return InvalidRequest(message, errors=[FieldError(location=f"search.{path}", message=message)])


def _spaced(search: Uniform | LogUniform | IntUniform | LogIntUniform, points: int) -> list[Any]:
    shares = [number / (points - 1) for number in range(points)]
    match search:
        case LogUniform():
            return [search.low * (search.high / search.low) ** share for share in shares[:-1]] + [search.high]
        case LogIntUniform():
            spaced = (search.low * (search.high / search.low) ** share for share in shares)
            return list(dict.fromkeys(round(value) for value in spaced))
        case IntUniform():
            num_steps = (search.high - search.low) // search.step
            return list(dict.fromkeys(search.low + round(share * num_steps) * search.step for share in shares))
        case Uniform():
            return [search.low + (search.high - search.low) * share for share in shares[:-1]] + [search.high]
        case _:
            assert_never(search)
