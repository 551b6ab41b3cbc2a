"""The labelled texts of an assignment as Trainer's peers read them: padded to the longest of their batch."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from app.contract.messages import Assignment
from app.contract.model_folder import DESCRIPTION_NAME, TOKENIZER_NAME, ModelDescription
from app.contract.specs.architectures import TransformerArchitecture
from benchmarks.training.workloads import LABELS, texts_of
from worker.data.tokenizers import load_tokenizer


def encoder_of(assignment: Assignment) -> TransformerArchitecture:
    """The shape of the parent."""
    assert assignment.parent_model is not None
    description = ModelDescription.model_validate_json((assignment.parent_model / DESCRIPTION_NAME).read_bytes())
    shape = description.body.architecture
    assert isinstance(shape, TransformerArchitecture)
    return shape


class PaddedTexts(torch.utils.data.Dataset[Mapping[str, Any]]):
    """Texts cut to the context. `tokens_of_step` tells the real tokens of each batch that was made, in order."""

    def __init__(self, assignment: Assignment) -> None:
        assert assignment.parent_model is not None
        tokenizer = load_tokenizer(assignment.parent_model / TOKENIZER_NAME)
        self.vocab_size, self.num_labels = tokenizer.get_vocab_size(), len(LABELS)
        context = encoder_of(assignment).context_length
        texts, self._labels = zip(*texts_of(assignment), strict=True)
        encodings = tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        self._ids = [encoding.ids[:context] for encoding in encodings]
        self._made: list[int] = []

    def __len__(self) -> int:
        return len(self._ids)

    def __getitem__(self, index: int) -> Mapping[str, Any]:
        ids = self._ids[index]
        return {"input_ids": ids, "labels": self._labels[index], "length": len(ids)}

    @property
    def tokens_of_step(self) -> Iterator[int]:
        while True:
            yield self._made.pop(0)

    def padded(self, examples: Sequence[Mapping[str, Any]]) -> Mapping[str, Tensor]:
        """As DataCollatorWithPadding does it."""
        rows = [torch.tensor(example["input_ids"]) for example in examples]
        self._made.append(sum(map(len, rows)))
        return {
            "input_ids": torch.nn.utils.rnn.pad_sequence(rows, batch_first=True),
            "attention_mask": torch.nn.utils.rnn.pad_sequence([torch.ones_like(row) for row in rows], batch_first=True),
            "labels": torch.tensor([example["labels"] for example in examples]),
        }
