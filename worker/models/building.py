"""Modules from their descriptions, with fresh weights; saved weights are loaded into them by name."""

from collections.abc import Callable, Mapping
from typing import assert_never

from torch import nn

from app.contract.compatibility import MethodKey
from app.contract.model_folder import BodyDescription, ModelDescription
from app.contract.specs.architectures import (
    BertArchitecture,
    ConvArchitecture,
    Gpt2Architecture,
    LstmArchitecture,
    MlpArchitecture,
    RnnArchitecture,
    SkipgramArchitecture,
    TextArchitecture,
    TransformerArchitecture,
)
from worker.models.autoencoder import Autoencoder, VariationalAutoencoder
from worker.models.bert import Bert
from worker.models.body import Body
from worker.models.conv import ConvBody, ConvDecoder
from worker.models.encoder import BidirectionalBody, Encoder, MaskedLanguageModel
from worker.models.gan import Gan
from worker.models.gpt2 import Gpt2
from worker.models.headless import Headless
from worker.models.heads import Classifier, Regressor
from worker.models.language_model import CausalBody, CausalLanguageModel
from worker.models.mlp import MlpBody, MlpDecoder
from worker.models.recurrent import Recurrent
from worker.models.role_labeler import RoleLabeler
from worker.models.skip_gram import SkipGram, Word2Vec
from worker.models.tagger import Tagger
from worker.models.transformer import Transformer


def build_body(description: BodyDescription) -> Body:
    match description.architecture:
        case MlpArchitecture() as shape:
            assert description.input_shape is not None
            return MlpBody(description.input_shape, shape.hidden_widths, shape.dropout, description.code_size)
        case ConvArchitecture() as shape:
            assert description.input_shape is not None
            assert description.code_size is not None
            return ConvBody(description.input_shape, shape.channels, shape.dropout, description.code_size)
        case shape:
            assert description.vocab_size is not None
            return _text_body(shape, description.vocab_size, bidirectional=description.bidirectional)


def _text_body(shape: TextArchitecture, vocab_size: int, *, bidirectional: bool) -> Body:
    match shape:
        case TransformerArchitecture():
            return (Encoder if bidirectional else Transformer)(shape, vocab_size)
        case Gpt2Architecture():
            return Gpt2(shape, vocab_size)
        case BertArchitecture():
            return Bert(shape, vocab_size)
        case SkipgramArchitecture():
            return SkipGram(shape, vocab_size)
        case LstmArchitecture() | RnnArchitecture():
            return Recurrent(shape, vocab_size)
        case _:
            assert_never(shape)


def build_module(description: ModelDescription) -> nn.Module:
    if description.headless:
        return Headless(build_body(description.body))
    return MODULES[description.kind, description.method](description)


def _causal_language_model(description: ModelDescription) -> nn.Module:
    body = build_body(description.body)
    assert isinstance(body, CausalBody)
    return CausalLanguageModel(body)


def _masked_language_model(description: ModelDescription) -> nn.Module:
    body = build_body(description.body)
    assert isinstance(body, BidirectionalBody)
    return MaskedLanguageModel(body)


def _word2vec(description: ModelDescription) -> nn.Module:
    body = build_body(description.body)
    assert isinstance(body, SkipGram)
    return Word2Vec(body)


def _autoencoder(description: ModelDescription) -> nn.Module:
    body = build_body(description.body)
    assert isinstance(body, MlpBody | ConvBody)
    form = VariationalAutoencoder if description.variational else Autoencoder
    return form(body, _decoder(description.body))


def _gan(description: ModelDescription) -> nn.Module:
    body = build_body(description.body)
    assert isinstance(body, MlpBody | ConvBody)
    return Gan(body, _decoder(description.body))


def _decoder(body: BodyDescription) -> MlpDecoder | ConvDecoder:
    """The mirror of a body that ends in a code."""
    assert body.input_shape is not None
    assert body.code_size is not None
    shape = body.architecture
    if isinstance(shape, ConvArchitecture):
        return ConvDecoder(body.input_shape, shape.channels, shape.dropout, body.code_size)
    assert isinstance(shape, MlpArchitecture)
    return MlpDecoder(body.input_shape, shape.hidden_widths, shape.dropout, body.code_size)


def _classifier(description: ModelDescription) -> nn.Module:
    assert description.labels is not None
    return Classifier(build_body(description.body), len(description.labels), description.pooling)


def _tagger(description: ModelDescription) -> nn.Module:
    assert description.labels is not None
    return Tagger(build_body(description.body), [*map(str, description.labels)], crf=description.crf)


def _role_labeler(description: ModelDescription) -> nn.Module:
    assert description.labels is not None
    return RoleLabeler(build_body(description.body), [*map(str, description.labels)])


def _regressor(description: ModelDescription) -> nn.Module:
    assert description.target_size is not None
    return Regressor(build_body(description.body), description.target_size)


MODULES: Mapping[MethodKey, Callable[[ModelDescription], nn.Module]] = {
    ("pretrain", "causal_language_model"): _causal_language_model,
    ("pretrain", "masked_language_model"): _masked_language_model,
    ("pretrain", "word2vec"): _word2vec,
    ("pretrain", "autoencoder"): _autoencoder,
    ("pretrain", "gan"): _gan,
    ("pretrain", "regression"): _regressor,
    ("finetune", "classification"): _classifier,
    ("finetune", "sequence_labeling"): _tagger,
    ("finetune", "semantic_role_labeling"): _role_labeler,
    ("finetune", "regression"): _regressor,
    ("finetune", "instruction_tuning"): _causal_language_model,
    ("finetune", "causal_language_model"): _causal_language_model,
    ("finetune", "masked_language_model"): _masked_language_model,
    ("finetune", "word2vec"): _word2vec,
    ("finetune", "autoencoder"): _autoencoder,
    ("finetune", "gan"): _gan,
}
