"""The model folders of an encoder, read by the tools that they are named for."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.contract import classification, masked_language_model
from tests.contract.runs import prepared
from tests.worker.serving.test_predictors import answers, approximately
from worker.export import load_model
from worker.methods.finetune.classification import ClassificationMethod
from worker.methods.pretrain.masked_language_model import MaskedLanguageModelMethod
from worker.serving.predictors import load_predictor

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


def spread(module: torch.nn.Module) -> None:
    """Weights so large that a position or a norm out of place shows in the logits."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(3.0)


@pytest.fixture(params=[True, False], ids=["tied", "untied"])
def method(request: pytest.FixtureRequest, tmp_path: Path) -> MaskedLanguageModelMethod:
    assignment = masked_language_model.assignment(tmp_path / "job")
    spec: Any = assignment.spec
    shape = spec.method.architecture.model_copy(update={"tie_embeddings": request.param})
    changed = spec.model_copy(update={"method": spec.method.model_copy(update={"architecture": shape})})
    method = prepared(assignment.model_copy(update={"spec": changed}))
    assert isinstance(method, MaskedLanguageModelMethod)
    spread(method.model)
    return method


@pytest.fixture
def folder(method: MaskedLanguageModelMethod, tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    method.export(folder)
    return folder


def test_transformers_loads_it_as_modern_bert_with_the_same_logits(
    method: MaskedLanguageModelMethod, folder: Path
) -> None:
    from transformers import AutoModelForMaskedLM, ModernBertForMaskedLM  # noqa: PLC0415  seconds, for this room alone

    theirs = AutoModelForMaskedLM.from_pretrained(folder)
    tokens = method.train_data.micro_batches(0)[0]["tokens"]

    assert isinstance(theirs, ModernBertForMaskedLM)
    with torch.no_grad():
        logits = method.model.eval()(tokens)
        assert logits.std() > 1
        torch.testing.assert_close(theirs(tokens).logits, logits, rtol=0, atol=1e-4)


def test_its_pipeline_fills_masks_as_our_predictor_does(folder: Path) -> None:
    from transformers import pipeline  # noqa: PLC0415

    texts = ["The [MASK] of a class", "a function is [MASK]"]
    theirs = pipeline("fill-mask", str(folder), top_k=4)(texts)
    ours = answers(load_predictor(folder).predict, texts)

    for told, output in zip(theirs, ours, strict=True):
        expected = [{"token": guess["token_str"], "score": guess["score"]} for guess in told]
        assert output["masks"][0][:4] == approximately(expected)


def test_transformers_loads_a_classifier_with_the_same_logits_beside_padding(tmp_path: Path) -> None:
    from transformers import AutoModelForSequenceClassification  # noqa: PLC0415

    method = prepared(classification.of_text_from_a_masked_language_model(tmp_path))
    assert isinstance(method, ClassificationMethod)
    spread(method.model)
    folder = tmp_path / "exported"
    folder.mkdir()
    method.export(folder)

    theirs = AutoModelForSequenceClassification.from_pretrained(folder)
    batch = method.train_data.micro_batches(0)[0] | {"lengths": torch.tensor([3, 32, 9, 1, 20, 5, 7, 2])}
    mask = torch.arange(batch["tokens"].shape[1]) < batch["lengths"][:, None]

    assert list(theirs.config.id2label.values()) == list(load_model(folder).description.labels or ())
    with torch.no_grad():
        logits = method.model.eval()(batch)
        assert logits.std() > 0.1
        torch.testing.assert_close(theirs(batch["tokens"], mask.long()).logits, logits, rtol=0, atol=1e-4)
