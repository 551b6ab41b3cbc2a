"""The kind is inferred where the content leaves no doubt; the profile says what the file holds."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.records.profile import Duplicates, Lengths
from tests.app.records.files import csv_of, inspected, jsonl, npz, picture, refused, zipped


@pytest.mark.parametrize(
    ("filename", "data", "candidates"),
    [
        ("a.jsonl", jsonl({"text": "a", "label": 1, "target": 2}), ["labeled_text", "scored_text"]),
        ("a.csv", csv_of(["x", "label", "target"], [1, "a", 2]), ["labeled_vectors", "scored_vectors"]),
        (
            "a.npz",
            npz(features=np.zeros((1, 2)), images=np.zeros((1, 2, 2), np.uint8)),
            ["images", "vectors"],
        ),
        (
            "a.jsonl",
            jsonl({"tokens": ["a"], "tags": ["X"], "predicate": 0, "roles": ["O"]}),
            ["tagged_tokens", "semantic_roles"],
        ),
        ("a.zip", zipped({"a/1.png": picture(np.zeros((2, 2), np.uint8))}), ["labeled_images", "images"]),
    ],
)
def test_a_doubtful_file_is_refused_naming_the_candidates(
    tmp_path: Path, filename: str, data: bytes, candidates: list[str]
) -> None:
    message = refused(tmp_path, filename, data)["kind"]
    assert all(repr(candidate) in message for candidate in candidates)
    for candidate in candidates:
        assert inspected(tmp_path, filename, data, kind=candidate).kind == candidate


def test_a_file_without_known_columns_names_those_it_has(tmp_path: Path) -> None:
    message = refused(tmp_path, "a.csv", csv_of(["review", "stars"], ["good", "many"]))["kind"]
    assert "'review', 'stars'" in message
    assert '{"text": "review", "label": "stars"}' in message


def test_columns_are_mapped_and_told_in_the_report(tmp_path: Path) -> None:
    mapping = {"text": "review", "label": "stars"}
    report = inspected(tmp_path, "a.csv", csv_of(["id", "stars", "review"], [1, 5, "good"]), columns=mapping)
    assert (report.kind, report.columns) == ("labeled_text", mapping)
    assert report.profile["labels"] == {"5": 1}
    assert "Not read: the columns 'id'." in report.warnings


def test_npz_arrays_of_other_names_are_mapped(tmp_path: Path) -> None:
    data = npz(X=np.zeros((2, 3)), y=np.array([0, 1]))
    report = inspected(tmp_path, "a.npz", data, columns={"features": "X", "labels": "y"})
    assert (report.kind, report.columns) == ("labeled_vectors", {"features": "X", "label": "y"})


def test_text_columns_beside_numbers_are_not_features(tmp_path: Path) -> None:
    report = inspected(tmp_path, "a.csv", csv_of(["", "x", "name", "y"], [0, 1, "a", 2], [1, 3, "b", 4]))
    assert report.profile == {"num_features": 2}
    assert report.warnings == ["Not read: the columns '', 'name'."]


@pytest.mark.parametrize(
    ("filename", "data", "kind", "message"),
    [
        ("a.csv", "text\na\n", "picture", "no kind of data set"),
        ("a.csv", "text\na\n", "images", "comes as .npz or .zip, not as .csv"),
        ("a.txt", "a", "labeled_text", "comes as .csv or .jsonl or .parquet, not as .txt"),
    ],
)
def test_a_kind_that_the_file_cannot_carry_is_refused(
    tmp_path: Path, filename: str, data: str, kind: str, message: str
) -> None:
    assert message in refused(tmp_path, filename, data, kind=kind)["kind"]


def test_a_kind_whose_column_is_missing_says_which(tmp_path: Path) -> None:
    message = refused(tmp_path, "a.csv", "text,stars\na,b\n", kind="labeled_text")["columns.label"]
    assert "needs 'label'" in message
    assert "'text', 'stars'" in message


@pytest.mark.parametrize("filename", ["a", "a.exe", "../../etc/passwd", ".csv", "a.csv.gz"])
def test_an_unknown_suffix_is_refused(tmp_path: Path, filename: str) -> None:
    assert "must end in one of" in refused(tmp_path, filename, "text\na\n")["file"]


def test_only_the_suffix_of_a_name_counts(tmp_path: Path) -> None:
    assert inspected(tmp_path, "..\\..\\x/../Y.CSV", "text\na\n").kind == "text"


def _warned(tmp_path: Path, records: list[Any]) -> str:
    return " ".join(inspected(tmp_path, "a.jsonl", jsonl(*records)).warnings)


def test_warnings_name_what_harms_learning(tmp_path: Path) -> None:
    assert "Every record has the label 'x'" in _warned(tmp_path, [{"text": str(n), "label": "x"} for n in range(5)])
    skewed = [{"text": str(n), "label": "y" if n else "x"} for n in range(50)]
    assert "'y' stands on 98 %" in _warned(tmp_path, skewed)
    assert "1 of 2 labels occur only once" in _warned(tmp_path, skewed)
    assert "2 records repeat the text" in _warned(tmp_path, [{"text": "a", "target": n} for n in range(3)])
    assert "The target never changes" in _warned(tmp_path, [{"text": str(n), "target": 1} for n in range(3)])
    assert "features 1 never change" in _warned(tmp_path, [{"features": [n, 7]} for n in range(3)])
    assert "1 of 2 texts are empty" in _warned(tmp_path, [{"text": ""}, {"text": "a"}])


def test_percentiles_agree_with_sorting_within_half_a_percent() -> None:
    rng = np.random.default_rng(0)
    lengths = rng.lognormal(6, 2, 20_000).astype(int)
    summary = Lengths()
    for length in lengths.tolist():
        summary.add(length)
    profile = summary.profile()
    ranked = np.sort(lengths)
    assert profile["max"] == ranked[-1]
    assert profile["p50"] == pytest.approx(ranked[10_000 - 1], rel=0.005)
    assert profile["p95"] == pytest.approx(ranked[19_000 - 1], rel=0.005)


def test_duplicates_beyond_the_sample_are_estimated_in_bounded_memory() -> None:
    duplicates = Duplicates("text")
    for number in range(400_000):
        duplicates.add(f"record {number % 300_000}")
    assert len(duplicates._counts) <= 1 << 16
    (warning,) = duplicates.warnings()
    assert warning.startswith("About ")
    assert int(warning.split()[1].replace(",", "")) == pytest.approx(100_000, rel=0.05)


def test_more_labels_than_are_counted_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.records.profile.MAX_LABELS", 3)
    report = inspected(tmp_path, "a.jsonl", jsonl(*({"text": str(n), "label": n} for n in range(5))))
    assert report.profile["labels"] == {"0": 1, "1": 1, "2": 1}
    assert (report.profile["num_labels"], report.profile["uncounted_labels"]) == (None, 2)
