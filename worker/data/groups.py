"""Which examples belong together, as a column of the user's file tells."""

import numpy as np
from numpy.typing import NDArray

from app.contract.messages import DatasetInput
from app.records import read_column


def read_groups(dataset: DatasetInput, column: str) -> NDArray[np.int64]:
    """A number for each record, int64 [N], equal where the column's values are. Raises InvalidDataset."""
    seen: dict[str, int] = {}
    values = read_column(dataset.path, dataset.filename, column)
    return np.fromiter((seen.setdefault(repr(value), len(seen)) for value in values), np.int64)
