"""Which models have a stock form, and the names and shapes of the tensors in its file, by arithmetic alone.

So an uploaded model is judged by the headers of its files. Knows the shapes of `worker.models`, and no torch.

Legend: D width, F inner width, L labels, V vocabulary.
"""

from collections.abc import Iterator
from typing import assert_never

from app.contract.model_folder import BodyDescription, ModelDescription, Pooling
from app.contract.specs.architectures import BertArchitecture, Gpt2Architecture, TransformerArchitecture

Shape = tuple[int, ...]
Shapes = dict[str, Shape]
_STOCK_METHODS = {"causal_language_model", "instruction_tuning", "masked_language_model", "sequence_labeling"}
StockArchitecture = TransformerArchitecture | Gpt2Architecture | BertArchitecture


def stock_tensors(description: ModelDescription) -> Shapes:
    """Tied weights stand once, where they are embeddings."""
    body = description.body
    assert isinstance(body.architecture, StockArchitecture), f"{body.architecture.type} has no stock form"
    prefix = body_prefix(body)
    tensors = {f"{prefix}{name}": shape for name, shape in _body(body).items()}
    return tensors if description.headless else tensors | _head(description)


def has_stock_form(description: ModelDescription) -> bool:
    """Whether a class of transformers computes the same."""
    body = description.body
    if not isinstance(body.architecture, StockArchitecture) or description.crf:
        return False
    if description.method == "classification":
        return description.pooling == stock_pooling(body)
    return description.method in _STOCK_METHODS


def stock_pooling(body: BodyDescription) -> Pooling:
    """What the stock classifier on such a body reads."""
    if isinstance(body.architecture, BertArchitecture):
        return "first"
    return "mean" if body.bidirectional else "last"


def body_prefix(body: BodyDescription) -> str:
    """How the names of the body's tensors begin in a file that holds its head too."""
    return {"gpt2": "transformer.", "bert": "bert."}.get(body.architecture.type, "model.")


def _body(body: BodyDescription) -> Shapes:
    assert body.vocab_size is not None
    match body.architecture:
        case TransformerArchitecture() as shape if body.bidirectional:
            return dict(_modern_bert(shape, body.vocab_size))
        case TransformerArchitecture() as shape:
            return dict(_llama(shape, body.vocab_size))
        case Gpt2Architecture() as shape:
            return dict(_gpt2(shape, body.vocab_size))
        case BertArchitecture() as shape:
            return dict(_bert(shape, body.vocab_size))
        case other:
            raise AssertionError(f"{other.type} has no stock form")


