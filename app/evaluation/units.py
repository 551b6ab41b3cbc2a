"""What each unit adds: arrays by name, a row a unit; in files that hold numbers and nothing that could be run."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

Units = Mapping[str, NDArray[Any]]
#: Which unit a row is part of, from 0. A unit whose parts are judged apart has several rows, which add up.
UNIT = "unit"


def write_units(path: Path, units: Units) -> Path:
    """Equal units give equal bytes."""
    with path.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **units)
    return path


def read_units(file: Path | BinaryIO) -> Units:
    with np.load(file, allow_pickle=False) as arrays:
        return dict(arrays)


def joined(parts: Sequence[Units], num_units: int) -> Units:
    """All rows as one a unit, without `unit`: of those of the same unit the sum."""
    rows = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    places = rows.pop(UNIT)
    return {name: _summed(values, places, num_units) for name, values in rows.items()}


def _summed(values: NDArray[Any], places: NDArray[Any], num_units: int) -> NDArray[Any]:
    sums = np.zeros((num_units, *values.shape[1:]), values.dtype)
    np.add.at(sums, places, values)
    return sums
