"""Every kind through every file type that carries it: what was written is what is read."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.records import (
    DatasetKind,
    Instruction,
    LabeledText,
    Message,
    ScoredText,
    SemanticRoles,
    TaggedTokens,
    read_arrays,
    read_examples,
    read_text,
)
from tests.app.records.files import csv_of, inspected, jsonl, npz, parquet, picture, write, zipped

TEXTS = ['Es war\neinmal, "zwei"', "日本語", "plain"]
FEATURES = np.array([[1.5, -2.0], [3.0, 0.25], [1e-3, 4e8]], dtype=np.float32)


@pytest.mark.parametrize(
    ("filename", "data"),
    [
        ("a.jsonl", jsonl(*({"text": text} for text in TEXTS))),
        ("a.csv", csv_of(["text"], *([text] for text in TEXTS))),
        ("a.parquet", parquet(text=TEXTS)),
    ],
)
def test_documents_are_read_as_written(tmp_path: Path, filename: str, data: bytes) -> None:
    report = inspected(tmp_path, filename, data)
    assert (report.kind, report.num_examples) == (DatasetKind.TEXT, 3)
    assert report.profile["length"] == {"p50": 5, "p95": 21, "max": 21}
    assert list(read_text(tmp_path / "blob", filename)) == TEXTS


def test_a_txt_is_one_stream_whose_pieces_concatenate_to_it(tmp_path: Path) -> None:
    text = "aé日𝄞" * 300_000
    report = inspected(tmp_path, "a.txt", text)
    pieces = list(read_text(tmp_path / "blob", "a.txt"))
    assert report.num_examples == 1
    assert report.profile["length"]["max"] == len(text)
    assert "".join(pieces) == text
    assert max(len(piece.encode()) for piece in pieces) <= 1 << 20


def test_a_byte_order_mark_is_no_text(tmp_path: Path) -> None:
    inspected(tmp_path, "a.txt", "\ufeffabc")
    assert list(read_text(tmp_path / "blob", "a.txt")) == ["abc"]
    assert inspected(tmp_path, "a.csv", "\ufefftext,label\na,b\n").kind is DatasetKind.LABELED_TEXT


@pytest.mark.parametrize(
    ("filename", "data", "labels"),
    [
        ("a.jsonl", jsonl(*({"text": t, "label": n} for n, t in enumerate(TEXTS))), [0, 1, 2]),
        ("a.jsonl", jsonl(*({"text": t, "label": n == 0} for n, t in enumerate(TEXTS))), [True, False, False]),
        ("a.csv", csv_of(["text", "label"], *([t, n] for n, t in enumerate(TEXTS))), ["0", "1", "2"]),
        ("a.parquet", parquet(text=TEXTS, label=[0, 1, 2]), [0, 1, 2]),
        ("a.parquet", parquet(text=TEXTS, label=["x", "y", "x"]), ["x", "y", "x"]),
    ],
)
def test_labels_keep_the_type_of_the_file(tmp_path: Path, filename: str, data: bytes, labels: list[Any]) -> None:
    report = inspected(tmp_path, filename, data)
    examples = list(read_examples(tmp_path / "blob", filename, report.kind, report.columns))
    assert report.kind is DatasetKind.LABELED_TEXT
    assert examples == [LabeledText(text, label) for text, label in zip(TEXTS, labels, strict=True)]
    assert [type(example.label) for example in examples if isinstance(example, LabeledText)] == list(map(type, labels))


@pytest.mark.parametrize(
    ("filename", "data"),
    [
        ("a.jsonl", jsonl({"text": "a", "target": 1}, {"text": "b", "target": 2.5})),
        ("a.csv", csv_of(["text", "target"], ["a", "1"], ["b", "2.5"])),
        ("a.parquet", parquet(text=["a", "b"], target=[1.0, 2.5])),
    ],
)
def test_scored_text_has_one_number_a_text(tmp_path: Path, filename: str, data: bytes) -> None:
    report = inspected(tmp_path, filename, data)
    assert report.profile["target_size"] == 1
    assert list(read_examples(tmp_path / "blob", filename, report.kind, report.columns)) == [
        ScoredText("a", (1.0,)),
        ScoredText("b", (2.5,)),
    ]


@pytest.mark.parametrize(
    ("filename", "data"),
    [
        ("a.csv", csv_of(["x", "y"], *FEATURES.tolist())),
        ("a.jsonl", jsonl(*({"features": row} for row in FEATURES.tolist()))),
        ("a.parquet", parquet(x=FEATURES[:, 0], y=FEATURES[:, 1])),
        ("a.parquet", parquet(features=FEATURES.tolist())),
        ("a.npz", npz(features=FEATURES)),
        ("a.npz", npz(features=np.asfortranarray(FEATURES.astype(np.float64)))),
    ],
)
def test_vectors_are_read_as_written(tmp_path: Path, filename: str, data: bytes) -> None:
    report = inspected(tmp_path, filename, data)
    arrays = read_arrays(tmp_path / "blob", filename, report.kind, report.columns)
    assert (report.kind, report.profile["num_features"]) == (DatasetKind.VECTORS, 2)
    assert arrays.inputs.dtype == np.float32
    np.testing.assert_array_equal(arrays.inputs, FEATURES)
    assert arrays.labels is None
    assert arrays.targets is None


@pytest.mark.parametrize(
    ("filename", "data", "labels"),
    [
        ("a.csv", csv_of(["x", "label", "y"], *([x, n, y] for n, (x, y) in enumerate(FEATURES))), ["0", "1", "2"]),
        ("a.jsonl", jsonl(*({"features": r, "label": n} for n, r in enumerate(FEATURES.tolist()))), [0, 1, 2]),
        ("a.parquet", parquet(label=[0, 1, 2], x=FEATURES[:, 0], y=FEATURES[:, 1]), [0, 1, 2]),
        ("a.npz", npz(features=FEATURES, labels=np.array(["a", "b", "c"])), ["a", "b", "c"]),
        ("a.npz", npz(features=FEATURES, labels=np.arange(3)), [0, 1, 2]),
    ],
)
def test_labeled_vectors_never_have_the_label_as_a_feature(
    tmp_path: Path, filename: str, data: bytes, labels: list[Any]
) -> None:
    report = inspected(tmp_path, filename, data)
    arrays = read_arrays(tmp_path / "blob", filename, report.kind, report.columns)
    assert report.kind is DatasetKind.LABELED_VECTORS
    np.testing.assert_array_equal(arrays.inputs, FEATURES)
    assert arrays.labels == labels
    plain = read_arrays(tmp_path / "blob", filename, "vectors")
    np.testing.assert_array_equal(plain.inputs, FEATURES)
    assert plain.labels is None


@pytest.mark.parametrize(
    ("filename", "data", "targets"),
    [
        ("a.csv", csv_of(["x", "y", "target"], *([x, y, n] for n, (x, y) in enumerate(FEATURES))), [[0], [1], [2]]),
        (
            "a.jsonl",
            jsonl(*({"features": r, "target": [n, -n]} for n, r in enumerate(FEATURES.tolist()))),
            [[0, 0], [1, -1], [2, -2]],
        ),
        ("a.parquet", parquet(features=FEATURES.tolist(), target=[0.0, 1.0, 2.0]), [[0], [1], [2]]),
        ("a.npz", npz(features=FEATURES, targets=np.arange(3)), [[0], [1], [2]]),
        ("a.npz", npz(features=FEATURES, targets=np.arange(6.0).reshape(3, 2)), [[0, 1], [2, 3], [4, 5]]),
    ],
)
def test_targets_are_a_column_a_number(tmp_path: Path, filename: str, data: bytes, targets: list[list[float]]) -> None:
    report = inspected(tmp_path, filename, data)
    arrays = read_arrays(tmp_path / "blob", filename, report.kind, report.columns)
    assert (report.kind, report.profile["target_size"]) == (DatasetKind.SCORED_VECTORS, len(targets[0]))
    assert arrays.targets is not None
    assert arrays.targets.dtype == np.float32
    np.testing.assert_array_equal(arrays.targets, targets)
    np.testing.assert_array_equal(arrays.inputs, FEATURES)


def test_arrays_that_span_many_blocks_are_joined_in_order(tmp_path: Path) -> None:
    features = np.arange(30_000 * 40, dtype=np.float64).reshape(30_000, 40) % 977
    labels = np.arange(30_000) % 7
    path = write(tmp_path, npz(features=features, labels=labels))
    arrays = read_arrays(path, "a.npz", "labeled_vectors")
    np.testing.assert_array_equal(arrays.inputs, features)
    assert arrays.labels == labels.tolist()


@pytest.mark.parametrize("shape", [(4, 3, 5), (4, 1, 3, 5), (4, 3, 3, 5)])
def test_npz_images_are_channels_first(tmp_path: Path, shape: tuple[int, ...]) -> None:
    images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    report = inspected(tmp_path, "a.npz", npz(images=images, labels=np.arange(4)))
    arrays = read_arrays(tmp_path / "blob", "a.npz", report.kind, report.columns)
    channels = shape[1] if len(shape) == 4 else 1
    assert (report.kind, report.profile["shape"]) == (DatasetKind.LABELED_IMAGES, [channels, 3, 5])
    np.testing.assert_array_equal(arrays.inputs, images.reshape(4, channels, 3, 5))
    assert arrays.labels == [0, 1, 2, 3]


@pytest.mark.parametrize("channels", [1, 3])
def test_zipped_pictures_take_their_folder_as_label(tmp_path: Path, channels: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 6, 5, channels), dtype=np.uint8)
    entries = {f"set/{'cat' if n % 2 else 'dog'}/{n}.png": picture(p.squeeze()) for n, p in enumerate(pixels)}
    clutter = {"__MACOSX/set/cat/._1.png": b"x", "set/.DS_Store": b"x"}
    report = inspected(tmp_path, "a.zip", zipped(entries | clutter))
    arrays = read_arrays(tmp_path / "blob", "a.zip", report.kind)
    assert (report.kind, report.profile["shape"]) == (DatasetKind.LABELED_IMAGES, [channels, 6, 5])
    np.testing.assert_array_equal(arrays.inputs, pixels.transpose(0, 3, 1, 2))
    assert arrays.labels == ["dog", "cat", "dog", "cat"]


def test_pictures_without_folders_are_images(tmp_path: Path) -> None:
    grey = np.full((4, 4), 7, dtype=np.uint8)
    data = zipped({"a.png": picture(grey), "b.jpg": picture(grey, "JPEG")})
    assert inspected(tmp_path, "a.zip", data).kind is DatasetKind.IMAGES


@pytest.mark.parametrize(
    ("filename", "data"),
    [
        ("a.jsonl", jsonl({"tokens": ["a", "b"], "tags": ["X", "Y"]}, {"tokens": ["c"], "tags": ["X"]})),
        ("a.parquet", parquet(tokens=[["a", "b"], ["c"]], tags=[["X", "Y"], ["X"]])),
        ("a.conll", "-DOCSTART- O\n\na _ X\nb _ Y\n\n\nc _ X"),
        (
            "a.conllu",
            "# text = a b\n1-2\tab"
            + "\t_" * 8
            + "\n1\ta\t_\tX"
            + "\t_" * 6
            + "\n2\tb\t_\tY"
            + "\t_" * 6
            + "\n\n1\tc\t_\tX"
            + "\t_" * 6
            + "\n",
        ),
    ],
)
def test_tagged_tokens_are_read_as_written(tmp_path: Path, filename: str, data: bytes | str) -> None:
    report = inspected(tmp_path, filename, data)
    assert report.profile["length"] == {"p50": 1, "p95": 2, "max": 2}
    assert report.profile["labels"] == {"X": 2, "Y": 1}
    assert list(read_examples(tmp_path / "blob", filename, report.kind, report.columns)) == [
        TaggedTokens(("a", "b"), ("X", "Y")),
        TaggedTokens(("c",), ("X",)),
    ]


def test_semantic_roles_and_instructions_are_read_as_written(tmp_path: Path) -> None:
    roles = {"tokens": ["She", "ran"], "predicate": 1, "roles": ["B-A0", "B-V"]}
    path = write(tmp_path, jsonl(roles))
    assert list(read_examples(path, "a.jsonl", "semantic_roles")) == [SemanticRoles(("She", "ran"), 1, ("B-A0", "B-V"))]
    messages = (Message("user", "2+2?"), Message("assistant", "4"))
    for record in (
        {"prompt": "2+2?", "completion": "4"},
        {"messages": [{"role": m.role, "content": m.content} for m in messages]},
    ):
        report = inspected(tmp_path, "a.jsonl", jsonl(record))
        assert report.kind is DatasetKind.INSTRUCTIONS
        assert list(read_examples(path, "a.jsonl", report.kind)) == [Instruction(messages)]
