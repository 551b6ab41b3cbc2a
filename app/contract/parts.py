"""What a job that goes over a data set has done so far: artifacts that no kill takes back, until the whole stands.

predictions/part-000000000128.jsonl   of a batch prediction, by the index of its first record
units/part-000000000016.npz           of an evaluation, by the number of its first batch
"""

from enum import StrEnum
from pathlib import PurePosixPath


class PartsFolder(StrEnum):
    PREDICTIONS = "predictions"
    UNITS = "units"


_SUFFIXES = {PartsFolder.PREDICTIONS: "jsonl", PartsFolder.UNITS: "npz"}


def part_name(folder: PartsFolder, first: int) -> str:
    """Of an artifact; its last part is the file's."""
    return f"{folder}/part-{first:012d}.{_SUFFIXES[folder]}"


def is_part(artifact_name: str) -> bool:
    return PurePosixPath(artifact_name).parts[0] in {folder.value for folder in PartsFolder} and "/" in artifact_name
