"""One tiny job a method, on real records: what the contract suite runs over. A new method adds a file and a line."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from app.contract.compatibility import MethodKey
from app.contract.messages import Assignment
from tests.contract import (
    autoencoder,
    classification,
    continued,
    gan,
    imported,
    instructions,
    language_model,
    masked_language_model,
    regression,
    semantic_roles,
    tagged_words,
    word2vec,
)

Batch = dict[str, Tensor]


def rows(batch: Batch) -> list[Batch]:
    size = len(next(iter(batch.values())))
    return [{name: tensor[row : row + 1] for name, tensor in batch.items()} for row in range(size)]


@dataclass(frozen=True, slots=True)
class Case:
    """`assignment` writes what the job needs into a folder. `outputs`: one row an example of a batch.

    `falls`: the metric that training lowers. `examples`: the examples of a batch one by one, each as it would be alone.
    """

    assignment: Callable[[Path], Assignment]
    falls: str = field(default="train_loss", kw_only=True)
    outputs: Callable[[Any, Batch], Tensor] = lambda module, batch: module(batch)
    examples: Callable[[Batch], list[Batch]] = rows


def texts_alone(batch: Batch) -> list[Batch]:
    """Without the padding that longer mates ask for."""
    return [row | {"tokens": row["tokens"][:, : int(row["lengths"])]} for row in rows(batch)]


def logits_of_tokens(module: Any, batch: Batch) -> Tensor:
    logits: Tensor = module(batch["tokens"])
    return logits


def logits_of_pairs(module: Any, batch: Batch) -> Tensor:
    logits: Tensor = module(batch["centers"], batch["contexts"])
    return logits


def language_model_case(
    architecture: language_model.Shape = language_model.TRANSFORMER,
    tokenizer: language_model.Shape = language_model.BPE,
) -> Case:
    assignment = partial(language_model.assignment, architecture=architecture, tokenizer=tokenizer)
    return Case(assignment, logits_of_tokens)


def tagger_case(assignment: Callable[[Path], Assignment]) -> Case:
    return Case(assignment, outputs=tagged_words.outputs, examples=tagged_words.sentences_alone)


CASES: Mapping[MethodKey, Case] = {
    ("pretrain", "causal_language_model"): language_model_case(),
    ("pretrain", "masked_language_model"): Case(masked_language_model.assignment, logits_of_tokens),
    ("pretrain", "word2vec"): Case(word2vec.assignment, logits_of_pairs),
    ("pretrain", "autoencoder"): Case(autoencoder.of_images),
    ("pretrain", "gan"): Case(gan.of_images, gan.outputs, falls="validation_loss"),
    ("pretrain", "regression"): Case(regression.pretrained),
    ("finetune", "classification"): Case(classification.of_text, examples=texts_alone),
    ("finetune", "sequence_labeling"): tagger_case(tagged_words.from_a_masked_language_model),
    ("finetune", "semantic_role_labeling"): tagger_case(semantic_roles.from_a_masked_language_model),
    ("finetune", "regression"): Case(regression.of_vectors),
    ("finetune", "instruction_tuning"): Case(
        instructions.of_capitals, outputs=instructions.outputs, examples=texts_alone
    ),
    ("finetune", "causal_language_model"): Case(continued.a_language_model, logits_of_tokens),
    ("finetune", "masked_language_model"): Case(continued.a_masked_language_model, logits_of_tokens),
    ("finetune", "word2vec"): Case(continued.word_vectors, logits_of_pairs),
    ("finetune", "autoencoder"): Case(continued.a_variational_autoencoder),
    ("finetune", "gan"): Case(continued.a_gan, gan.outputs, falls="validation_loss"),
}

#: Other architectures, inputs and strategies of the same methods.
VARIANTS: Mapping[str, Case] = {
    "classification-from-a-masked-language-model": Case(
        classification.of_text_from_a_masked_language_model, examples=texts_alone
    ),
    "regression-from-word-vectors": Case(regression.of_text_from_word_vectors, examples=texts_alone),
    "language-model-by-an-lstm-of-word-pieces": language_model_case(
        architecture=language_model.LSTM, tokenizer={"type": "wordpiece", "vocab_size": 250}
    ),
    "language-model-by-an-rnn-of-characters": language_model_case(
        architecture=language_model.RNN, tokenizer={"type": "character"}
    ),
    "language-model-of-words": language_model_case(tokenizer={"type": "word", "vocab_size": 100}),
    "autoencoder-of-vectors": Case(autoencoder.of_vectors),
    "classification-from-a-gan": Case(gan.classified),
    "gan-of-vectors": Case(gan.of_vectors, gan.outputs, falls="validation_loss"),
    "gan-by-averaged-weights": Case(gan.by_averaged_weights, gan.outputs, falls="validation_loss"),
    "autoencoder-denoising-and-variational": Case(autoencoder.denoising_and_variational),
    "instruction-tuning-of-an-lstm": Case(
        partial(instructions.of_capitals, architecture=language_model.LSTM),
        outputs=instructions.outputs,
        examples=texts_alone,
    ),
    "language-model-continued-from-an-lstm": Case(continued.an_lstm, logits_of_tokens),
    "classification-of-balanced-text-with-gaps": Case(classification.of_balanced_text_with_gaps, examples=texts_alone),
    "classification-of-images-never-seen-twice-alike": Case(classification.of_images_never_seen_twice_alike),
    "regression-of-mixed-vectors-by-averaged-weights": Case(regression.of_mixed_vectors_by_averaged_weights),
    "classification-from-gpt2": Case(
        partial(imported.classified, body=imported.body(imported.GPT2)), examples=texts_alone
    ),
    "classification-from-bert": Case(
        partial(imported.classified, body=imported.body(imported.BERT, bidirectional=True)), examples=texts_alone
    ),
    "language-model-continued-from-gpt2": Case(
        partial(imported.continued, body=imported.body(imported.GPT2)), logits_of_tokens
    ),
    "masked-language-model-continued-from-bert": Case(
        partial(imported.continued, body=imported.body(imported.BERT, bidirectional=True)), logits_of_tokens
    ),
    "classification-by-a-linear-probe": Case(classification.of_vectors_by_a_linear_probe),
    "classification-by-layer-rates": Case(
        partial(
            classification.of_text_from_a_masked_language_model,
            strategy={"type": "full", "layer_learning_rate_decay": 0.7},
        ),
        examples=texts_alone,
    ),
    "classification-by-gradual-unfreezing": Case(
        partial(classification.of_text, strategy={"type": "gradual_unfreezing", "unfreeze_every": {"steps": 4}}),
        examples=texts_alone,
    ),
    "classification-by-adapters": Case(
        partial(
            classification.of_text_from_a_masked_language_model, strategy={"type": "lora", "rank": 4, "dropout": 0.1}
        ),
        examples=texts_alone,
    ),
    "sequence-labeling-by-adapters": tagger_case(
        partial(
            tagged_words.from_a_language_model,
            strategy={"type": "lora", "rank": 16, "alpha": 64.0, "targets": ["v_proj", "mlp.up_proj"]},
        )
    ),
    "gan-continued-by-gradual-unfreezing": Case(
        partial(continued.a_gan, strategy={"type": "gradual_unfreezing", "layer_learning_rate_decay": 0.8}),
        gan.outputs,
        falls="validation_loss",
    ),
    "classification-from-an-lstm": Case(
        partial(classification.of_text, architecture=language_model.LSTM), examples=texts_alone
    ),
    "sequence-labeling-by-a-crf": tagger_case(tagged_words.by_a_crf),
    "sequence-labeling-from-a-language-model": tagger_case(tagged_words.from_a_language_model),
    "sequence-labeling-from-an-rnn": tagger_case(
        partial(tagged_words.from_a_language_model, architecture=language_model.RNN)
    ),
    "sequence-labeling-from-word-vectors": tagger_case(tagged_words.from_word_vectors),
    "semantic-roles-from-a-language-model": tagger_case(semantic_roles.from_a_language_model),
    "semantic-roles-from-an-lstm": tagger_case(
        partial(semantic_roles.from_a_language_model, architecture=language_model.LSTM)
    ),
    "semantic-roles-from-word-vectors": tagger_case(semantic_roles.from_word_vectors),
    "regression-of-text": Case(regression.of_text, examples=texts_alone),
    "regression-of-text-from-an-rnn": Case(
        partial(regression.of_text, architecture=language_model.RNN), examples=texts_alone
    ),
}

#: Variants that show the compiler steps which it has seen in no method's case. To compile one takes half a minute.
COMPILED = (
    "language-model-by-an-lstm-of-word-pieces",
    "language-model-by-an-rnn-of-characters",
    "regression-of-mixed-vectors-by-averaged-weights",
    "classification-from-gpt2",
    "classification-by-gradual-unfreezing",
    "classification-by-adapters",
    "sequence-labeling-by-a-crf",
)
