"""How large a job is, by arithmetic alone: its parameters exactly, its memory and operations roughly.

So what is too large is refused before anything is built. Knows the shapes of `worker.models`, and no torch.

Legend: D width, F inner width, L layers, T tokens of an example, V vocabulary.
"""

from itertools import pairwise
from math import prod
from typing import NamedTuple, assert_never

from app.contract.compatibility import MethodKey, has_new_head
from app.contract.linear_layers import adapted_layers
from app.contract.model_folder import BodyDescription, Pooling
from app.contract.specs.architectures import (
    BertArchitecture,
    BlockArchitecture,
    CausalArchitecture,
    ConvArchitecture,
    Gpt2Architecture,
    LstmArchitecture,
    MaskedArchitecture,
    MlpArchitecture,
    RnnArchitecture,
    SkipgramArchitecture,
    TransformerArchitecture,
)
from app.contract.specs.strategies import FrozenStrategy, FullStrategy, LoraStrategy, Strategy
from app.contract.specs.training import Optimizer, Sgd, TrainingOptions

BYTES_PER_NUMBER = 4  # weights, gradients and optimizer state are fp32, whatever the precision
KERNEL_AREA = 9
MASKED_SHARE = 0.15  # of the tokens that a masked language model reads, those that it is to tell
MARK_WIDTH = 10  # of what tells a role labeler which word is the predicate
WORDS_BESIDE_A_WORD = 15  # contexts and negatives of each, with the usual window
#: A product costs a multiplication and an addition; its backward pass is two more products (Kaplan et al. 2020).
FORWARD_FLOPS, BACKWARD_FLOPS = 2, 4
#: What a pretraining does, and a fine-tune without a strategy of its own.
WHOLE = FullStrategy()


class Load(NamedTuple):
    """What one example costs a body or a head. `products`: weights times the places they are applied at.

    `numbers` are the intermediate results that a backward pass needs.
    """

    products: int
    numbers: int


def num_parameters(
    method: MethodKey,
    body: BodyDescription,
    num_outputs: int | None,
    *,
    crf: bool = False,
    pooling: Pooling | None = None,
) -> int:
    """`num_outputs`: of the linear head: labels, targets, log-variances of a variational code; null without a head.
    `pooling`: of a classifier, where it is not that of the body."""
    chain = _chain_parameters(num_outputs or 0) if crf else 0
    return body_parameters(body) + _head_parameters(method, body, num_outputs, pooling or body.pooling) + chain


def body_parameters(body: BodyDescription) -> int:
    match body.architecture:
        case TransformerArchitecture() as shape:
            blocks_and_norm = _block_weights(shape) * shape.num_layers + shape.width
            return _vocabulary(body) * shape.width + blocks_and_norm
        case Gpt2Architecture() | BertArchitecture() as shape:
            embeddings = (_vocabulary(body) + shape.context_length + _num_token_types(shape)) * shape.width
            norm = 2 * shape.width  # BERT's stands behind the embeddings, GPT-2's behind the blocks
            return embeddings + _biased_block_weights(shape) * shape.num_layers + norm
        case SkipgramArchitecture() as shape:
            return _vocabulary(body) * shape.width
        case LstmArchitecture() | RnnArchitecture() as shape:
            biases = 2 * _gates(shape) * shape.width * shape.num_layers
            return _vocabulary(body) * shape.input_width + sum(_recurrent_weights(shape)) + biases
        case MlpArchitecture() as shape:
            return _linear_chain([_num_inputs(body), *shape.hidden_widths, *_code(body)])
        case ConvArchitecture() as shape:
            features = _linear(_feature_map_size(body, shape), width_of(body))
            return sum(map(_kernel, pairwise([_image(body)[0], *shape.channels]))) + features
        case _:
            assert_never(body.architecture)


def num_trained_parameters(
    method: MethodKey,
    body: BodyDescription,
    num_outputs: int | None,
    *,
    strategy: Strategy = WHOLE,
    crf: bool = False,
    pooling: Pooling | None = None,
) -> int:
    """Those that learn at some time of the training; adapters are merged when it ends, and so no part of the model."""
    total = num_parameters(method, body, num_outputs, crf=crf, pooling=pooling)
    head = total - body_parameters(body) if has_new_head(method) else 0
    match strategy:
        case FrozenStrategy():
            return head
        case LoraStrategy():
            return head + adapter_parameters(body, strategy)
        case _:
            return total