def _llama(shape: TransformerArchitecture, vocab_size: int) -> Iterator[tuple[str, Shape]]:
    width, inner = shape.width, shape.inner_width
    key_value_width = shape.key_value_heads * (width // shape.num_heads)
    yield "embed_tokens.weight", (vocab_size, width)
    for number in range(shape.num_layers):
        block = f"layers.{number}."
        yield f"{block}input_layernorm.weight", (width,)
        yield f"{block}self_attn.q_proj.weight", (width, width)
        yield f"{block}self_attn.k_proj.weight", (key_value_width, width)
        yield f"{block}self_attn.v_proj.weight", (key_value_width, width)
        yield f"{block}self_attn.o_proj.weight", (width, width)
        yield f"{block}post_attention_layernorm.weight", (width,)
        yield f"{block}mlp.gate_proj.weight", (inner, width)
        yield f"{block}mlp.up_proj.weight", (inner, width)
        yield f"{block}mlp.down_proj.weight", (width, inner)
    yield "norm.weight", (width,)


def _modern_bert(shape: TransformerArchitecture, vocab_size: int) -> Iterator[tuple[str, Shape]]:
    width, inner = shape.width, shape.inner_width
    yield "embeddings.tok_embeddings.weight", (vocab_size, width)
    yield "embeddings.norm.weight", (width,)
    for number in range(shape.num_layers):
        block = f"layers.{number}."
        if number:
            yield f"{block}attn_norm.weight", (width,)
        yield f"{block}attn.Wqkv.weight", (3 * width, width)
        yield f"{block}attn.Wo.weight", (width, width)
        yield f"{block}mlp_norm.weight", (width,)
        yield f"{block}mlp.Wi.weight", (2 * inner, width)
        yield f"{block}mlp.Wo.weight", (width, inner)
    yield "final_norm.weight", (width,)


def _gpt2(shape: Gpt2Architecture, vocab_size: int) -> Iterator[tuple[str, Shape]]:
    """Weights of layers are [in, out] here."""
    width, inner = shape.width, shape.feed_forward_width
    yield "wte.weight", (vocab_size, width)
    yield "wpe.weight", (shape.context_length, width)
    for number in range(shape.num_layers):
        block = f"h.{number}."
        yield from _norm(f"{block}ln_1", width)
        yield from _weight_and_bias(f"{block}attn.c_attn", (width, 3 * width), 3 * width)
        yield from _weight_and_bias(f"{block}attn.c_proj", (width, width), width)
        yield from _norm(f"{block}ln_2", width)
        yield from _weight_and_bias(f"{block}mlp.c_fc", (width, inner), inner)
        yield from _weight_and_bias(f"{block}mlp.c_proj", (inner, width), width)
    yield from _norm("ln_f", width)


def _bert(shape: BertArchitecture, vocab_size: int) -> Iterator[tuple[str, Shape]]:
    width, inner = shape.width, shape.feed_forward_width
    yield "embeddings.word_embeddings.weight", (vocab_size, width)
    yield "embeddings.position_embeddings.weight", (shape.context_length, width)
    yield "embeddings.token_type_embeddings.weight", (shape.num_token_types, width)
    yield from _norm("embeddings.LayerNorm", width)
    for number in range(shape.num_layers):
        block = f"encoder.layer.{number}."
        for name in ("query", "key", "value"):
            yield from _linear(f"{block}attention.self.{name}", width, width)
        yield from _linear(f"{block}attention.output.dense", width, width)
        yield from _norm(f"{block}attention.output.LayerNorm", width)
        yield from _linear(f"{block}intermediate.dense", width, inner)
        yield from _linear(f"{block}output.dense", inner, width)
        yield from _norm(f"{block}output.LayerNorm", width)


def _head(description: ModelDescription) -> Shapes:
    body, num_labels = description.body, len(description.labels or ())
    shape, vocab_size = body.architecture, body.vocab_size
    assert isinstance(shape, StockArchitecture)
    assert vocab_size is not None
    match shape:
        case BertArchitecture():
            return dict(_bert_head(description.method, shape.width, num_labels, vocab_size))
        case TransformerArchitecture() if body.bidirectional:
            return dict(_modern_bert_head(description.method, shape, num_labels, vocab_size))
        case TransformerArchitecture() | Gpt2Architecture():
            return dict(_causal_head(description.method, shape, num_labels, vocab_size))
        case _:
            assert_never(shape)


def _causal_head(
    method: str, shape: TransformerArchitecture | Gpt2Architecture, num_labels: int, vocab_size: int
) -> Iterator[tuple[str, Shape]]:
    if method == "classification":
        yield "score.weight", (num_labels, shape.width)
    elif method == "sequence_labeling":
        name = "classifier" if isinstance(shape, Gpt2Architecture) else "score"
        yield from _linear(name, shape.width, num_labels)
    elif not shape.tie_embeddings:
        yield "lm_head.weight", (vocab_size, shape.width)


def _modern_bert_head(
    method: str, shape: TransformerArchitecture, num_labels: int, vocab_size: int
) -> Iterator[tuple[str, Shape]]:
    yield "head.dense.weight", (shape.width, shape.width)
    yield "head.norm.weight", (shape.width,)
    if method in ("classification", "sequence_labeling"):
        yield from _linear("classifier", shape.width, num_labels)
    elif not shape.tie_embeddings:
        yield "decoder.weight", (vocab_size, shape.width)


def _bert_head(method: str, width: int, num_labels: int, vocab_size: int) -> Iterator[tuple[str, Shape]]:
    if method == "masked_language_model":
        yield from _linear("cls.predictions.transform.dense", width, width)
        yield from _norm("cls.predictions.transform.LayerNorm", width)
        yield "cls.predictions.bias", (vocab_size,)
        return
    if method == "classification":
        yield from _linear("bert.pooler.dense", width, width)
    yield from _linear("classifier", width, num_labels)


def _linear(name: str, fan_in: int, fan_out: int) -> Iterator[tuple[str, Shape]]:
    yield from _weight_and_bias(name, (fan_out, fan_in), fan_out)


def _norm(name: str, width: int) -> Iterator[tuple[str, Shape]]:
    yield from _weight_and_bias(name, (width,), width)


def _weight_and_bias(name: str, weight: Shape, bias: int) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.weight", weight
    yield f"{name}.bias", (bias,)
