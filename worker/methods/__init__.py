"""Every method by (kind, type): one line a method, imported here and nowhere by effect.

A method is `prepare(assignment, log) -> Method` in a file of its own.
"""

from app.contract.compatibility import MethodKey
from worker.methods.finetune import (
    classification,
    instruction_tuning,
    semantic_role_labeling,
    sequence_labeling,
)
from worker.methods.finetune import regression as finetune_regression
from worker.methods.finetune.strategies import fine_tuning
from worker.methods.pretrain import autoencoder, causal_language_model, gan, masked_language_model, word2vec
from worker.methods.pretrain import regression as pretrain_regression
from worker.training.protocols import Builder

BUILDERS: dict[MethodKey, Builder] = {
    ("pretrain", "causal_language_model"): causal_language_model.prepare,
    ("pretrain", "masked_language_model"): masked_language_model.prepare,
    ("pretrain", "word2vec"): word2vec.prepare,
    ("pretrain", "autoencoder"): autoencoder.prepare,
    ("pretrain", "gan"): gan.prepare,
    ("pretrain", "regression"): pretrain_regression.prepare,
    ("finetune", "classification"): fine_tuning(classification.prepare),
    ("finetune", "sequence_labeling"): fine_tuning(sequence_labeling.prepare),
    ("finetune", "semantic_role_labeling"): fine_tuning(semantic_role_labeling.prepare),
    ("finetune", "regression"): fine_tuning(finetune_regression.prepare),
    ("finetune", "instruction_tuning"): fine_tuning(instruction_tuning.prepare),
    ("finetune", "causal_language_model"): fine_tuning(causal_language_model.prepare),
    ("finetune", "masked_language_model"): fine_tuning(masked_language_model.prepare),
    ("finetune", "word2vec"): fine_tuning(word2vec.prepare),
    ("finetune", "autoencoder"): fine_tuning(autoencoder.prepare),
    ("finetune", "gan"): fine_tuning(gan.prepare),
}
