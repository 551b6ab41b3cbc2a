"""Learning methods as users name them in `method.type`. One class a method; pretraining first, then fine-tuning.

Adding a method: a class here, its row in `TRAINING_DEFAULTS` and in `app.contract.compatibility`, then the worker's
maps. `tests/contract` fails until all of them agree.
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from app.contract.base import Contract
from app.contract.specs.architectures import (
    ConvArchitecture,
    LanguageArchitecture,
    MlpArchitecture,
    SkipgramArchitecture,
    TransformerArchitecture,
)
from app.contract.specs.tokenizers import BpeTokenizer, TokenizerSpec, WordTokenizer


class CausalLanguageModel(Contract):
    """Next-token negative log-likelihood on plain text (Elman 1990; Vaswani et al. 2017 for the Transformer)."""

    type: Literal["causal_language_model"] = "causal_language_model"
    architecture: Annotated[LanguageArchitecture, Field(discriminator="type")] = TransformerArchitecture()
    tokenizer: TokenizerSpec = BpeTokenizer()


class MaskedLanguageModel(Contract):
    """Telling hidden tokens from both sides (Devlin et al. 2018: 15 % selected; of those 80 % masked, 10 % random)."""

    type: Literal["masked_language_model"] = "masked_language_model"
    architecture: TransformerArchitecture = TransformerArchitecture(context_length=128)
    tokenizer: TokenizerSpec = BpeTokenizer()

    @model_validator(mode="after")
    def _heads_are_not_grouped(self) -> Self:
        shape = self.architecture
        if shape.key_value_heads != shape.num_heads:
            raise ValueError(
                f"num_key_value_heads {shape.num_key_value_heads} is not num_heads {shape.num_heads}: an encoder has "
                "no grouped-query attention, which spares a cache that only generation has. Leave it out"
            )
        return self


class NegativeSampling(Contract):
    """What pairs of words word2vec learns from."""

    type: Literal["word2vec"] = "word2vec"
    window: Annotated[int, Field(ge=1, le=100, description="Words to each side at most; the reach is drawn.")] = 5
    negative_samples: Annotated[int, Field(ge=1, le=1_000)] = 5
    subsampling: Annotated[float, Field(gt=0.0, le=1.0)] | None = Field(
        default=1e-3, description="Words more frequent than this share of the text are dropped by chance; null: none."
    )


class Word2Vec(NegativeSampling):
    """Word vectors by skip-gram with negative sampling (Mikolov et al. 2013)."""

    architecture: SkipgramArchitecture = SkipgramArchitecture()
    tokenizer: WordTokenizer = WordTokenizer()


class Denoising(Contract):
    """Inputs are corrupted by Gaussian noise, and the clean ones are asked back (Vincent et al. 2010)."""

    noise_std: Annotated[
        float, Field(gt=0.0, le=100.0, description="Of the noise, where the data's own deviation is 1.")
    ] = 0.5


class Variational(Contract):
    """The code is a Gaussian, drawn in training and told by its mean after it (Kingma and Welling 2014)."""

    kl_weight: Annotated[
        float,
        Field(
            ge=0.0,
            le=1e6,
            description="Of the divergence from the prior. 1 is the paper's bound with observations of unit variance, "
            "the data's own; less keeps more detail.",
        ),
    ] = 1.0


class Reconstruction(Contract):
    """What an autoencoder is asked beside the plain reconstruction."""

    type: Literal["autoencoder"] = "autoencoder"
    denoising: Denoising | None = None
    variational: Variational | None = None


class Autoencoder(Reconstruction):
    """Squared reconstruction error through a narrow code, on vectors or images."""

    architecture: Annotated[MlpArchitecture | ConvArchitecture, Field(discriminator="type")] = MlpArchitecture()
    code_size: Annotated[int, Field(ge=1, le=65_536, description="Numbers in the code of one example.")] = 32


class AdversarialLoss(Contract):
    """How the generator of a GAN is judged."""

    type: Literal["gan"] = "gan"
    generator_loss: Literal["non_saturating", "minimax"] = Field(
        default="non_saturating",
        description="-log D(G(z)), or the original log(1 - D(G(z))), whose gradient dies while the generator is poor.",
    )


class Gan(AdversarialLoss):
    """A generator and a discriminator that learn against each other, on vectors or images (Goodfellow et al. 2014)."""

    architecture: Annotated[MlpArchitecture | ConvArchitecture, Field(discriminator="type")] = Field(
        default=MlpArchitecture(), description="Of the discriminator; the generator is its mirror."
    )
    noise_size: Annotated[
        int,
        Field(
            ge=1,
            le=65_536,
            description="Numbers of noise that a sample is made from; the discriminator's features are as many.",
        ),
    ] = 64


class PretrainRegression(Contract):
    """The source text's worked example: a ReLU network under mean squared error, Adam at 0.01."""

    type: Literal["regression"] = "regression"
    architecture: MlpArchitecture = MlpArchitecture(hidden_widths=(64,))


