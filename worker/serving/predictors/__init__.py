"""Predictors: one file a method, and the explicit map from (kind, method) to each."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from app.contract.compatibility import MethodKey
from app.contract.inference import Precision
from app.contract.model_folder import InputKind
from worker.export import LoadedModel, load_model
from worker.models.fused import fuse
from worker.serving.errors import ModelCorrupted
from worker.serving.precision import convert, precision_of
from worker.serving.predictors.autoencoder import autoencoder
from worker.serving.predictors.causal_language_model import causal_language_model
from worker.serving.predictors.classification import classification
from worker.serving.predictors.gan import gan
from worker.serving.predictors.headless import headless
from worker.serving.predictors.masked_language_model import masked_language_model
from worker.serving.predictors.protocol import Predictor
from worker.serving.predictors.regression import regression
from worker.serving.predictors.semantic_role_labeling import semantic_role_labeling
from worker.serving.predictors.sequence_labeling import sequence_labeling
from worker.serving.predictors.word2vec import word2vec

PREDICTORS: dict[MethodKey, Callable[[LoadedModel], Predictor]] = {
    ("pretrain", "causal_language_model"): causal_language_model,
    ("pretrain", "masked_language_model"): masked_language_model,
    ("pretrain", "word2vec"): word2vec,
    ("pretrain", "autoencoder"): autoencoder,
    ("pretrain", "gan"): gan,
    ("pretrain", "regression"): regression,
    ("finetune", "classification"): classification,
    ("finetune", "sequence_labeling"): sequence_labeling,
    ("finetune", "semantic_role_labeling"): semantic_role_labeling,
    ("finetune", "regression"): regression,
    ("finetune", "instruction_tuning"): causal_language_model,
    ("finetune", "causal_language_model"): causal_language_model,
    ("finetune", "masked_language_model"): masked_language_model,
    ("finetune", "word2vec"): word2vec,
    ("finetune", "autoencoder"): autoencoder,
    ("finetune", "gan"): gan,
}


def load_predictor(folder: Path, precision: Precision = "float32") -> Predictor:
    """From a verified model folder. What does not read text answers in float32, whatever `precision` says.

    Raises ModelCorrupted where its files do not belong together.
    """
    try:
        loaded = load_model(folder)
    except (ValueError, RuntimeError) as error:
        raise ModelCorrupted(f"The model's files cannot be loaded: {error}") from error
    if loaded.description.body.input is InputKind.TEXT:
        fuse(loaded.module)
        convert(loaded.module, precision)
    predictor = (
        headless(loaded)
        if loaded.description.headless
        else PREDICTORS[loaded.description.kind, loaded.description.method](loaded)
    )
    return replace(predictor, precision=precision_of(loaded.module))
