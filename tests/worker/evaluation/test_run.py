"""One attempt of an evaluation: what it leaves, what a kill does not take from it, and what it says of bad data."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from app.contract.errors import ErrorCode
from app.contract.evaluations import EvaluationReport
from app.contract.job import Fault
from app.contract.messages import EXIT_FAILED, EXIT_STOPPED, DatasetInput, FailedLine, ReportLine
from app.evaluation.units import Units
from tests.contract.datasets import dataset
from tests.worker.evaluation.evaluating import Attempt, Killed
from tests.worker.serving import models
from worker.evaluation import run, scorer
from worker.serving.predictors import load_predictor

WORDS = models.TEXT.split()


def jsonl(folder: Path, kind: str, records: Sequence[Mapping[str, object]]) -> DatasetInput:
    path = folder / f"{kind}.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return dataset(path, kind)


def labeled(folder: Path, count: int = 40) -> DatasetInput:
    """Texts of many lengths."""
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(WORDS, int(rng.integers(1, 12)))) for _ in range(count)]
    labels = ["neg" if rng.random() < 0.5 else "pos" for _ in texts]
    records = [{"text": text, "label": label} for text, label in zip(texts, labels, strict=True)]
    return jsonl(folder, "labeled_text", records)


def documents(folder: Path, count: int = 40) -> DatasetInput:
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(WORDS, int(rng.integers(2, 40)))) for _ in range(count)]
    return jsonl(folder, "text", [{"text": text} for text in texts])


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one batch each, and those of few examples."""
    monkeypatch.setattr(run, "PART_BATCHES", 1)
    monkeypatch.setattr(scorer, "MAX_EXAMPLES", 8)
    monkeypatch.setattr("worker.evaluation.text.MAX_EXAMPLES", 8)


def test_a_unit_tells_what_the_model_answers(tmp_path: Path) -> None:
    """Whatever batch it stands in: each is as the predictor of serving has it."""
    model, data = models.text_classifier(tmp_path / "model"), labeled(tmp_path)
    attempt = Attempt(model, data, tmp_path / "out")
    assert attempt.run() == 0, attempt.last
    units = attempt.units
    records = [json.loads(line) for line in data.path.read_text().splitlines()]
    operation = load_predictor(model).predict
    assert operation is not None
    encoded = operation.encode_pre([record["text"] for record in records])
    rows = [operation.encode_core([row.value])[0] for row in encoded.rows]
    for place, output in enumerate(operation.encode_post(encoded, rows)):
        label = records[place]["label"]
        assert ("neg", "pos")[units["given"][place]] == label
        assert ("neg", "pos")[units["told"][place]] == output["label"]
        assert units["nats"][place] == pytest.approx(-np.log(output["scores"][label]), rel=1e-4, abs=1e-5)
        assert units["confidence"][place] == pytest.approx(output["score"], rel=1e-5)
        wanted = sum((p - (name == label)) ** 2 for name, p in output["scores"].items())
        assert units["brier"][place] == pytest.approx(wanted, rel=1e-4, abs=1e-7)


def test_the_report_is_the_artifact_and_the_last_line(tmp_path: Path) -> None:
    attempt = Attempt(models.text_classifier(tmp_path / "model"), labeled(tmp_path), tmp_path / "out")
    assert attempt.run() == 0, attempt.last
    assert EvaluationReport.model_validate_json(attempt.result[0]) == attempt.report
    assert (attempt.report.unit, attempt.report.num_units) == ("example", 40)
    assert attempt.reported_parts == ["units/part-000000000000.npz"]


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize(
    "kind",
    ["text_classifier", "language_model", "masked_language_model", "word_vectors", "instruction_model", "tagger"],
)
def test_a_kill_changes_no_byte_and_takes_no_part_back(kind: str, tmp_path: Path) -> None:
    model = getattr(models, kind)(tmp_path / "model")
    data = {
        "text_classifier": labeled,
        "instruction_model": conversations,
        "tagger": tagged,
    }.get(kind, documents)(tmp_path)
    whole = Attempt(model, data, tmp_path / "whole", seed=3)
    assert whole.run() == 0, whole.last
    assert len(whole.reported_parts) > 2

    killed = Attempt(model, data, tmp_path / "killed", seed=3, until_part=whole.reported_parts[2])
    with pytest.raises(Killed):
        killed.run()
    after = Attempt(model, data, tmp_path / "killed", seed=3)
    assert after.run() == 0, after.last
    assert killed.reported_parts + after.reported_parts == whole.reported_parts
    assert after.result == whole.result


def conversations(folder: Path, count: int = 40) -> DatasetInput:
    rng = np.random.default_rng(0)
    said = [" ".join(rng.choice(WORDS, int(rng.integers(1, 6)))) for _ in range(2 * count)]
    records = [{"prompt": asked, "completion": told} for asked, told in zip(said[::2], said[1::2], strict=True)]
    return jsonl(folder, "instructions", records)


def tagged(folder: Path, count: int = 40) -> DatasetInput:
    """Some sentences are longer than the context."""
    rng = np.random.default_rng(0)
    sentences = [rng.choice(WORDS, int(rng.integers(1, 30))).tolist() for _ in range(count)]
    tags = [["B-ANIMAL" if word in {"fox", "dog"} else "O" for word in words] for words in sentences]
    return jsonl(folder, "tagged_tokens", [{"tokens": a, "tags": b} for a, b in zip(sentences, tags, strict=True)])


