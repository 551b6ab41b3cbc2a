"""Vectors and images of an .npz as blocks: which shapes and types are taken, and how its arrays are named."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from itertools import repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.records import fields
from app.records.blocks import Block, checked_floats, checked_labels, rows_a_block, selected
from app.records.limits import MAX_IMAGE_CHANNELS
from app.records.npz import StoredArray
from app.records.problems import Problems, listed, refusal

#: How .npz files name our fields.
NPZ_NAMES = {"features": "features", "images": "images", "label": "labels", "target": "targets"}


class NpzArrays:
    """`columns` maps our fields to arrays: `features` or `images`, and perhaps `label` or `target`."""

    def __init__(self, arrays: Mapping[str, StoredArray], columns: Mapping[str, str]) -> None:
        self._inputs = arrays[columns.get("images") or columns["features"]]
        self._are_images = "images" in columns
        self._labels = arrays[columns["label"]] if "label" in columns else None
        self._targets = arrays[columns["target"]] if "target" in columns else None
        self._check()

    def _check(self) -> None:
        (_check_images if self._are_images else _check_features)(self._inputs)
        if self._labels:
            _check_labels(self._labels)
        if self._targets:
            _check_targets(self._targets)
        for other in filter(None, (self._labels, self._targets)):
            if other.shape[0] != self._inputs.shape[0]:
                raise refusal(
                    other.name,
                    f"The array has {other.shape[0]:,} rows; {self._inputs.name} has {self._inputs.shape[0]:,}.",
                )

    def blocks(self, problems: Problems) -> Iterator[Block]:
        """Row places count from 0, as NumPy does: `features[3]`."""
        rows = rows_a_block(self._inputs.row_bytes)
        read_label = fields.Labels()
        start = 0
        for inputs, labels, targets in zip(
            self._inputs.blocks(rows), _blocks(self._labels, rows), _blocks(self._targets, rows), strict=False
        ):
            block, good = self._checked_inputs(inputs, start, problems)
            if self._targets:
                flat = targets.reshape(len(targets), -1)
                floats, fine = checked_floats("target", flat, _placed(self._targets, start), problems)
                block, good = replace(block, targets=floats), good & fine
            if self._labels:
                read, fine = checked_labels(read_label, _python(labels), _placed(self._labels, start), problems)
                block, good = replace(block, labels=read), good & fine
            yield selected(block, good)
            start += len(inputs)

    def _checked_inputs(self, inputs: NDArray[Any], start: int, problems: Problems) -> tuple[Block, NDArray[np.bool_]]:
        if self._are_images:
            pictures = inputs if inputs.ndim == 4 else inputs[:, np.newaxis]
            return Block(pictures), np.ones(len(inputs), dtype=np.bool_)
        floats, good = checked_floats("features", inputs, _placed(self._inputs, start), problems)
        return Block(floats), good


def _placed(array: StoredArray, start: int) -> Callable[[int], str]:
    return lambda row: f"{array.name}[{start + row}]"


def _blocks(array: StoredArray | None, rows: int) -> Iterator[Any]:
    """The array's blocks, or None again and again where there is no array."""
    return repeat(None) if array is None else array.blocks(rows)


def _python(labels: NDArray[Any]) -> list[Any]:
    values: list[Any] = labels.tolist()
    return [value.decode("utf-8", "replace") for value in values] if labels.dtype.kind == "S" else values


def _check_features(array: StoredArray) -> None:
    if array.dtype.kind not in "fiub" or len(array.shape) != 2 or 0 in array.shape:
        raise refusal(array.name, f"Features must be numbers [N, F], not {array.dtype} of shape {array.shape}.")


def _check_images(array: StoredArray) -> None:
    if array.dtype != np.uint8 or len(array.shape) not in (3, 4) or 0 in array.shape:
        raise refusal(
            array.name,
            f"Images must be uint8 [N, H, W] or [N, C, H, W] with values 0 to 255, not {array.dtype} of shape "
            f"{array.shape}.",
        )
    if len(array.shape) == 4 and array.shape[1] > MAX_IMAGE_CHANNELS:
        raise refusal(
            array.name,
            f"Images of shape {array.shape} have {array.shape[1]} channels; at most {MAX_IMAGE_CHANNELS} are taken. "
            "If the channels are last, transpose to [N, C, H, W].",
        )


def _check_labels(array: StoredArray) -> None:
    if array.dtype.kind not in "iubUS" or len(array.shape) != 1:
        raise refusal(
            array.name,
            f"Labels must be integers, booleans or strings [N], not {array.dtype} of shape {array.shape}; "
            "cast whole numbers with .astype(int).",
        )


def _check_targets(array: StoredArray) -> None:
    if array.dtype.kind not in "fiu" or len(array.shape) not in (1, 2) or 0 in array.shape[1:]:
        raise refusal(array.name, f"Targets must be numbers [N] or [N, K], not {array.dtype} of shape {array.shape}.")


def npz_columns(columns: Mapping[str, str], there: Collection[str]) -> dict[str, str]:
    """The arrays of our fields: those mapped, and those that bear their usual names. `labels` means `label`."""
    singular = {"labels": "label", "targets": "target"}
    mapping = {singular.get(ours, ours): theirs for ours, theirs in columns.items()}
    for ours, theirs in mapping.items():
        if ours not in NPZ_NAMES:
            raise refusal(f"columns.{ours[:60]}", f"An .npz has the fields {listed(NPZ_NAMES)}.")
        if theirs not in there:
            raise refusal(f"columns.{ours}", f"The file has no array {theirs!r}; it has {listed(there)}.")
    usual = {ours: name for ours, name in NPZ_NAMES.items() if ours not in mapping and name in there}
    return {ours: name for ours, name in usual.items() if name not in mapping.values()} | mapping
