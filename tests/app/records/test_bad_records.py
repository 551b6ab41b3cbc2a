"""What is wrong with a file is told with its place."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.records import InvalidDataset, inspect, limits, lines, read_arrays, read_examples, read_text
from tests.app.records.files import csv_of, inspected, jsonl, npz, parquet, picture, refused, write, zipped

GREY = np.zeros((4, 4), dtype=np.uint8)


@pytest.mark.parametrize(
    ("data", "location", "message"),
    [
        ('text,label\nok,x\n"two\nlines",y\nonly one\n', "line 5", "has 1 fields; the header has 2"),
        ("text,label\nok,x\na,b,c\n", "line 3", "has 3 fields"),
        ('text,label\nok,x\n"a"b,c\n', "line 3", "no valid CSV"),
        ('text,label\nok,x\n"never closed,c\nd,e\n', "line 3", "not closed"),
        ("text,label\nok,x\n,c\n", "line 3", "text is empty"),
        ("text,label\nok,x\nb,\n", "line 3", "label is empty"),
        ("text,target\nok,1\nb,one\n", "line 3", "must be a number, not 'one'"),
        ("text,target\nok,1\nb,nan\n", "line 3", "must be finite, not nan"),
        ("text,target\nok,1\nb,1_000\n", "line 3", "must be a number"),
        ("x,y\n1,2\n3,inf\n", "line 3", "y must be finite"),
        ("x,y\n1,2\n3,1e39\n", "line 3", "y must be within the range of a float32"),
        ("x,y\n1,2\n3,\n", "line 3", "y is missing"),
        ("a,a,label\n1,2,x\n", "line 1", "'a' twice"),
        ("1,2\n3,4\n", "line 1", "must name the columns"),
        ("text;label\na;b\n", "line 1", "separated by ';'"),
        ("text,label\n", "file", "no records"),
    ],
)
def test_a_bad_csv_record_is_told_by_its_physical_line(tmp_path: Path, data: str, location: str, message: str) -> None:
    assert message in refused(tmp_path, "a.csv", data)[location]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("{", "no JSON"),
        ("[1]", "must be a JSON object"),
        ('{"label": 2}', "has no 'text'; it has 'label'"),
        ('{"text": 5, "label": 2}', "text must be a string, not 5"),
        ('{"text": "a", "label": null}', "label is missing"),
        ('{"text": "a", "label": 1.5}', "label must be a string, an integer or a boolean, not 1.5"),
        ('{"text": "a", "label": "1"}', "of type str, the labels before it of type int"),
        ('{"text": "a", "label": true}', "of type bool, the labels before it of type int"),
        ('{"text": "a", "label": NaN}', "NaN is not JSON"),
        ('{"text": "a", "label": 99999999999999999999}', "does not fit in 64 bits"),
        ('{"text": "a", "label": ' + "9" * 5000 + "}", "too many digits"),
        ('{"text": "\\ud800", "label": 1}', "lone surrogate"),
        ('{"text": " ", "label": 1}', "text is empty"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_a_bad_json_line_is_told_by_its_line(tmp_path: Path, bad: str, message: str) -> None:
    data = '{"text": "a", "label": 1}\n\n' + bad + '\n{"text": "b", "label": 2}\n'
    assert message in refused(tmp_path, "a.jsonl", data)["line 3"]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"features": [1.0]}, "features has 1 numbers, the first record has 2"),
        ({"features": [1.0, True]}, "features[1] must be a number, not True"),
        ({"features": [1.0, None]}, "features[1] is missing"),
        ({"features": [1.0, "2"]}, "features[1] must be a number, not '2'"),
        ({"features": []}, "features is empty"),
        ({"features": 1.0}, "features must be a list of numbers"),
        ({"features": [1.0, 10**400]}, "features[1] must be within the range of a float32"),
    ],
)
def test_a_bad_vector_is_told_by_its_line(tmp_path: Path, bad: Any, message: str) -> None:
    found = refused(tmp_path, "a.jsonl", jsonl({"features": [1.0, 2.0]}, bad))
    assert message in found["line 2"]


def test_json_infinity_by_overflow_is_refused(tmp_path: Path) -> None:
    data = '{"features": [1.0]}\n{"features": [1e999]}\n'
    assert "must be finite, not inf" in refused(tmp_path, "a.jsonl", data)["line 2"]


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"tokens": ["a"], "tags": ["X", "Y"]}, "1 tokens and 2 tags"),
        ({"tokens": [], "tags": []}, "tokens is empty"),
        ({"tokens": ["a", ""], "tags": ["X", "Y"]}, "tokens[1] is empty"),
        ({"tokens": ["a"], "predicate": 1, "roles": ["O"]}, "predicate 1 is no index of the 1 tokens"),
        ({"tokens": ["a"], "predicate": True, "roles": ["O"]}, "predicate must be the index"),
        ({"tokens": ["a"], "predicate": 0, "roles": ["I-A0"]}, "a span begins with B-"),
        ({"tokens": ["a"], "predicate": 0, "roles": ["A0"]}, "must be O, B-… or I-…"),
        ({"prompt": "", "completion": "x"}, "prompt is empty"),
        ({"messages": [{"role": "user", "content": "x"}]}, "must be the assistant's"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role must be one of"),
        ({"messages": ["x"]}, "messages[0] must be an object"),
    ],
)
def test_a_bad_tagged_or_instructing_record_is_told(tmp_path: Path, record: Any, message: str) -> None:
    assert message in refused(tmp_path, "a.jsonl", jsonl(record))["line 1"]


def test_a_bad_line_of_a_conll_file_is_told(tmp_path: Path) -> None:
    assert "a token and its tag" in refused(tmp_path, "a.conll", "a X\nb\n\nc Y\n")["line 2"]
    assert "CoNLL-U has 10" in refused(tmp_path, "a.conllu", "1\ta\tX\n")["line 1"]
    assert "no column 'x'" in refused(tmp_path, "a.conllu", "1\ta\n", columns={"tags": "x"})["columns.tags"]


def test_only_twenty_errors_are_located_and_all_are_counted(tmp_path: Path) -> None:
    path = write(tmp_path, jsonl({"text": "a", "label": 1}, *({"text": ""} for _ in range(500))))
    with pytest.raises(InvalidDataset) as caught:
        inspect(path, "a.jsonl")
    assert caught.value.total == 500
    assert [error.location for error in caught.value.errors] == [f"line {number}" for number in range(2, 22)]


@pytest.mark.parametrize("filename", ["a.txt", "a.csv", "a.jsonl", "a.parquet", "a.npz", "a.zip", "a.conll"])
def test_an_empty_file_is_refused_whatever_its_type(tmp_path: Path, filename: str) -> None:
    assert refused(tmp_path, filename, b"") == {"file": "The file is empty."}


@pytest.mark.parametrize("filename", ["a.csv", "a.jsonl", "a.txt", "a.conll"])
def test_blank_files_hold_no_records(tmp_path: Path, filename: str) -> None:
    assert set(refused(tmp_path, filename, "\n\n")) == {"file"}


@pytest.mark.parametrize("filename", ["a.parquet", "a.npz", "a.zip"])
@pytest.mark.parametrize("data", [b"x", b"PAR1PAR1", b"PK\x05\x06" + b"\0" * 17, b"\x93NUMPY"])
def test_bytes_of_another_type_are_refused(tmp_path: Path, filename: str, data: bytes) -> None:
    assert set(refused(tmp_path, filename, data)) == {"file"}


@pytest.mark.parametrize("filename", ["a.parquet", "a.npz", "a.zip"])
def test_a_truncated_or_corrupted_file_is_refused_and_nothing_else_happens(tmp_path: Path, filename: str) -> None:
    rng = np.random.default_rng(0)
    whole = {
        "a.parquet": parquet(text=["some text"] * 300, label=[1, 2, 3] * 100),
        "a.npz": npz(features=rng.normal(size=(30, 4)), labels=np.arange(30)),
        "a.zip": zipped({f"{n % 2}/{n}.png": picture(rng.integers(0, 256, (4, 4), np.uint8)) for n in range(4)}),
    }[filename]
    assert refused(tmp_path, filename, whole[: len(whole) // 2])
    for position in range(0, len(whole), 7):
        corrupted = bytearray(whole)
        corrupted[position] ^= 0xFF
        try:
            inspected(tmp_path, filename, bytes(corrupted))
        except InvalidDataset as error:
            assert error.errors  # noqa: PT017  some flips do no harm, such as one in a time stamp


@pytest.mark.parametrize(
    ("filename", "location"), [("a.txt", "line 2"), ("a.csv", "line 2"), ("a.jsonl", "line 2"), ("a.conll", "line 2")]
)
def test_bytes_that_are_no_utf8_are_told_by_line_and_byte(tmp_path: Path, filename: str, location: str) -> None:
    found = refused(tmp_path, filename, b"text\nab\xffc\n")
    assert "0xff" in found[location]
    assert "7 of the file" in found[location]


def test_a_line_or_field_beyond_the_limit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "MAX_RECORD_BYTES", limits.MIB)
    long = "x" * (limits.MIB + 10)
    assert "longer than 1 MiB" in refused(tmp_path, "a.csv", f"text,label\na,b\n{long},c\nd,\n")["line 3"]
    assert "label is empty" in refused(tmp_path, "a.csv", f"text,label\na,b\n{long},c\nd,\n")["line 4"]
    assert "longer than 1 MiB" in refused(tmp_path, "a.jsonl", f'{{"text": "a"}}\n{{"text": "{long}"}}\n')["line 2"]


def test_a_quote_that_swallows_the_file_is_stopped_at_the_field_limit(tmp_path: Path) -> None:
    rows = "row,of some length to make it big\n" * 600_000
    assert "perhaps a quote is not closed" in refused(tmp_path, "a.csv", f'text,label\na,b\n"open,c\n{rows}')["line 3"]


def test_mapped_columns_must_exist(tmp_path: Path) -> None:
    data = csv_of(["review", "stars"], ["good", 5])
    found = refused(tmp_path, "a.csv", data, columns={"text": "reviews"})
    assert found == {"columns.text": "The file has no column 'reviews'; it has 'review', 'stars'."}
    assert "no such field" in refused(tmp_path, "a.csv", data, columns={"texts": "review"})["columns.texts"]
    assert "no columns" in refused(tmp_path, "a.txt", "abc", columns={"text": "x"})["columns"]


def test_a_parquet_value_is_told_by_its_row(tmp_path: Path) -> None:
    found = refused(tmp_path, "a.parquet", parquet(text=["a", None], label=["x", "y"]))
    assert found == {"row 2": "text must be a string, not None."}
    assert "row 2" in refused(tmp_path, "a.parquet", parquet(x=[1.0, float("nan")], y=[1, 2]))


@pytest.mark.parametrize(
    ("arrays", "location", "message"),
    [
        ({"features": np.array([[1.0, 2], [3, np.nan]])}, "features[1]", "features[1] must be finite"),
        ({"features": np.array([[1e300, 2]])}, "features[0]", "fit in a float32, not 1e+300"),
        ({"features": np.zeros(3)}, "features", "[N, F]"),
        ({"features": np.zeros((0, 3))}, "features", "[N, F]"),
        ({"features": np.array([["a"]])}, "features", "must be numbers"),
        ({"features": np.zeros((3, 2)), "labels": np.zeros(2, int)}, "labels", "has 2 rows; features has 3"),
        ({"features": np.zeros((2, 2)), "labels": np.zeros(2)}, "labels", "astype(int)"),
        ({"features": np.zeros((2, 2)), "labels": np.array(["a", ""])}, "labels[1]", "label is empty"),
        ({"features": np.zeros((2, 2)), "targets": np.array([1, np.inf])}, "targets[1]", "must be finite"),
        ({"images": np.zeros((2, 4, 4))}, "images", "must be uint8"),
        ({"images": np.zeros((2, 8, 8, 5), np.uint8)}, "images", "8 channels"),
        ({"images": np.zeros((2, 32, 32, 3), np.uint8)}, "images", "transpose"),
        ({"data": np.zeros((2, 2))}, "kind", "it has 'data'"),
    ],
)
def test_a_bad_npz_is_told_by_array_and_row(
    tmp_path: Path, arrays: dict[str, Any], location: str, message: str
) -> None:
    assert message in refused(tmp_path, "a.npz", npz(**arrays))[location]


def test_pictures_that_differ_from_the_first_are_named(tmp_path: Path) -> None:
    colour, wide = np.zeros((4, 4, 3), np.uint8), np.zeros((4, 5), np.uint8)
    entries = {"a/1.png": picture(GREY), "b/2.png": picture(colour), "b/3.png": picture(wide), "b/4.png": b"no"}
    found = refused(tmp_path, "a.zip", zipped(entries))
    assert found["'b/2.png'"] == "The picture is 4 x 4 colour; the first, 'a/1.png', 4 x 4 grey."
    assert "5 x 4 grey" in found["'b/3.png'"]
    assert "no readable PNG or JPEG" in found["'b/4.png'"]


def test_a_picture_in_no_folder_has_no_label(tmp_path: Path) -> None:
    data = zipped({"a/1.png": picture(GREY), "2.png": picture(GREY)})
    assert "lies in no folder" in refused(tmp_path, "a.zip", data)["'2.png'"]


def test_deep_colour_is_refused(tmp_path: Path) -> None:
    data = zipped({"a.png": picture(np.zeros((4, 4), np.uint16))})
    assert "8-bit grey or colour" in refused(tmp_path, "a.zip", data)["'a.png'"]


def test_reading_for_training_fails_at_the_first_bad_record(tmp_path: Path) -> None:
    path = write(tmp_path, jsonl({"text": "a", "label": 1}, {"text": "", "label": 1}, {"text": "", "label": 1}))
    examples = read_examples(path, "a.jsonl", "labeled_text")
    next(examples)
    with pytest.raises(InvalidDataset, match=r"^line 2: text is empty\.$"):
        next(examples)
    with pytest.raises(InvalidDataset, match="line 3"):
        read_arrays(write(tmp_path, "x\n1\n?\n"), "a.csv", "vectors")
    with pytest.raises(InvalidDataset, match="not UTF-8"):
        list(read_text(write(tmp_path, b"ab\xff"), "a.txt"))
