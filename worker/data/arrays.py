"""Vectors and images read for learning: whole, as arrays, with a key for each example."""

from collections.abc import Sequence

from app.contract.messages import DatasetInput
from app.records import read_arrays
from worker.data.examples import ArrayExamples, DataSet
from worker.data.failures import BadData
from worker.data.labels import CodedLabels
from worker.data.splits import content_keys


def read_array_data(dataset: DatasetInput, example_shape: Sequence[int] | None = None) -> DataSet:
    """Raises BadData where examples are not of `example_shape`, [F] or [C, H, W]."""
    arrays = read_arrays(dataset.path, dataset.filename, dataset.kind, dataset.columns)
    found = arrays.inputs.shape[1:]
    if example_shape is not None and found != tuple(example_shape):
        raise BadData(
            f"An example of {dataset.filename} has {_told(found)}, and this model reads {_told(example_shape)}. "
            "Give a data set of the same shape."
        )
    return DataSet(
        examples=ArrayExamples(arrays.inputs),
        keys=content_keys(example.tobytes() for example in arrays.inputs),
        labels=None if arrays.labels is None else CodedLabels.of(arrays.labels),
        targets=arrays.targets,
    )


def _told(shape: Sequence[int]) -> str:
    """`4 features`, or `1x8x8 pixels`."""
    return f"{shape[0]} features" if len(shape) == 1 else f"{'x'.join(map(str, shape))} pixels"
