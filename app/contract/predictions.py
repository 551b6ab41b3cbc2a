"""What a batch prediction leaves: lines of JSON, one a record, in order. In parts while it runs, then as one file.

{"index": 0, "output": {...}}
{"index": 1, "error": {"code": "invalid_input", "message": "..."}}
"""

PREDICTIONS_NAME = "predictions.jsonl"
MEDIA_TYPE = "application/jsonl"
#: Artifacts of parts are called by the index of their first record.
PARTS_FOLDER = "predictions"


def part_file_name(first_index: int) -> str:
    return f"part-{first_index:012d}.jsonl"


def part_name(first_index: int) -> str:
    return f"{PARTS_FOLDER}/{part_file_name(first_index)}"


def is_part(artifact_name: str) -> bool:
    return artifact_name.startswith(f"{PARTS_FOLDER}/")