class Classification(Contract):
    """Cross-entropy over a label set; a linear head on the parent's body."""

    type: Literal["classification"] = "classification"
    label_smoothing: Annotated[
        float,
        Field(
            ge=0.0,
            lt=1.0,
            description="The share of an answer that is spread over all labels (Szegedy et al. 2016, section 7).",
        ),
    ] = 0.0
    class_weights: Literal["balanced"] | None = Field(
        default=None,
        description="balanced: an example counts n / (k n_c), for n examples of k labels, n_c of its own, so that each "
        "label counts the same (King and Zeng 2001).",
    )
    sampling: Literal["balanced", "down_sample"] | None = Field(
        default=None,
        description="Which examples an epoch has. balanced: as many of each label, drawn with replacement, as many in "
        "all as there are. down_sample: of each label as many as the rarest has, others in each epoch. Default: each "
        "once.",
    )
    pooling: Literal["mean", "last"] | None = Field(
        default=None,
        description="What is read of a text's vectors: their mean, or the last, under a parent that reads from left to "
        "right. An archive is stock with `last` from a Transformer decoder. Default: the mean; from GPT-2 the last, "
        "and from BERT the first, as their stock classifiers do.",
    )

    @model_validator(mode="after")
    def _labels_are_balanced_once(self) -> Self:
        if self.class_weights and self.sampling:
            raise ValueError(
                f"class_weights {self.class_weights!r} and sampling {self.sampling!r} both make labels count the same; "
                "together rare ones would count for more than frequent ones. Leave one of them out"
            )
        return self


class SequenceLabeling(Contract):
    """A tag for each word of a sentence, by cross-entropy; of BIO tags the best well-formed sequence is told."""

    type: Literal["sequence_labeling"] = "sequence_labeling"
    crf: bool = Field(
        default=False,
        description="Learn how tags follow each other too, by a linear-chain conditional random field (Lafferty et al. "
        "2001).",
    )


class SemanticRoleLabeling(Contract):
    """The role that each word plays for a given predicate: a bidirectional LSTM over the body's vectors and a mark of
    the predicate (Shi and Lin 2019); the best well-formed sequence of BIO roles is told."""

    type: Literal["semantic_role_labeling"] = "semantic_role_labeling"
    dropout: Annotated[float, Field(ge=0.0, lt=1.0, description="In training, around the LSTM.")] = 0.3


class FinetuneRegression(Contract):
    """Mean squared error; a linear head on the parent's body, or the parent's own where it is a regression."""

    type: Literal["regression"] = "regression"


class InstructionTuning(Contract):
    """Answers to prompts, and to conversations: next-token negative log-likelihood of what the assistant says alone, in
    a chat template that is stored with the model."""

    type: Literal["instruction_tuning"] = "instruction_tuning"


class Continued(Contract):
    """Continued pretraining: the same objective on new data, from all weights of a parent of the same method."""

    #: Fields of the pretraining that the parent has decided.
    inherited: ClassVar[frozenset[str]] = frozenset({"architecture", "tokenizer", "code_size", "noise_size"})


class ContinuedCausalLanguageModel(Continued):
    """A causal language model reads on: next-token negative log-likelihood on new text, in the parent's tokens."""

    type: Literal["causal_language_model"] = "causal_language_model"


class ContinuedMaskedLanguageModel(Continued):
    """A masked language model reads on: hidden tokens of new text, in the parent's tokens."""

    type: Literal["masked_language_model"] = "masked_language_model"


class ContinuedWord2Vec(Continued, NegativeSampling):
    """Word vectors move on with new text. The vocabulary is the parent's: other words are passed over, and words that
    the new text has not stay where they are."""


class ContinuedAutoencoder(Continued, Reconstruction):
    """An autoencoder goes on with new examples, scaled as the parent scales them. Whether the code is variational is
    the parent's; `variational` only weighs the divergence anew."""


