"""The arithmetic of sizes against the modules themselves, counted by torch, most of them on the meta device."""

from pathlib import Path
from typing import Any

import pytest
import torch

from app.contract import sizes
from app.contract.compatibility import METHOD_TRAITS, MethodKey
from app.contract.linear_layers import adapted_layers, kinds, linear_layers
from app.contract.messages import FinishedLine, ResolvedLine
from app.contract.model_folder import BodyDescription, Granularity, InputKind, ModelDescription
from app.contract.specs.architectures import (
    BertArchitecture,
    CausalArchitecture,
    ConvArchitecture,
    Gpt2Architecture,
    LstmArchitecture,
    MlpArchitecture,
    RnnArchitecture,
    SkipgramArchitecture,
    TransformerArchitecture,
)
from app.contract.specs.strategies import FrozenStrategy, LoraStrategy, Strategy
from app.contract.specs.training import Adam, Optimizer, Sgd, TrainingOptions, WeightAverage
from tests.contract import datasets
from tests.contract.assignments import pretraining
from tests.contract.runs import final_checkpoint, run_here
from worker.models.building import build_body, build_module
from worker.models.gan import Gan
from worker.models.lora import adapt


def text(*, bidirectional: bool = False, **shape: Any) -> BodyDescription:
    architecture = TransformerArchitecture(**({"num_layers": 3, "width": 48, "num_heads": 4} | shape))
    return reading(architecture, bidirectional=bidirectional)


def reading(architecture: CausalArchitecture | BertArchitecture, *, bidirectional: bool = False) -> BodyDescription:
    return BodyDescription(
        architecture=architecture,
        input=InputKind.TEXT,
        granularity=Granularity.TOKENS,
        vocab_size=331,
        bidirectional=bidirectional,
    )


def words() -> BodyDescription:
    return BodyDescription(
        architecture=SkipgramArchitecture(width=7), input=InputKind.TEXT, granularity=Granularity.TOKENS, vocab_size=331
    )


def features(code_size: int | None, *hidden_widths: int) -> BodyDescription:
    return BodyDescription(
        architecture=MlpArchitecture(hidden_widths=hidden_widths),
        input=InputKind.FEATURES,
        granularity=Granularity.EXAMPLE,
        input_shape=(13,),
        code_size=code_size,
    )


def image(shape: tuple[int, int, int], architecture: ConvArchitecture | MlpArchitecture) -> BodyDescription:
    return BodyDescription(
        architecture=architecture,
        input=InputKind.IMAGE,
        granularity=Granularity.EXAMPLE,
        input_shape=shape,
        code_size=5,
    )


