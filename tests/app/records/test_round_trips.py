"""Text that the standard library wrote as CSV or JSON lines is read back the same; any bytes are read or refused."""

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from app.records import InvalidDataset, LabeledText, inspect, read_examples
from tests.app.records.files import csv_of, jsonl, write

#: Carriage returns stay, because both forms quote them; a NUL does too.
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(lambda text: not text.isspace())
RECORDS = st.lists(st.tuples(TEXTS, st.text("ab1é \n,\"'", min_size=1, max_size=5)), min_size=1, max_size=8)


@settings(max_examples=150, deadline=None)
@given(RECORDS)
def test_csv_records_survive(records: list[tuple[str, str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder), csv_of(["text", "label"], *map(list, records)))
        report = inspect(path, "a.csv")
        assert report.num_examples == len(records)
        assert list(read_examples(path, "a.csv", report.kind)) == [LabeledText(*record) for record in records]


@settings(max_examples=100, deadline=None)
@given(RECORDS)
def test_json_lines_survive(records: list[tuple[str, str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder), jsonl(*({"text": text, "label": label} for text, label in records)))
        report = inspect(path, "a.jsonl")
        assert list(read_examples(path, "a.jsonl", report.kind)) == [LabeledText(*record) for record in records]
        assert sum(report.profile["labels"].values()) == len(records)


@settings(max_examples=150, deadline=None)
@given(
    st.binary(min_size=1, max_size=200), st.sampled_from(["csv", "jsonl", "txt", "conll", "conllu", "npz", "parquet"])
)
def test_any_bytes_are_read_or_refused(data: bytes, suffix: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder), data)
        try:
            assert inspect(path, f"a.{suffix}").num_examples > 0
        except InvalidDataset as error:
            refusal = error
        else:
            return
    assert refusal.total >= len(refusal.errors) > 0
    assert all(problem.location and problem.message for problem in refusal.errors)
