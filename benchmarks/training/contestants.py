"""`python -m benchmarks.training.contestants NAME STEPS ASSIGNMENT`: one contestant, in a process of its own.

For each line on stdin it takes so many steps of what the assignment (a file) asks for, and tells on stdout how many
tokens they read. All have the same data, shapes and batches; where the peers have an option, it is told in their name.
"""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import repeat
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  its usual name
from torch import Tensor, nn

from app.contract.messages import Assignment, assignment_adapter
from app.contract.specs import PretrainSpec
from app.contract.specs.methods import CausalLanguageModel
from benchmarks.training.turns import Whistle
from worker.data.tokenizers import begin_token
from worker.data.windows import Windows
from worker.methods import BUILDERS
from worker.methods.pretrain.text_stream import split_text, tokenizer_of
from worker.training.feeder import batches
from worker.training.learner import Learner
from worker.training.precision import Compute
from worker.training.protocols import Batch
from worker.training.resolution import resolve
from worker.training.seed import seed_preparation

#: Of one product: large enough to reach the peak, small enough to have some in a turn.
PEAK_WIDTH = 2048
PRODUCTS_A_STEP = 4

#: Takes the steps of a turn, again and again. Never returns.
Contestant = Callable[[Assignment, int, Whistle], None]


def num_tokens(batch: Batch) -> int:
    """Real ones: those that only fill a row up are not counted."""
    return int(batch["lengths"].sum()) if "lengths" in batch else batch["tokens"].numel()


class Loop:
    """The job's steps without the job: no reports, no checkpoints, nobody who watches."""

    def __init__(self, assignment: Assignment) -> None:
        spec = assignment.spec
        seed_preparation(spec.training.seed)
        method = BUILDERS[spec.kind, spec.method.type](assignment, lambda _: None)
        self.resolved = resolve(spec, method)
        self._learner = Learner(method, spec.training, self.resolved)
        device = Compute.of(self.resolved).device
        self._feed = enumerate(batches(method.train_data, range(self.resolved.total_steps), device))

    def step(self) -> int:
        step, micro_batches = next(self._feed)
        self._learner.step(step, micro_batches)
        return sum(map(num_tokens, micro_batches))


def loop(assignment: Assignment, steps: int, whistle: Whistle) -> None:
    ours = Loop(assignment)
    while True:
        whistle.turn_over(sum(ours.step() for _ in range(steps)))


def peak(dtype: torch.dtype) -> Contestant:
    """What the cores reach in large products. Its "tokens" are operations."""

    def run(_: Assignment, steps: int, whistle: Whistle) -> None:
        left, right = (torch.randn(PEAK_WIDTH, PEAK_WIDTH).to(dtype) for _ in range(2))
        num_products = steps * PRODUCTS_A_STEP
        while True:
            for _product in range(num_products):
                torch.mm(left, right)
            whistle.turn_over(num_products * 2.0 * PEAK_WIDTH**3)

    return run


class StreamedTokens(torch.utils.data.Dataset[Mapping[str, Tensor]]):
    """The text in windows, as an endless data set: one after the other, which costs as much as at random."""

    def __init__(self, assignment: Assignment) -> None:
        spec = assignment.spec
        assert isinstance(spec, PretrainSpec)
        assert isinstance(spec.method, CausalLanguageModel)
        self.architecture: Any = spec.method.architecture
        tokenizer = tokenizer_of(assignment, spec.method.tokenizer, lambda _: None)
        self.vocab_size = tokenizer.get_vocab_size()
        tokens, _ = split_text(assignment, tokenizer, lambda _: None)
        self._windows = Windows(tokens, begin_token(tokenizer), self.architecture.context_length)

    def __len__(self) -> int:
        return 10_000_000

    def __getitem__(self, index: int) -> Mapping[str, Tensor]:
        window = self.batch([index])["targets"][0]
        return {"input_ids": window, "labels": window}

    def batch(self, indices: Sequence[int]) -> Batch:
        starts = [index % len(self._windows) * self._windows.length for index in indices]
        return self._windows.batch(starts)


