"""Stock names: config.json, tokenizer_config.json and the names of tensors, such that transformers computes the same.

Knows modules and descriptions, and no file.
"""

from typing import Any

from tokenizers import Tokenizer
from torch import nn

from app.contract.model_folder import ModelDescription, label_key
from app.contract.specs.architectures import TextArchitecture, TransformerArchitecture
from worker.data.tokenizers import BEGIN_TOKEN, MASK_TOKEN, PADDING_TOKEN, UNKNOWN_TOKEN, unknown_token
from worker.models.encoder import Encoder, MaskedLanguageModel
from worker.models.heads import Classifier, Task
from worker.models.language_model import CausalLanguageModel
from worker.models.tagger import Tagger
from worker.models.transformer import NORM_EPSILON, ROTARY_BASE, Transformer

Json = dict[str, Any]

#: How names begin, here and there; by the type of a task and that of its body.
_ENCODER_PREFIXES = {"body.": "model.", "transform.": "head.", "head.": "classifier."}
_TASK_PREFIXES: dict[tuple[type[nn.Module], type[nn.Module]], dict[str, str]] = {
    (Classifier, Encoder): _ENCODER_PREFIXES,
    (Tagger, Encoder): _ENCODER_PREFIXES,
    (Tagger, Transformer): {"body.": "model.", "head.": "score."},
}


def stock_name(module: nn.Module, name: str) -> str:
    """The name of a module's tensor in the file."""
    if isinstance(module, Task):
        for ours, theirs in _TASK_PREFIXES.get((type(module), type(module.body)), {}).items():
            if name.startswith(ours):
                return theirs + name.removeprefix(ours)
    return name


def configuration(module: nn.Module, description: ModelDescription, tokenizer: Tokenizer | None) -> Json:
    """Stock where a stock architecture computes the same; else ours, which names it."""
    match module:
        case CausalLanguageModel(body=Transformer() as body) if tokenizer is not None:
            return _llama("LlamaForCausalLM", body.architecture, tokenizer)
        case MaskedLanguageModel(body=Encoder() as body) if tokenizer is not None:
            return _modern_bert("ModernBertForMaskedLM", body.architecture, tokenizer)
        case Classifier(body=Encoder() as body) if tokenizer is not None:
            shape = _modern_bert("ModernBertForSequenceClassification", body.architecture, tokenizer)
            pooled = {"classifier_pooling": "mean", "problem_type": "single_label_classification"}
            return shape | pooled | _labels(description)
        case Tagger(crf=None, body=Encoder() as body) if tokenizer is not None:
            return _modern_bert("ModernBertForTokenClassification", body.architecture, tokenizer) | _labels(description)
        case Tagger(crf=None, body=Transformer() as body) if tokenizer is not None:
            return _llama("LlamaForTokenClassification", body.architecture, tokenizer) | _labels(description)
    return {
        "model_type": "pretune",
        "architectures": [f"Pretune{type(module).__name__}"],
        "torch_dtype": "float32",
        "method": f"{description.kind}/{description.method}",
        **description.body.model_dump(mode="json"),
        **_special_tokens(tokenizer),
    }


def tokenizer_configuration(description: ModelDescription, tokenizer: Tokenizer) -> Json:
    shape = description.body.architecture
    assert isinstance(shape, TextArchitecture)
    masked = {"cls_token": BEGIN_TOKEN, "mask_token": MASK_TOKEN} if description.body.bidirectional else {}
    unknown = {} if unknown_token(tokenizer) is None else {"unk_token": UNKNOWN_TOKEN}
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": BEGIN_TOKEN,
        "eos_token": BEGIN_TOKEN,
        "pad_token": PADDING_TOKEN,
        **masked,
        **unknown,
        "model_max_length": shape.context_length,
        "model_input_names": ["input_ids", "attention_mask"],
        "clean_up_tokenization_spaces": False,
    }


def _llama(architecture: str, shape: TransformerArchitecture, tokenizer: Tokenizer) -> Json:
    return _shared(architecture, shape, tokenizer) | {
        "model_type": "llama",
        "num_key_value_heads": shape.key_value_heads,
        "head_dim": shape.width // shape.num_heads,
        "hidden_act": "silu",
        "rms_norm_eps": NORM_EPSILON,
        "rope_theta": ROTARY_BASE,
        "attention_bias": False,
        "mlp_bias": False,
    }


def _modern_bert(architecture: str, shape: TransformerArchitecture, tokenizer: Tokenizer) -> Json:
    """Releases before 5 read the period of the rotation by its own name."""
    rotation = {"rope_type": "default", "rope_theta": ROTARY_BASE}
    return _shared(architecture, shape, tokenizer) | {
        "model_type": "modernbert",
        "cls_token_id": tokenizer.token_to_id(BEGIN_TOKEN),
        "sep_token_id": None,
        "layer_types": ["full_attention"] * shape.num_layers,
        "global_attn_every_n_layers": 1,
        "rope_parameters": {"full_attention": rotation, "sliding_attention": rotation},
        "global_rope_theta": ROTARY_BASE,
        "hidden_activation": "gelu",
        "norm_eps": NORM_EPSILON,
        "norm_bias": False,
        "attention_bias": False,
        "mlp_bias": False,
        "decoder_bias": False,
        "classifier_bias": False,
        "classifier_activation": "gelu",
    }


def _shared(architecture: str, shape: TransformerArchitecture, tokenizer: Tokenizer) -> Json:
    return {
        "architectures": [architecture],
        "torch_dtype": "float32",
        "vocab_size": tokenizer.get_vocab_size(),
        "hidden_size": shape.width,
        "intermediate_size": shape.inner_width,
        "num_hidden_layers": shape.num_layers,
        "num_attention_heads": shape.num_heads,
        "max_position_embeddings": shape.context_length,
        "tie_word_embeddings": shape.tie_embeddings,
        **_special_tokens(tokenizer),
    }


def _special_tokens(tokenizer: Tokenizer | None) -> Json:
    """Of a model that reads text, which ends where the next begins."""
    if tokenizer is None:
        return {}
    begin, padding = tokenizer.token_to_id(BEGIN_TOKEN), tokenizer.token_to_id(PADDING_TOKEN)
    return {"bos_token_id": begin, "eos_token_id": begin, "pad_token_id": padding}


def _labels(description: ModelDescription) -> Json:
    names = [label_key(label) for label in description.labels or ()]
    return {
        "id2label": {str(place): name for place, name in enumerate(names)},
        "label2id": {name: place for place, name in enumerate(names)},
    }
