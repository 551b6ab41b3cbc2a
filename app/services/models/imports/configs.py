"""config.json of the families that can be imported, as transformers writes it.

A field that changes what the model computes is read into the description, or has one value only and is refused with any
other; the rest means nothing to the stock architecture. Defaults are those of transformers.
"""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from app.contract.errors import FieldError
from app.contract.model_folder import CONFIG_NAME, BodyDescription, Granularity, InputKind
from app.contract.specs.architectures import BertArchitecture, Gpt2Architecture, TransformerArchitecture
from app.contract.specs.tokenizers import MAX_VOCAB_SIZE
from app.records.problems import shown
from app.services.models.imports.problems import all_refused

Count = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(ge=0.0, lt=1.0)]
TokenId = Annotated[int, Field(ge=0)]
#: Of some models a list, whose first stands for all here.
TokenIds = TokenId | Annotated[list[TokenId], Field(min_length=1)]
Gelu = Literal["gelu", "gelu_new", "gelu_pytorch_tanh", "gelu_python", "relu"]
_ACTIVATIONS: dict[str, Literal["gelu", "gelu_tanh", "relu"]] = {
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
}
#: Of a rotation that no scaling bends.
_PLAIN_ROTATION = ("default", None)


class StockConfig(BaseModel):
    """What all families have."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True, allow_inf_nan=False, protected_namespaces=())

    vocab_size: Annotated[int, Field(ge=1, le=MAX_VOCAB_SIZE)]
    bos_token_id: TokenId | None = None
    eos_token_id: TokenIds | None = None
    pad_token_id: TokenId | None = None
    id2label: dict[str, str] | None = None
    problem_type: Literal["single_label_classification"] | None = None
    pruned_heads: dict[str, Any] | None = Field(default=None, max_length=0)
    auto_map: None = None  # code of the uploader's own
    quantization_config: None = None
    add_cross_attention: Literal[False] = False
    is_decoder: Literal[False] = False
    is_encoder_decoder: Literal[False] = False

    @abstractmethod
    def body(self) -> BodyDescription: ...

    @property
    def labels(self) -> tuple[str, ...]:
        """In head order; by default two, as transformers has it."""
        names = self.id2label or {"0": "LABEL_0", "1": "LABEL_1"}
        return tuple(names[str(place)] for place in range(len(names)))

    @model_validator(mode="after")
    def _labels_are_numbered(self) -> "StockConfig":
        names = self.id2label or {}
        if {*names} != {str(place) for place in range(len(names))}:
            raise ValueError("id2label must number its labels from 0 on, without a gap")
        if len({*names.values()}) < len(names):
            raise ValueError("id2label has a name twice")
        return self


class LlamaConfig(StockConfig):
    hidden_size: Count
    intermediate_size: Count
    num_hidden_layers: Count
    num_attention_heads: Count
    num_key_value_heads: Count | None = None
    head_dim: int | None = None
    max_position_embeddings: Count
    hidden_act: Literal["silu", "swish"] = "silu"
    rms_norm_eps: float = 1e-6
    rope_theta: float = 10_000.0
    rope_scaling: dict[str, Any] | None = None
    rope_parameters: dict[str, Any] | None = None
    partial_rotary_factor: Annotated[float, Field(ge=1.0, le=1.0)] | None = None
    attention_bias: Literal[False] = False
    mlp_bias: Literal[False] = False
    sliding_window: None = None
    tie_word_embeddings: bool = False

    @model_validator(mode="after")
    def _heads_have_their_share_of_the_width(self) -> "LlamaConfig":
        if self.head_dim is not None and self.head_dim * self.num_attention_heads != self.hidden_size:
            raise ValueError(
                f"head_dim {self.head_dim} times num_attention_heads {self.num_attention_heads} is not hidden_size "
                f"{self.hidden_size}: only heads that share the width are supported"
            )
        return self

    @model_validator(mode="after")
    def _rotation_is_plain(self) -> "LlamaConfig":
        for name in ("rope_scaling", "rope_parameters"):
            _check_rotation(name, getattr(self, name) or {})
        return self

    def body(self) -> BodyDescription:
        theta = (self.rope_parameters or {}).get("rope_theta", self.rope_theta)
        architecture = TransformerArchitecture(
            num_layers=self.num_hidden_layers,
            width=self.hidden_size,
            num_heads=self.num_attention_heads,
            num_key_value_heads=self.num_key_value_heads,
            feed_forward_width=self.intermediate_size,
            context_length=self.max_position_embeddings,
            tie_embeddings=self.tie_word_embeddings,
            rope_theta=theta,
            norm_epsilon=self.rms_norm_eps,
        )
        return _text_body(architecture, self.vocab_size)


class ModernBertConfig(StockConfig):
    """As far as our own encoder goes: every layer attends to all tokens."""

    hidden_size: Count
    intermediate_size: Count
    num_hidden_layers: Count
    num_attention_heads: Count
    max_position_embeddings: Count
    hidden_activation: Literal["gelu"] = "gelu"
    norm_eps: float = 1e-5
    norm_bias: Literal[False] = False
    attention_bias: Literal[False] = False
    mlp_bias: Literal[False] = False
    classifier_bias: Literal[False] = False
    classifier_activation: Literal["gelu"] = "gelu"
    classifier_pooling: Literal["mean"] = "mean"
    decoder_bias: Literal[False]
    layer_types: list[Literal["full_attention"]]
    rope_parameters: dict[str, dict[str, Any]]
    rope_scaling: None = None
    tie_word_embeddings: bool = True

    @model_validator(mode="after")
    def _rotation_is_plain(self) -> "ModernBertConfig":
        _check_rotation("rope_parameters.full_attention", self.rope_parameters.get("full_attention", {}))
        return self

    def body(self) -> BodyDescription:
        architecture = TransformerArchitecture(
            num_layers=self.num_hidden_layers,
            width=self.hidden_size,
            num_heads=self.num_attention_heads,
            feed_forward_width=self.intermediate_size,
            context_length=self.max_position_embeddings,
            tie_embeddings=self.tie_word_embeddings,
            rope_theta=self.rope_parameters.get("full_attention", {}).get("rope_theta", 160_000.0),
            norm_epsilon=self.norm_eps,
        )
        return _text_body(architecture, self.vocab_size, bidirectional=True)


class Gpt2Config(StockConfig):
    n_embd: Count
    n_layer: Count
    n_head: Count
    n_positions: Count
    n_inner: Count | None = None
    activation_function: Gelu = "gelu_new"
    layer_norm_epsilon: float = 1e-5
    resid_pdrop: Rate = 0.1
    scale_attn_weights: Literal[True] = True
    scale_attn_by_inverse_layer_idx: Literal[False] = False
    tie_word_embeddings: bool = True

    def body(self) -> BodyDescription:
        architecture = Gpt2Architecture(
            num_layers=self.n_layer,
            width=self.n_embd,
            num_heads=self.n_head,
            feed_forward_width=self.n_inner or 4 * self.n_embd,
            context_length=self.n_positions,
            dropout=self.resid_pdrop,
            activation=_ACTIVATIONS[self.activation_function],
            norm_epsilon=self.layer_norm_epsilon,
            tie_embeddings=self.tie_word_embeddings,
        )
        return _text_body(architecture, self.vocab_size)


class BertConfig(StockConfig):
    hidden_size: Count
    intermediate_size: Count
    num_hidden_layers: Count
    num_attention_heads: Count
    max_position_embeddings: Count
    type_vocab_size: Count = 2
    hidden_act: Gelu = "gelu"
    layer_norm_eps: float = 1e-12
    hidden_dropout_prob: Rate = 0.1
    position_embedding_type: Literal["absolute", None] = "absolute"
    tie_word_embeddings: Literal[True] = True

    def body(self) -> BodyDescription:
        architecture = BertArchitecture(
            num_layers=self.num_hidden_layers,
            width=self.hidden_size,
            num_heads=self.num_attention_heads,
            feed_forward_width=self.intermediate_size,
            context_length=self.max_position_embeddings,
            num_token_types=self.type_vocab_size,
            dropout=self.hidden_dropout_prob,
            activation=_ACTIVATIONS[self.hidden_act],
            norm_epsilon=self.layer_norm_eps,
        )
        return _text_body(architecture, self.vocab_size, bidirectional=True)


def read_body(config_class: type[StockConfig], content: Mapping[str, Any]) -> tuple[StockConfig, BodyDescription]:
    """Raises InvalidRequest, naming each field that is not supported."""
    try:
        config = config_class.model_validate(content)
        return config, config.body()
    except ValidationError as error:
        raise all_refused([_problem(each) for each in error.errors(include_url=False)]) from None


def _text_body(
    architecture: TransformerArchitecture | Gpt2Architecture | BertArchitecture,
    vocab_size: int,
    *,
    bidirectional: bool = False,
) -> BodyDescription:
    return BodyDescription(
        architecture=architecture,
        input=InputKind.TEXT,
        granularity=Granularity.TOKENS,
        vocab_size=vocab_size,
        bidirectional=bidirectional,
    )


def _check_rotation(name: str, told: Mapping[str, Any]) -> None:
    kind = told.get("rope_type", told.get("type"))
    if kind not in _PLAIN_ROTATION:
        raise ValueError(f"{name} of the kind {kind!r} is not supported; only the default rotation is")
    if told.get("partial_rotary_factor", 1) != 1:
        raise ValueError(f"{name}.partial_rotary_factor {told['partial_rotary_factor']!r} is not supported; only 1 is")


def _problem(error: Any) -> FieldError:
    field = ".".join(str(part) for part in error["loc"])
    match error["type"]:
        case "missing":
            message = "The field is missing."
        case "value_error":
            message = f"{error['ctx']['error']}."
        case "literal_error":
            message = f"{shown(error['input'])} is not supported; {error['ctx']['expected']} is."
        case "none_required":
            message = f"{shown(error['input'])} is not supported; only null is."
        case _:
            message = f"{shown(error['input'])}: {error['msg']}."
    return FieldError(location=f"{CONFIG_NAME}: {field}" if field else CONFIG_NAME, message=message)