def test_a_sentence_beyond_the_context_is_one_unit(tmp_path: Path) -> None:
    attempt = Attempt(models.tagger(tmp_path / "model"), tagged(tmp_path), tmp_path / "out")
    assert attempt.run() == 0, attempt.last
    records = [json.loads(line) for line in (tmp_path / "tagged_tokens.jsonl").read_text().splitlines()]
    assert attempt.units["words"].tolist() == [len(record["tokens"]) for record in records]
    assert (attempt.units["judged"] == attempt.units["words"]).all()
    assert attempt.units["span_given"][:, 0].tolist() == [record["tags"].count("B-ANIMAL") for record in records]


def test_every_token_of_every_document_is_judged_once(tmp_path: Path) -> None:
    data = documents(tmp_path)
    attempt = Attempt(models.language_model(tmp_path / "model"), data, tmp_path / "out")
    assert attempt.run() == 0, attempt.last
    assert attempt.report.unit == "document"
    texts = [json.loads(line)["text"] for line in data.path.read_text().splitlines()]
    assert attempt.units["characters"].tolist() == [len(text) for text in texts]


def test_a_plain_language_model_is_judged_by_the_answers_of_conversations(tmp_path: Path) -> None:
    attempt = Attempt(models.language_model(tmp_path / "model"), conversations(tmp_path), tmp_path / "out")
    assert attempt.run() == 0, attempt.last
    assert (attempt.report.unit, attempt.report.num_units) == ("conversation", 40)


def test_roles_count_arguments_and_not_the_predicate(tmp_path: Path) -> None:
    record: dict[str, object] = {
        "tokens": ["the", "quick", "fox", "jumps"],
        "predicate": 3,
        "roles": ["B-A1", "I-A1", "I-A1", "B-V"],
    }
    model = models.role_labeler(tmp_path / "model")
    attempt = Attempt(model, jsonl(tmp_path, "semantic_roles", [record] * 3), tmp_path / "out")
    assert attempt.run() == 0, attempt.last
    assert [each.label for each in attempt.report.labels or ()] == ["A0", "A1"]
    assert attempt.units["span_given"].tolist() == [[0, 1]] * 3


def test_a_variational_autoencoder_tells_its_divergence_too(tmp_path: Path) -> None:
    path = models.write_model(
        tmp_path / "model", "pretrain", "autoencoder", models.FEATURE_BODY | {"code_size": 2}, variational=True
    )
    data = tmp_path / "vectors.npz"
    np.savez(data, features=np.random.default_rng(0).normal(size=(50, models.NUM_FEATURES)))
    attempt = Attempt(path, dataset(data, "vectors"), tmp_path / "out")
    assert attempt.run() == 0, attempt.last
    assert set(attempt.report.measures) == {"squared_error", "divergence"}


def test_labels_are_the_same_whatever_type_a_file_gives_them(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("a,b,c,d,label\n" + "1,2,3,4,5\n4,3,2,1,3\n" * 20)
    attempt = Attempt(models.feature_classifier(tmp_path / "model"), dataset(path, "labeled_vectors"), tmp_path / "out")
    assert attempt.run() == 0, attempt.last
    assert [(each.label, each.support) for each in attempt.report.labels or ()] == [(3, 20), (5, 20), (8, 0)]


@pytest.mark.parametrize(
    ("kind", "records", "told"),
    [
        ("text_classifier", [{"text": "a", "label": "neutral"}, {"text": "b", "label": "pos"}], r"'neutral'.*'neg'"),
        ("tagger", [{"tokens": ["a", "b"], "tags": ["B-TOOL", "O"]}], r"'B-TOOL'.*'B-ANIMAL'"),
    ],
)
def test_labels_that_the_model_does_not_know_are_the_users_fault(
    kind: str, records: Sequence[Mapping[str, object]], told: str, tmp_path: Path
) -> None:
    data = jsonl(tmp_path, "tagged_tokens" if kind == "tagger" else "labeled_text", records)
    attempt = Attempt(getattr(models, kind)(tmp_path / "model"), data, tmp_path / "out")
    assert attempt.run() == EXIT_FAILED
    assert isinstance(attempt.last, FailedLine)
    assert (attempt.last.error.code, attempt.last.error.fault) == (ErrorCode.BAD_DATA, Fault.USER)
    assert re.search(told, attempt.last.error.message)


def test_a_model_that_answers_with_no_numbers_is_told(tmp_path: Path) -> None:
    model = models.feature_regressor(tmp_path / "model")
    path = tmp_path / "scored.csv"
    path.write_text("a,b,c,d,target\n" + "3e38,3e38,3e38,3e38,1\n" * 2)
    attempt = Attempt(model, dataset(path, "scored_vectors"), tmp_path / "out")
    assert attempt.run() == EXIT_FAILED
    assert isinstance(attempt.last, FailedLine)
    assert (attempt.last.error.code, attempt.last.error.fault) == (ErrorCode.INVALID_MODEL, Fault.USER)
    assert "not finite" in attempt.last.error.message


@pytest.mark.usefixtures("small_parts")
def test_told_to_stop_it_ends_within_a_batch_and_goes_on_later(tmp_path: Path) -> None:
    model, data = models.text_classifier(tmp_path / "model"), labeled(tmp_path)
    stopped = Attempt(model, data, tmp_path / "out")

    def stop_after_first(line: ReportLine) -> None:
        if stopped.reported_parts:
            stopped.stop.set()

    stopped.on_report = stop_after_first
    assert stopped.run() == EXIT_STOPPED
    assert len(stopped.reported_parts) == 1
    assert Attempt(model, data, tmp_path / "out").run() == 0


def test_another_seed_hides_other_tokens(tmp_path: Path) -> None:
    model, data = models.masked_language_model(tmp_path / "model"), documents(tmp_path)

    def judged(seed: int) -> Units:
        attempt = Attempt(model, data, tmp_path / f"seed-{seed}", seed=seed)
        assert attempt.run() == 0, attempt.last
        return attempt.units

    assert not np.array_equal(judged(0)["nats"], judged(1)["nats"])