def adapter_parameters(body: BodyDescription, strategy: LoraStrategy) -> int:
    layers = adapted_layers(body, strategy.targets)
    return strategy.rank * sum(layer.fan_in + layer.fan_out for layer in layers)


def memory_bytes(
    method: MethodKey,
    body: BodyDescription,
    num_outputs: int | None,
    training: TrainingOptions,
    tokens_per_example: int = 1,
    *,
    strategy: Strategy = WHOLE,
) -> int:
    """Weights, gradients, optimizer state, the average of weights and the activations of one micro-batch; not the
    process itself (0.3 GB), nor the data that it holds. At its end, a gradual unfreezing needs what the whole does."""
    trained = num_trained_parameters(method, body, num_outputs, strategy=strategy)
    adapters = adapter_parameters(body, strategy) if isinstance(strategy, LoraStrategy) else 0
    weights = num_parameters(method, body, num_outputs) + adapters
    averages = int(training.weight_average is not None)
    states = weights + trained * (1 + _optimizer_numbers(training.optimizer) + averages)
    micro_batch_size = training.decided_batch_size // training.gradient_accumulation_steps
    numbers = _head_load(method, body, num_outputs, tokens_per_example).numbers
    if not isinstance(strategy, FrozenStrategy):
        numbers += _kept_of_body(body, tokens_per_example, recomputed=training.activation_checkpointing)
    return BYTES_PER_NUMBER * (states + micro_batch_size * numbers)


def has_blocks(body: BodyDescription) -> bool:
    """Whether its activations can be computed again, block by block."""
    return isinstance(body.architecture, BlockArchitecture)


def checkpoint_bytes(
    num_parameters: int,
    num_trained_parameters: int,
    body: BodyDescription,
    training: TrainingOptions,
    *,
    strategy: Strategy = WHOLE,
) -> int:
    """Of one checkpoint: the model, and to resume from its weights again, with adapters, averages and the optimizer's
    state."""
    adapters = adapter_parameters(body, strategy) if isinstance(strategy, LoraStrategy) else 0
    averages = int(training.weight_average is not None)
    states = num_trained_parameters * (_optimizer_numbers(training.optimizer) + averages)
    return BYTES_PER_NUMBER * (2 * num_parameters + adapters + states)


