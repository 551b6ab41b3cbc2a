"""Stock names: config.json, tokenizer_config.json and the names of tensors, such that transformers computes the same.

Knows modules and descriptions, and no file.
"""

from typing import Any, NamedTuple

from tokenizers import Tokenizer
from torch import Tensor, nn

from app.contract.model_folder import OUR_MODEL_TYPE, ModelDescription, Pooling, TokenRole, label_key
from app.contract.specs.architectures import (
    BertArchitecture,
    Gpt2Architecture,
    MaskedArchitecture,
    TextArchitecture,
    TransformerArchitecture,
)
from worker.data.tokenizers import Frame, token_in_role, unknown_token
from worker.models.bert import Bert
from worker.models.body import Body
from worker.models.encoder import Encoder, MaskedLanguageModel
from worker.models.gpt2 import Gpt2
from worker.models.headless import Headless
from worker.models.heads import Classifier
from worker.models.language_model import CausalLanguageModel
from worker.models.tagger import Tagger
from worker.models.transformer import Transformer

Json = dict[str, Any]


class StockForm(NamedTuple):
    """The class that computes the same, and how names of its tensors begin, by how ours do."""

    architecture: str
    prefixes: dict[str, str]


def _form(architecture: str, body: str, **heads: str) -> StockForm:
    """`body` and what `heads` tell stand in the file's names for ours. A language model calls its body `model`."""
    return StockForm(architecture, {f"{ours}.": f"{theirs}." for ours, theirs in heads.items()} | {"body.": f"{body}."})


_FORMS: dict[tuple[type[nn.Module], type[nn.Module]], StockForm] = {
    (CausalLanguageModel, Transformer): _form("LlamaForCausalLM", "model"),
    (Headless, Transformer): _form("LlamaModel", "model"),
    (Classifier, Transformer): _form("LlamaForSequenceClassification", "model", head="score"),
    (Tagger, Transformer): _form("LlamaForTokenClassification", "model", head="score"),
    (CausalLanguageModel, Gpt2): _form("GPT2LMHeadModel", "transformer", model="transformer"),
    (Headless, Gpt2): _form("GPT2Model", "transformer"),
    (Classifier, Gpt2): _form("GPT2ForSequenceClassification", "transformer", head="score"),
    (Tagger, Gpt2): _form("GPT2ForTokenClassification", "transformer", head="classifier"),
    (MaskedLanguageModel, Encoder): _form("ModernBertForMaskedLM", "model"),
    (Headless, Encoder): _form("ModernBertModel", "model"),
    (Classifier, Encoder): _form("ModernBertForSequenceClassification", "model", transform="head", head="classifier"),
    (Tagger, Encoder): _form("ModernBertForTokenClassification", "model", transform="head", head="classifier"),
    (MaskedLanguageModel, Bert): StockForm(
        "BertForMaskedLM",
        {
            "model.": "bert.",
            "head.": "cls.predictions.transform.",
            "decoder.bias": "cls.predictions.bias",
            "decoder.": "cls.predictions.decoder.",
        },
    ),
    (Headless, Bert): _form("BertModel", "bert"),
    (Classifier, Bert): _form("BertForSequenceClassification", "bert", transform="bert.pooler", head="classifier"),
    (Tagger, Bert): _form("BertForTokenClassification", "bert", head="classifier"),
}
_STOCK_POOLING: dict[type[nn.Module], Pooling] = {Transformer: "last", Gpt2: "last", Encoder: "mean", Bert: "first"}
_GPT2_LAYERS = ("c_attn.weight", "c_proj.weight", "c_fc.weight")
_STOCK_ACTIVATIONS = {"gelu_tanh": "gelu_new"}


def _form_of(module: nn.Module) -> StockForm | None:
    body = getattr(module, "body", None)
    if not isinstance(body, Body):
        return None
    if isinstance(module, Classifier) and module.pooling != _STOCK_POOLING.get(type(body)):
        return None
    return _FORMS.get((type(module), type(body)))


def stock_name(module: nn.Module, name: str) -> str:
    """The name of a module's tensor in the file."""
    form = _form_of(module)
    for ours, theirs in form.prefixes.items() if form else ():
        if name.startswith(ours):
            return theirs + name.removeprefix(ours)
    return name


def stock_layout(module: nn.Module, name: str, tensor: Tensor) -> Tensor:
    """From a module's layout to the file's, or back: GPT-2's files have the weights of layers transposed."""
    is_transposed = isinstance(getattr(module, "body", None), Gpt2) and name.endswith(_GPT2_LAYERS)
    return tensor.t() if is_transposed else tensor


def configuration(module: nn.Module, description: ModelDescription, tokenizer: Tokenizer | None) -> Json:
    """Stock where a stock architecture computes the same; else ours, which names it."""
    form = _form_of(module)
    if form is None or tokenizer is None or description.crf:
        return _ours(module, description, tokenizer)
    body = module.body
    assert isinstance(body, Body)
    return {
        "architectures": [form.architecture],
        "torch_dtype": "float32",
        "vocab_size": description.body.vocab_size,
        **_shape(body),
        **_special_tokens(tokenizer),
        **_labels(description),
    }


