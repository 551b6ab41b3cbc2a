"""Vectors from tables: a column of lists, or every numeric column a feature. Knows no kind but by its fields.

n rows of a block, F features, K targets.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import starmap
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.records import fields
from app.records.blocks import Block, batched
from app.records.problems import BadValue, Problems
from app.records.tables import Table


class VectorTable:
    """The blocks of one table. Without `features` among the columns read, every numeric column is one.

    `answers` are the file's columns of labels and targets, read or not: they are never features.
    """

    def __init__(self, table: Table, columns: Mapping[str, str], answers: Collection[str]) -> None:
        self._table = table
        self._label = columns.get("label")
        self._target = columns.get("target")
        self._list_column = columns.get("features")
        self.feature_columns = (
            [self._list_column]
            if self._list_column
            else [name for name in table.numeric_columns() if name not in answers]
        )

    def blocks(self, problems: Problems) -> Iterator[Block]:
        for rows in batched(self._rows(problems), lambda row: row[0].nbytes):
            inputs, labels, targets = zip(*rows, strict=True)
            yield Block(
                np.stack(inputs), list(labels) if self._label else None, np.stack(targets) if self._target else None
            )

    def _rows(self, problems: Problems) -> Iterator[tuple[NDArray[np.float32], Any, Any]]:
        decode = self._decoder()
        names = [*self.feature_columns, *filter(None, (self._label, self._target))]
        for number, values in self._table.rows(names, problems):
            try:
                yield decode(values)
            except BadValue as error:
                problems.add(f"{self._table.unit} {number}", error)

    def _decoder(self) -> Callable[[Sequence[Any]], tuple[NDArray[np.float32], Any, Any]]:
        width, features = len(self.feature_columns), self._feature_decoder()
        label, target = fields.Labels() if self._label else None, self._target_decoder()

        def decode(values: Sequence[Any]) -> tuple[NDArray[np.float32], Any, Any]:
            return (
                features(values[:width]),
                label(values[width]) if label else None,
                target(values[-1]) if target else None,
            )

        return decode

    def _feature_decoder(self) -> Callable[[Sequence[Any]], NDArray[np.float32]]:
        if self._list_column:
            vector = fields.SameLength("features", fields.numbers)
            return lambda values: vector(values[0])
        read: Callable[[str, Any], float] = fields.parsed_number if self._table.values_are_text else fields.number
        names = self.feature_columns
        return lambda values: np.array(list(starmap(read, zip(names, values, strict=True))), np.float32)

    def _target_decoder(self) -> Callable[[Any], NDArray[np.float32]] | None:
        if not self._target:
            return None
        if self._table.values_are_text:
            return fields.SameLength("target", lambda name, value: [fields.parsed_number(name, value)])
        return fields.SameLength("target", fields.number_or_numbers)