GPT2 = Gpt2Architecture(
    num_layers=3,
    width=48,
    num_heads=4,
    feed_forward_width=77,
    context_length=33,
    dropout=0.0,
    activation="gelu",
    norm_epsilon=1e-5,
    tie_embeddings=False,
)
BERT = BertArchitecture(**GPT2.model_dump(exclude={"type", "tie_embeddings"}), num_token_types=2)
MASKED = ("pretrain", "masked_language_model")
LANGUAGE_MODEL, AUTOENCODER = ("pretrain", "causal_language_model"), ("pretrain", "autoencoder")
GAN = ("pretrain", "gan")
LABELING = ("finetune", "sequence_labeling")
ROLES = ("finetune", "semantic_role_labeling")
CLASSIFICATION, REGRESSION = ("finetune", "classification"), ("finetune", "regression")
CASES: list[tuple[MethodKey, BodyDescription, int | None]] = [
    (LANGUAGE_MODEL, text(), None),
    (LANGUAGE_MODEL, text(num_key_value_heads=2, feed_forward_width=77, tie_embeddings=False), None),
    (MASKED, text(bidirectional=True), None),
    (MASKED, text(bidirectional=True, feed_forward_width=77, tie_embeddings=False), None),
    (("pretrain", "word2vec"), words(), None),
    (LANGUAGE_MODEL, reading(LstmArchitecture(num_layers=3, width=20)), None),
    (LANGUAGE_MODEL, reading(RnnArchitecture(num_layers=2, width=24, embedding_width=9, tie_embeddings=False)), None),
    (AUTOENCODER, features(3, 11, 7), None),
    (AUTOENCODER, features(3, 11, 7), 3),
    (AUTOENCODER, image((3, 9, 7), ConvArchitecture(channels=(4, 6, 5))), None),
    (AUTOENCODER, image((3, 9, 7), ConvArchitecture(channels=(4, 6, 5))), 5),
    (AUTOENCODER, image((1, 8, 8), MlpArchitecture(hidden_widths=(10,))), None),
    (GAN, features(3, 11, 7), None),
    (GAN, image((3, 9, 7), ConvArchitecture(channels=(4, 6, 5))), None),
    (("pretrain", "regression"), features(None, 11, 7), 2),
    (CLASSIFICATION, text(), 4),
    (CLASSIFICATION, text(bidirectional=True), 4),
    (CLASSIFICATION, reading(LstmArchitecture(width=20, embedding_width=8, tie_embeddings=False)), 4),
    (LANGUAGE_MODEL, reading(GPT2), None),
    (MASKED, reading(BERT, bidirectional=True), None),
    (CLASSIFICATION, reading(GPT2), 4),
    (CLASSIFICATION, reading(BERT, bidirectional=True), 4),
    (LABELING, reading(BERT, bidirectional=True), 4),
    (LABELING, text(), 4),
    (LABELING, text(bidirectional=True), 4),
    (LABELING, words(), 4),
    (ROLES, text(bidirectional=True), 4),
    (ROLES, words(), 4),
    (CLASSIFICATION, image((3, 9, 7), ConvArchitecture(channels=(4,))), 6),
    (REGRESSION, features(3, 11), 1),
    (REGRESSION, words(), 1),
    (REGRESSION, features(None, 11), 3),
    (("finetune", "instruction_tuning"), text(num_key_value_heads=2, tie_embeddings=False), None),
    (("finetune", "causal_language_model"), reading(LstmArchitecture(width=20, tie_embeddings=False)), None),
    (("finetune", "masked_language_model"), text(bidirectional=True), None),
    (("finetune", "word2vec"), words(), None),
    (("finetune", "autoencoder"), features(3, 11, 7), 3),
    (("finetune", "gan"), features(3, 11, 7), None),
]


@pytest.mark.parametrize(("method", "body", "num_outputs"), CASES)
def test_parameters_are_counted_exactly(method: MethodKey, body: BodyDescription, num_outputs: int | None) -> None:
    kind, method_type = method
    labels = tuple(range(num_outputs)) if method in (CLASSIFICATION, LABELING, ROLES) and num_outputs else None
    description = ModelDescription.model_validate(
        {
            "kind": kind,
            "method": method_type,
            "body": body,
            "labels": labels,
            "target_size": num_outputs,
            "variational": method_type == "autoencoder" and num_outputs is not None,
            "pooling": body.pooling,
            "num_parameters": 0,
        }
    )
    with torch.device("meta"):
        module = build_module(description)
    assert sizes.num_parameters(method, body, num_outputs) == sum(p.numel() for p in module.parameters())
    if num_outputs is not None and method_type != "autoencoder":
        head: torch.nn.Linear = module.head  # type: ignore[assignment]
        assert sizes.width_of(body) == head.in_features


def test_the_chain_of_a_crf_is_counted() -> None:
    body = text(bidirectional=True)
    description = ModelDescription(
        kind="finetune", method="sequence_labeling", body=body, labels=("a", "b", "c"), crf=True, num_parameters=0
    )
    module = build_module(description)
    assert sizes.num_parameters(LABELING, body, 3, crf=True) == sum(p.numel() for p in module.parameters())


def test_every_method_is_counted() -> None:
    assert {method for method, _, _ in CASES} == set(METHOD_TRAITS)


@pytest.mark.parametrize(
    ("optimizer", "numbers_a_parameter"),
    [(Adam(), 4), (Sgd(), 3), (Sgd(momentum=0.0), 2)],
)
def test_memory_holds_weights_gradients_and_optimizer_state(optimizer: Optimizer, numbers_a_parameter: int) -> None:
    body = text(width=512)
    options = TrainingOptions(batch_size=1, optimizer=optimizer)
    count = sizes.num_parameters(LANGUAGE_MODEL, body, None)
    assert sizes.memory_bytes(LANGUAGE_MODEL, body, None, options) == pytest.approx(
        4 * numbers_a_parameter * count, rel=0.01
    )