def tokenizer_configuration(description: ModelDescription, tokenizer: Tokenizer) -> Json:
    shape = description.body.architecture
    assert isinstance(shape, TextArchitecture)
    begin, end = TokenRole.BEGIN, TokenRole.END
    roles = {"bos_token": begin, "eos_token": end, "pad_token": TokenRole.PADDING}
    if description.body.bidirectional:
        roles |= {"cls_token": begin, "mask_token": TokenRole.MASK}
    if Frame(tokenizer).closing:
        roles |= {"sep_token": end}
    tokens = {name: token_in_role(tokenizer, role) for name, role in roles.items()}
    tokens["unk_token"] = unknown_token(tokenizer)
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        **{name: tokenizer.id_to_token(token) for name, token in tokens.items() if token is not None},
        "model_max_length": shape.context_length,
        "model_input_names": ["input_ids", "attention_mask"],
        "clean_up_tokenization_spaces": False,
    }


def _ours(module: nn.Module, description: ModelDescription, tokenizer: Tokenizer | None) -> Json:
    return {
        "model_type": OUR_MODEL_TYPE,
        "architectures": [f"Pretune{type(module).__name__}"],
        "torch_dtype": "float32",
        "method": f"{description.kind}/{description.method}",
        **description.body.model_dump(mode="json"),
        **(_special_tokens(tokenizer) if tokenizer is not None else {}),
    }


def _shape(body: Body) -> Json:
    match body:
        case Transformer(architecture=shape):
            return _llama(shape)
        case Encoder(architecture=shape):
            return _modern_bert(shape)
        case Gpt2(architecture=shape):
            return _gpt2(shape)
        case Bert(architecture=shape):
            return _bert(shape)
    raise AssertionError(f"{type(body).__name__} has no stock form")


def _llama(shape: TransformerArchitecture) -> Json:
    return _sizes(shape) | {
        "model_type": "llama",
        "intermediate_size": shape.inner_width,
        "num_key_value_heads": shape.key_value_heads,
        "head_dim": shape.width // shape.num_heads,
        "hidden_act": "silu",
        "rms_norm_eps": shape.norm_epsilon,
        "rope_theta": shape.rope_theta,
        "attention_bias": False,
        "mlp_bias": False,
    }


def _modern_bert(shape: TransformerArchitecture) -> Json:
    """Releases before 5 read the period of the rotation by its own name."""
    rotation = {"rope_type": "default", "rope_theta": shape.rope_theta}
    return _sizes(shape) | {
        "model_type": "modernbert",
        "intermediate_size": shape.inner_width,
        "sep_token_id": None,
        "layer_types": ["full_attention"] * shape.num_layers,
        "global_attn_every_n_layers": 1,
        "rope_parameters": {"full_attention": rotation, "sliding_attention": rotation},
        "global_rope_theta": shape.rope_theta,
        "hidden_activation": "gelu",
        "norm_eps": shape.norm_epsilon,
        "norm_bias": False,
        "attention_bias": False,
        "mlp_bias": False,
        "decoder_bias": False,
        "classifier_bias": False,
        "classifier_activation": "gelu",
        "classifier_pooling": "mean",
    }


def _gpt2(shape: Gpt2Architecture) -> Json:
    return {
        "model_type": "gpt2",
        "n_embd": shape.width,
        "n_layer": shape.num_layers,
        "n_head": shape.num_heads,
        "n_positions": shape.context_length,
        "n_inner": shape.feed_forward_width,
        "activation_function": _STOCK_ACTIVATIONS.get(shape.activation, shape.activation),
        "layer_norm_epsilon": shape.norm_epsilon,
        "resid_pdrop": shape.dropout,
        "embd_pdrop": shape.dropout,
        "attn_pdrop": 0.0,
        "tie_word_embeddings": shape.tie_embeddings,
    }


def _bert(shape: BertArchitecture) -> Json:
    return _sizes(shape) | {
        "model_type": "bert",
        "intermediate_size": shape.feed_forward_width,
        "type_vocab_size": shape.num_token_types,
        "hidden_act": _STOCK_ACTIVATIONS.get(shape.activation, shape.activation),
        "layer_norm_eps": shape.norm_epsilon,
        "hidden_dropout_prob": shape.dropout,
        "attention_probs_dropout_prob": 0.0,
        "position_embedding_type": "absolute",
    }


def _sizes(shape: MaskedArchitecture) -> Json:
    return {
        "hidden_size": shape.width,
        "num_hidden_layers": shape.num_layers,
        "num_attention_heads": shape.num_heads,
        "max_position_embeddings": shape.context_length,
        "tie_word_embeddings": shape.tie_embeddings,
    }


def _special_tokens(tokenizer: Tokenizer) -> Json:
    roles = {"bos_token_id": TokenRole.BEGIN, "eos_token_id": TokenRole.END, "pad_token_id": TokenRole.PADDING}
    return {name: token_in_role(tokenizer, role) for name, role in roles.items()}


def _labels(description: ModelDescription) -> Json:
    if description.labels is None:
        return {}
    names = [label_key(label) for label in description.labels]
    return {
        "id2label": {str(place): name for place, name in enumerate(names)},
        "label2id": {name: place for place, name in enumerate(names)},
        **({"problem_type": "single_label_classification"} if description.method == "classification" else {}),
    }