class ContinuedGan(Continued, AdversarialLoss):
    """Both networks of a GAN play on, over new examples, scaled as the parent scales them."""


PretrainMethod = Annotated[
    CausalLanguageModel | MaskedLanguageModel | Word2Vec | Autoencoder | Gan | PretrainRegression,
    Field(discriminator="type"),
]
ContinuedMethod = (
    ContinuedCausalLanguageModel
    | ContinuedMaskedLanguageModel
    | ContinuedWord2Vec
    | ContinuedAutoencoder
    | ContinuedGan
)
FinetuneMethod = Annotated[
    Classification | SequenceLabeling | SemanticRoleLabeling | FinetuneRegression | InstructionTuning | ContinuedMethod,
    Field(discriminator="type"),
]

#: What a method trains with where the user is silent: merged under the user's `training`.
TRAINING_DEFAULTS: dict[tuple[str, str], dict[str, Any]] = {
    ("pretrain", "causal_language_model"): {
        "duration": {"steps": 500},
        "optimizer": {"type": "adamw", "learning_rate": 2e-3},
        "schedule": {"type": "cosine", "warmup_steps": 50},
        "validation_fraction": 0.05,
    },
    ("pretrain", "masked_language_model"): {
        "duration": {"steps": 1000},
        "optimizer": {"type": "adamw", "learning_rate": 2e-3, "betas": (0.9, 0.98), "weight_decay": 0.01},
        "schedule": {"type": "linear", "warmup_steps": 100},
        "validation_fraction": 0.05,
    },
    ("pretrain", "word2vec"): {
        "duration": {"epochs": 5.0},
        "batch_size": 32,
        "optimizer": {"type": "adam", "learning_rate": 0.01},
        "schedule": {"type": "linear"},
        "validation_fraction": 0.02,
    },
    ("pretrain", "autoencoder"): {
        "duration": {"epochs": 50.0},
        "batch_size": 64,
        "optimizer": {"type": "adamw", "learning_rate": 2e-3, "weight_decay": 0.0},
        "schedule": {"type": "cosine"},
    },
    ("pretrain", "gan"): {
        "duration": {"epochs": 200.0},
        "batch_size": 64,
        "optimizer": {"type": "adam", "learning_rate": 2e-4, "betas": [0.5, 0.999]},  # Radford et al. 2016
    },
    ("pretrain", "regression"): {
        "duration": {"epochs": 100.0},
        "optimizer": {"type": "adam", "learning_rate": 0.01},
    },
    ("finetune", "classification"): {
        "duration": {"epochs": 10.0},
        "optimizer": {"type": "adamw", "learning_rate": 2e-3, "weight_decay": 0.01},
        "schedule": {"type": "linear", "warmup_steps": 20},
    },
    ("finetune", "sequence_labeling"): {
        "duration": {"epochs": 10.0},
        "optimizer": {"type": "adamw", "learning_rate": 2e-3, "weight_decay": 0.01},
        "schedule": {"type": "linear", "warmup_steps": 20},
    },
    ("finetune", "semantic_role_labeling"): {
        "duration": {"epochs": 5.0},
        "optimizer": {"type": "adamw", "learning_rate": 2e-3, "weight_decay": 0.01},
        "schedule": {"type": "linear", "warmup_steps": 20},
    },
    ("finetune", "regression"): {
        "duration": {"epochs": 100.0},
        "optimizer": {"type": "adam", "learning_rate": 0.001},
    },
    ("finetune", "instruction_tuning"): {
        "duration": {"epochs": 3.0},
        "batch_size": 16,
        "optimizer": {"type": "adamw", "learning_rate": 5e-4, "weight_decay": 0.01},
        "schedule": {"type": "cosine", "warmup_steps": 20},
    },
}

#: Of the pretraining's rate: what was learned is to be kept.
_CONTINUED_RATE = 1 / 4


def _continued(defaults: Mapping[str, Any]) -> dict[str, Any]:
    optimizer = defaults["optimizer"]
    return {**defaults, "optimizer": optimizer | {"learning_rate": _CONTINUED_RATE * optimizer["learning_rate"]}}


TRAINING_DEFAULTS |= {
    ("finetune", method): _continued(TRAINING_DEFAULTS["pretrain", method])
    for method in ("causal_language_model", "masked_language_model", "word2vec", "autoencoder", "gan")
}