def test_averaged_weights_are_in_memory_once_more() -> None:
    def memory(average: WeightAverage | None, strategy: Strategy = sizes.WHOLE) -> int:
        options = TrainingOptions(weight_average=average)
        return sizes.memory_bytes(CLASSIFICATION, text(), 2, options, strategy=strategy)

    total = sizes.num_parameters(CLASSIFICATION, text(), 2)
    trained = total - sizes.body_parameters(text())
    assert memory(WeightAverage()) - memory(None) == 4 * total
    assert memory(WeightAverage(), FrozenStrategy()) - memory(None, FrozenStrategy()) == 4 * trained


def test_only_a_micro_batch_is_in_memory() -> None:
    def memory(batch_size: int, parts: int) -> int:
        options = TrainingOptions(batch_size=batch_size, gradient_accumulation_steps=parts)
        return sizes.memory_bytes(LANGUAGE_MODEL, text(), None, options, 256)

    assert memory(32, 4) == memory(8, 1) < memory(32, 1)


def test_recomputed_blocks_leave_what_each_reads_and_one_block() -> None:
    def numbers(num_layers: int, *, recomputed: bool, width: int = 48) -> float:
        """Of the activations of one example."""
        body = text(num_layers=num_layers, width=width)
        with_two, with_one = (
            sizes.memory_bytes(
                LANGUAGE_MODEL, body, None, TrainingOptions(batch_size=rows, activation_checkpointing=recomputed), 64
            )
            for rows in (2, 1)
        )
        return (with_two - with_one) / sizes.BYTES_PER_NUMBER

    one_block = numbers(1, recomputed=False)
    assert numbers(12, recomputed=False) == 12 * one_block
    assert numbers(12, recomputed=True) == one_block + 12 * 64 * 48
    ratio = sizes.training_flops(CLASSIFICATION, text(), 2, 64, recomputed=True) / sizes.training_flops(
        CLASSIFICATION, text(), 2, 64
    )
    assert ratio == pytest.approx(8 / 6, rel=0.01)


@pytest.mark.parametrize(("method", "body", "num_outputs"), CASES)
def test_blocks_are_those_of_the_body(method: MethodKey, body: BodyDescription, num_outputs: int | None) -> None:
    with torch.device("meta"):
        assert bool(build_body(body).blocks()) == sizes.has_blocks(body)


def test_a_frozen_body_needs_neither_gradients_nor_a_backward_pass() -> None:
    options, body = TrainingOptions(), text()
    frozen = sizes.memory_bytes(CLASSIFICATION, body, 2, options, 64, strategy=FrozenStrategy())
    assert frozen < sizes.memory_bytes(CLASSIFICATION, body, 2, options, 64) / 3
    ratio = sizes.training_flops(CLASSIFICATION, body, 2, 64) / sizes.training_flops(
        CLASSIFICATION, body, 2, 64, strategy=FrozenStrategy()
    )
    assert ratio == pytest.approx(3, rel=0.01)


ADAPTED = [
    (CLASSIFICATION, text(num_key_value_heads=2, feed_forward_width=77), 4),
    (LABELING, text(bidirectional=True, feed_forward_width=77), 4),
    (CLASSIFICATION, reading(GPT2), 4),
    (CLASSIFICATION, reading(BERT, bidirectional=True), 4),
    (REGRESSION, features(3, 11, 7), 1),
    (REGRESSION, features(None, 11), 2),
]


@pytest.mark.parametrize(("method", "body", "num_outputs"), ADAPTED)
def test_linear_layers_are_those_of_the_body(method: MethodKey, body: BodyDescription, num_outputs: int) -> None:
    with torch.device("meta"):
        module = build_body(body)
    linear = {name: each for name, each in module.named_modules() if isinstance(each, torch.nn.Linear)}

    assert [(layer.name, layer.fan_in, layer.fan_out) for layer in linear_layers(body)] == [
        (name, each.in_features, each.out_features) for name, each in linear.items()
    ]
    assert adapted_layers(body, kinds(linear_layers(body))) == linear_layers(body)