def eager_lstm(assignment: Assignment, steps: int, whistle: Whistle) -> None:
    """As it is written by hand: `nn.LSTM` and its vocabulary in float32, AdamW at its defaults."""
    data, batch_size = StreamedTokens(assignment), assignment.spec.training.decided_batch_size
    width = data.architecture.width
    embedding = nn.Embedding(data.vocab_size, width)
    layers = nn.LSTM(width, width, data.architecture.num_layers, batch_first=True)
    optimizer = torch.optim.AdamW([*embedding.parameters(), *layers.parameters()])

    def step(number: int) -> int:
        batch = data.batch(range(number * batch_size, (number + 1) * batch_size))
        logits = F.linear(layers(embedding(batch["tokens"]))[0], embedding.weight)
        loss = F.cross_entropy(logits.flatten(0, 1), batch["targets"].flatten())
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        optimizer.step()
        optimizer.zero_grad()
        return batch["tokens"].numel()

    number = 0
    while True:
        whistle.turn_over(sum(step(number + each) for each in range(steps)))
        number += steps


def llama(**options: Any) -> Contestant:
    """A Llama of the same shape, which is our decoder, under Trainer."""

    def run(assignment: Assignment, steps: int, whistle: Whistle) -> None:
        import transformers  # noqa: PLC0415  takes seconds, and is for these contestants alone

        data = StreamedTokens(assignment)
        shape = data.architecture
        config = transformers.LlamaConfig(
            vocab_size=data.vocab_size,
            hidden_size=shape.width,
            intermediate_size=shape.inner_width,
            num_hidden_layers=shape.num_layers,
            num_attention_heads=shape.num_heads,
            max_position_embeddings=shape.context_length,
            tie_word_embeddings=True,
        )
        model = transformers.LlamaForCausalLM(config)
        tokens_of_step = repeat(assignment.spec.training.decided_batch_size * shape.context_length)
        _train(assignment, steps, whistle, model=model, data=data, tokens_of_step=tokens_of_step, **options)

    return run


def bert(**options: Any) -> Contestant:
    """A BERT of the same width and depth, to classify texts as long as they are, under Trainer."""

    def run(assignment: Assignment, steps: int, whistle: Whistle) -> None:
        import transformers  # noqa: PLC0415  likewise

        from benchmarks.training.texts import PaddedTexts, encoder_of  # noqa: PLC0415  likewise

        shape, data = encoder_of(assignment), PaddedTexts(assignment)
        config = transformers.BertConfig(
            vocab_size=data.vocab_size,
            hidden_size=shape.width,
            num_hidden_layers=shape.num_layers,
            num_attention_heads=shape.num_heads,
            intermediate_size=4 * shape.width,
            max_position_embeddings=shape.context_length,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        )
        config.num_labels = data.num_labels
        model = transformers.BertForSequenceClassification(config)
        _train(
            assignment,
            steps,
            whistle,
            model=model,
            data=data,
            tokens_of_step=data.tokens_of_step,
            collator=data.padded,
            length_column_name="length",
            remove_unused_columns=False,
            **options,
        )

    return run


def _train(
    assignment: Assignment,
    steps: int,
    whistle: Whistle,
    *,
    model: Any,
    data: Any,
    tokens_of_step: Iterator[int],
    collator: Callable[[Any], Any] | None = None,
    **options: Any,
) -> None:
    """`options` are Trainer's."""
    import transformers  # noqa: PLC0415  likewise

    class Referee(transformers.TrainerCallback):
        """Holds the training still between turns."""

        tokens = 0

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.tokens += next(tokens_of_step)
            if state.global_step % steps == 0:
                whistle.turn_over(self.tokens)
                self.tokens = 0

    arguments = transformers.TrainingArguments(
        output_dir=str(assignment.output_dir / "trainer"),
        per_device_train_batch_size=assignment.spec.training.decided_batch_size,
        max_steps=1_000_000,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        use_cpu=not torch.cuda.is_available(),
        **options,
    )
    transformers.Trainer(
        model=model, args=arguments, train_dataset=data, data_collator=collator, callbacks=[Referee()]
    ).train()


BEST: Mapping[str, Any] = {"bf16": True, "torch_compile": True}
BY_LENGTH: Mapping[str, Any] = {"train_sampling_strategy": "group_by_length"}
CONTESTANTS: Mapping[str, Contestant] = {
    "loop": loop,
    "lstm": eager_lstm,
    "llama": llama(),
    "llama-best": llama(**BEST),
    "bert": bert(),
    "bert-by-length": bert(**BY_LENGTH),
    "bert-best": bert(**BY_LENGTH, bf16=True),
    "peak-fp32": peak(torch.float32),
    "peak-bf16": peak(torch.bfloat16),
}


def main() -> None:
    name, steps, path = sys.argv[1:]
    whistle = Whistle()
    assignment = assignment_adapter.validate_json(Path(path).read_bytes())
    assert isinstance(assignment, Assignment)
    CONTESTANTS[name](assignment, int(steps), whistle)


if __name__ == "__main__":
    main()