def training_flops(
    method: MethodKey,
    body: BodyDescription,
    num_outputs: int | None,
    tokens_per_example: int = 1,
    *,
    strategy: Strategy = WHOLE,
    recomputed: bool = False,
) -> int:
    """Operations for one example, forward and backward. A frozen body has no backward pass, and beside adapters one of
    a single product, since its weights have no gradients; layers that have yet to thaw are counted as the others are.
    `recomputed`: the body's forward pass is made twice.
    """
    forward = FORWARD_FLOPS * (1 + recomputed)
    head = _head_load(method, body, num_outputs, tokens_per_example).products * (FORWARD_FLOPS + BACKWARD_FLOPS)
    products = _body_load(body, tokens_per_example).products
    match strategy:
        case FrozenStrategy():
            return head + products * FORWARD_FLOPS
        case LoraStrategy():
            adapters = tokens_per_example * adapter_parameters(body, strategy) * (forward + BACKWARD_FLOPS)
            return head + products * (forward + BACKWARD_FLOPS // 2) + adapters
        case _:
            return head + products * (forward + BACKWARD_FLOPS)


def width_of(body: BodyDescription) -> int:
    """Numbers in one vector that the body gives."""
    match body.architecture:
        case MlpArchitecture() as shape:
            return body.code_size or shape.hidden_widths[-1]
        case ConvArchitecture():
            return _code(body)[0]
        case shape:
            return shape.width


def _head_parameters(method: MethodKey, body: BodyDescription, num_outputs: int | None, pooling: Pooling) -> int:
    match method[1], body.architecture:
        case "causal_language_model" | "instruction_tuning" | "masked_language_model", _:
            return _vocabulary_head(body)
        case "word2vec", _:
            return body_parameters(body)  # a second vector a word, as a context
        case "autoencoder", _:
            spread = _linear(_num_features(body), num_outputs) if num_outputs else 0
            return _decoder_parameters(body) + spread
        case "gan", _:
            return _decoder_parameters(body) + _linear(width_of(body), 1)
        case "classification", _:
            assert num_outputs is not None
            return _classifier_parameters(body, num_outputs, pooling)
        case _:
            assert num_outputs is not None, f"{method} has a head"
            return _task_parameters(method, body, num_outputs)


def _task_parameters(method: MethodKey, body: BodyDescription, num_outputs: int) -> int:
    if method == ("finetune", "semantic_role_labeling"):
        return _role_weights(body, num_outputs) + 2 * MARK_WIDTH + 17 * width_of(body) + num_outputs
    return _prediction_head(body) + _linear(width_of(body), num_outputs)


def _vocabulary_head(body: BodyDescription) -> int:
    """A logit for each token, behind what an encoder has before it; tied, by the vectors of the vocabulary."""
    shape = body.architecture
    if isinstance(shape, BertArchitecture):
        return _linear(shape.width, shape.width) + 2 * shape.width + _vocabulary(body)  # tied but for its biases
    assert isinstance(shape, CausalArchitecture)
    return _prediction_head(body) + (0 if shape.tie_embeddings else _vocabulary(body) * shape.width)


def _classifier_parameters(body: BodyDescription, num_labels: int, pooling: Pooling) -> int:
    width = width_of(body)
    match pooling:
        case "mean":
            return _prediction_head(body) + _linear(width, num_labels)
        case "first":
            return _linear(width, width) + _linear(width, num_labels)
        case "last":
            return width * num_labels


def _chain_parameters(num_tags: int) -> int:
    """Of a conditional random field: scores of each pair of tags, and of each tag as the first and as the last."""
    return num_tags * num_tags + 2 * num_tags


def _role_weights(body: BodyDescription, num_roles: int) -> int:
    """What a role labeler applies to each word: both directions of its LSTM, a layer over the states of two words, and
    that which tells roles; without the mark of the predicate and biases."""
    width = width_of(body)
    lstm = 2 * 4 * width * (width + MARK_WIDTH + width)
    return lstm + 4 * width * width + width * num_roles


def _prediction_head(body: BodyDescription) -> int:
    """What our encoder has between its vectors and a linear layer: a dense layer and a norm, without biases."""
    has_one = body.bidirectional and isinstance(body.architecture, TransformerArchitecture)
    return (width_of(body) + 1) * width_of(body) if has_one else 0


def _decoder_parameters(body: BodyDescription) -> int:
    """The body's mirror, from the code to an example."""
    match body.architecture:
        case MlpArchitecture() as shape:
            return _linear_chain([*_code(body), *reversed(shape.hidden_widths), _num_inputs(body)])
        case ConvArchitecture() as shape:
            expansion = _linear(width_of(body), _feature_map_size(body, shape))
            return expansion + sum(map(_kernel, pairwise([*reversed(shape.channels), _image(body)[0]])))
        case _:
            raise AssertionError(f"{body.architecture.type} has no mirror")


def _head_load(method: MethodKey, body: BodyDescription, num_outputs: int | None, tokens_per_example: int) -> Load:
    match method[1], body.architecture:
        case "causal_language_model" | "instruction_tuning", shape if isinstance(shape, CausalArchitecture):
            return Load(_vocabulary(body) * shape.width * tokens_per_example, 0)  # logits exist in chunks only
        case "masked_language_model", shape if isinstance(shape, MaskedArchitecture):
            weights = _vocabulary(body) * shape.width + shape.width * shape.width
            return Load(round(MASKED_SHARE * weights * tokens_per_example), 0)
        case "word2vec", SkipgramArchitecture() as shape:
            numbers = tokens_per_example * WORDS_BESIDE_A_WORD * shape.width
            return Load(numbers, numbers)
        case "autoencoder", _:
            return _body_load(body, tokens_per_example)  # the decoder is the body's mirror
        case "gan", _:
            return _adversary_load(_body_load(body, tokens_per_example))
        case _:
            return _task_load(method, body, num_outputs or 1, tokens_per_example)


def _task_load(method: MethodKey, body: BodyDescription, num_outputs: int, tokens_per_example: int) -> Load:
    if method == ("finetune", "semantic_role_labeling"):
        kept = (2 * (4 + 2) + 4 + 1) * width_of(body)  # gates and states of both directions, two words', a layer
        return Load(tokens_per_example * _role_weights(body, num_outputs), tokens_per_example * kept)
    times = tokens_per_example if method == ("finetune", "sequence_labeling") else 1
    return Load(times * width_of(body) * num_outputs, times * num_outputs)


def _adversary_load(body: Load) -> Load:
    """What a GAN's step costs beyond the body's one pass: forward and backward, the body reads a real and twice a made
    example, and its mirror makes one; another is made forward only. At most two passes are in memory at once.
    """
    both = FORWARD_FLOPS + BACKWARD_FLOPS
    beyond = 3 * both + FORWARD_FLOPS
    return Load(body.products * beyond // both, body.numbers)


def _body_load(body: BodyDescription, tokens_per_example: int) -> Load:
    match body.architecture:
        case TransformerArchitecture() as shape:
            return _transformer_load(shape, tokens_per_example, bidirectional=body.bidirectional)
        case Gpt2Architecture() | BertArchitecture() as shape:
            return _learned_positions_load(shape, tokens_per_example, bidirectional=body.bidirectional)
        case SkipgramArchitecture() as shape:
            return Load(0, tokens_per_example * shape.width)
        case LstmArchitecture() | RnnArchitecture() as shape:
            return _recurrent_load(shape, tokens_per_example)
        case MlpArchitecture() as shape:
            widths = [_num_inputs(body), *shape.hidden_widths, *_code(body)]
            return Load(sum(map(prod, pairwise(widths))), 2 * sum(widths))  # before and after each ReLU
        case ConvArchitecture() as shape:
            return _conv_load(body, shape)
        case _:
            assert_never(body.architecture)


def _kept_of_body(body: BodyDescription, tokens: int, *, recomputed: bool) -> int:
    """For the backward pass. Recomputed, it needs what every block reads, and all of a single block."""
    numbers, shape = _body_load(body, tokens).numbers, body.architecture
    if recomputed and isinstance(shape, BlockArchitecture):
        return shape.num_layers * tokens * shape.width + numbers // shape.num_layers
    return numbers


def _transformer_load(shape: TransformerArchitecture, tokens: int, *, bidirectional: bool) -> Load:
    """A token attends to T others, or to T / 2 on average where it sees none behind it, in two products of D numbers
    each. Kept for the backward pass: inputs of both norms and their results, queries, keys and values before and after
    rotation, what attention gives, and the three inner results of the gated feed-forward.
    """
    attention = shape.width * tokens * (2 if bidirectional else 1)
    key_value_width = shape.key_value_heads * (shape.width // shape.num_heads)
    numbers = 7 * shape.width + 3 * key_value_width + 3 * shape.inner_width
    weights = _block_weights(shape) - 2 * shape.width
    return Load(shape.num_layers * tokens * (weights + attention), shape.num_layers * tokens * numbers)


def _learned_positions_load(shape: Gpt2Architecture | BertArchitecture, tokens: int, *, bidirectional: bool) -> Load:
    """As above; kept are inputs and results of both norms, queries, keys and values, what attention gives, and the two
    inner results of the feed-forward."""
    attention = shape.width * tokens * (2 if bidirectional else 1)
    numbers = 8 * shape.width + 2 * shape.feed_forward_width
    return Load(
        shape.num_layers * tokens * (_biased_block_weights(shape) + attention), shape.num_layers * tokens * numbers
    )


def _recurrent_load(shape: LstmArchitecture | RnnArchitecture, tokens: int) -> Load:
    """Kept for the backward pass, for each token and layer: its input, its gates and its states."""
    states = 2 if isinstance(shape, LstmArchitecture) else 1
    numbers = shape.input_width + shape.num_layers * shape.width * (_gates(shape) + states)
    return Load(tokens * sum(_recurrent_weights(shape)), tokens * numbers)


def _conv_load(body: BodyDescription, shape: ConvArchitecture) -> Load:
    products, numbers = 0, prod(_image(body))
    sizes = _feature_map_sizes(body, shape)
    for (before, after), (height, width) in zip(pairwise([_image(body)[0], *shape.channels]), sizes[1:], strict=True):
        products += KERNEL_AREA * before * after * height * width
        numbers += 2 * after * height * width
    return Load(products + _feature_map_size(body, shape) * width_of(body), numbers + width_of(body))


def _block_weights(shape: TransformerArchitecture) -> int:
    """One block: queries and output, keys and values, SwiGLU's three, and two norms; no biases."""
    key_value_width = shape.key_value_heads * (shape.width // shape.num_heads)
    attention = 2 * shape.width * shape.width + 2 * shape.width * key_value_width
    return attention + 3 * shape.width * shape.inner_width + 2 * shape.width


def _biased_block_weights(shape: Gpt2Architecture | BertArchitecture) -> int:
    """One block: queries, keys, values and output, two layers of the feed-forward, and two norms; biases all over."""
    attention = 4 * _linear(shape.width, shape.width)
    return attention + _linear_chain([shape.width, shape.feed_forward_width, shape.width]) + 4 * shape.width


def _num_token_types(shape: Gpt2Architecture | BertArchitecture) -> int:
    return shape.num_token_types if isinstance(shape, BertArchitecture) else 0


def _gates(shape: LstmArchitecture | RnnArchitecture) -> int:
    """Vectors that a layer computes for each token: three gates and a candidate, or the state itself."""
    return 4 if isinstance(shape, LstmArchitecture) else 1


def _recurrent_weights(shape: LstmArchitecture | RnnArchitecture) -> list[int]:
    """Of each layer, without biases: onto every gate from what stands below, and from the state before."""
    inputs = [shape.input_width] + [shape.width] * (shape.num_layers - 1)
    return [_gates(shape) * shape.width * (below + shape.width) for below in inputs]


def _linear_chain(widths: list[int]) -> int:
    return sum(_linear(*pair) for pair in pairwise(widths))


def _linear(fan_in: int, fan_out: int) -> int:
    return (fan_in + 1) * fan_out


def _kernel(channels: tuple[int, int]) -> int:
    before, after = channels
    return (KERNEL_AREA * before + 1) * after


def _feature_map_sizes(body: BodyDescription, shape: ConvArchitecture) -> list[tuple[int, int]]:
    """(height, width) of the image and after each convolution: halved, rounding up."""
    _, height, width = _image(body)
    sizes = [(height, width)]
    for _ in shape.channels:
        height, width = -(-height // 2), -(-width // 2)
        sizes.append((height, width))
    return sizes


def _feature_map_size(body: BodyDescription, shape: ConvArchitecture) -> int:
    return shape.channels[-1] * prod(_feature_map_sizes(body, shape)[-1])


def _optimizer_numbers(optimizer: Optimizer) -> int:
    """Numbers kept for each parameter: two moments, or a momentum."""
    if isinstance(optimizer, Sgd):
        return 1 if optimizer.momentum else 0
    return 2


def _vocabulary(body: BodyDescription) -> int:
    assert body.vocab_size is not None
    return body.vocab_size


def _num_features(body: BodyDescription) -> int:
    """Numbers that a code is read off from."""
    match body.architecture:
        case MlpArchitecture() as shape:
            return shape.hidden_widths[-1]
        case ConvArchitecture() as shape:
            return _feature_map_size(body, shape)
        case _:
            raise AssertionError(f"{body.architecture.type} has no code")


def _num_inputs(body: BodyDescription) -> int:
    assert body.input_shape is not None
    return prod(body.input_shape)


def _image(body: BodyDescription) -> tuple[int, int, int]:
    assert body.input_shape is not None
    channels, height, width = body.input_shape
    return channels, height, width


def _code(body: BodyDescription) -> list[int]:
    """The width of the code as the last of a chain of widths; none where there is no code."""
    return [body.code_size] if body.code_size else []