@pytest.mark.parametrize("targets", ["all_linear", ("Wo", "v_proj", "c_attn", "output.dense", "layers.0")])
@pytest.mark.parametrize(("method", "body", "num_outputs"), ADAPTED)
def test_adapters_are_counted_exactly(method: MethodKey, body: BodyDescription, num_outputs: int, targets: Any) -> None:
    strategy = LoraStrategy(rank=3, targets=targets)
    with torch.device("meta"):
        module = build_body(body)
    before = sum(each.numel() for each in module.parameters())
    adapt(module, [layer.name for layer in adapted_layers(body, targets)], 3, 1.0, 0.0)
    adapters = sum(each.numel() for each in module.parameters()) - before

    head = sizes.num_trained_parameters(method, body, num_outputs, strategy=FrozenStrategy())
    assert sizes.num_trained_parameters(method, body, num_outputs, strategy=strategy) == head + adapters
    assert 0 < adapters < before


def test_without_a_new_head_adapters_alone_learn() -> None:
    strategy, body = LoraStrategy(rank=2, targets=("q_proj",)), text(tie_embeddings=False)
    method = ("finetune", "causal_language_model")
    assert sizes.num_trained_parameters(method, body, None, strategy=strategy) == 3 * 2 * (48 + 48)


def test_adapters_need_state_for_themselves_alone_and_one_product_of_two_backwards() -> None:
    body, options = text(width=512), TrainingOptions(batch_size=1, optimizer=Adam())
    strategy = LoraStrategy(rank=1, targets=("q_proj",))
    whole = sizes.num_parameters(CLASSIFICATION, body, 2)
    assert sizes.memory_bytes(CLASSIFICATION, body, 2, options, strategy=strategy) == pytest.approx(4 * whole, rel=0.01)
    ratio = sizes.training_flops(CLASSIFICATION, body, 2, 64, strategy=strategy) / sizes.training_flops(
        CLASSIFICATION, body, 2, 64
    )
    assert ratio == pytest.approx(4 / 6, rel=0.01)


def test_operations_of_a_gan_are_those_that_torch_counts() -> None:
    """Of both steps of the game, whose networks are mirrors of each other."""
    from torch.utils.flop_counter import FlopCounterMode  # noqa: PLC0415  0.3 s that the other tests do not need

    body = features(13, 16, 16)
    model = build_module(ModelDescription(kind="pretrain", method="gan", body=body, num_parameters=0))
    assert isinstance(model, Gan)
    noise = torch.zeros(1, 13)
    with FlopCounterMode(display=False) as counter:
        with torch.no_grad():
            made = model.generate(noise)
        (model({"inputs": torch.ones(1, 13)}) + model({"inputs": made})).sum().backward()
        model({"inputs": model.generate(noise)}).sum().backward()
    assert sizes.training_flops(GAN, body, None) == pytest.approx(counter.get_total_flops(), rel=0.15)


def test_operations_are_those_that_torch_counts() -> None:
    """Forward and backward of a language model, by torch's own counter; it takes attention as not causal."""
    from torch.utils.flop_counter import FlopCounterMode  # noqa: PLC0415  0.3 s that the other tests do not need

    body, num_tokens = text(), 32
    description = ModelDescription(kind="pretrain", method="causal_language_model", body=body, num_parameters=0)
    module = build_module(description)
    tokens = torch.zeros(1, num_tokens, dtype=torch.int64)
    with FlopCounterMode(display=False) as counter:
        module(tokens).sum().backward()
    assert sizes.training_flops(LANGUAGE_MODEL, body, None, num_tokens) == pytest.approx(
        counter.get_total_flops(), rel=0.1
    )


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"optimizer": {"type": "sgd", "learning_rate": 0.01, "momentum": 0.0}},
        {"weight_average": {"decay": 0.9}},
    ],
)
def test_a_checkpoint_is_as_large_on_disk_as_was_told(options: dict[str, Any], tmp_path: Path) -> None:
    """But for headers, some 20 kB."""
    method = {"type": "autoencoder", "architecture": {"type": "mlp", "hidden_widths": [512, 256]}, "code_size": 3}
    vectors = datasets.vectors(tmp_path, "labeled_vectors")
    assignment = pretraining(tmp_path, vectors, method, **({"duration": {"steps": 2}} | options))
    lines = run_here(assignment)
    resolved = next(line.resolved for line in lines if isinstance(line, ResolvedLine))
    finished = lines[-1]
    assert isinstance(finished, FinishedLine)
    assert resolved.num_trained_parameters is not None
    told = sizes.checkpoint_bytes(
        resolved.num_parameters, resolved.num_trained_parameters, finished.model.body, assignment.spec.training
    )
    written = sum(path.stat().st_size for path in final_checkpoint(lines).rglob("*") if path.is_file())
    assert told < written < told + 40_000
