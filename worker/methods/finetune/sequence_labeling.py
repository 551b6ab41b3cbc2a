"""Fine-tuning by tags of words (parts of speech, named entities): a new head on the parent's body, for text.

Legend: B batch, W words, L tags.
"""

from collections.abc import Mapping, Sequence

from torch import Tensor

from app.contract.messages import Assignment
from app.contract.specs import FinetuneSpec
from app.contract.specs.methods import SequenceLabeling
from worker.data.failures import BadData
from worker.data.tagged_words import TagReader
from worker.data.words import SubWords
from worker.methods.example_method import ExampleMethod, described, parted
from worker.methods.finetune.parent import Parent
from worker.methods.tagging import ToldTags
from worker.models.tagger import Tagger
from worker.training.protocols import Batch, Log

#: A step of a CRF weighs all pairs of tags at every word.
MAX_CRF_TAGS = 256


def prepare(assignment: Assignment, log: Log) -> "SequenceLabelingMethod":
    spec = assignment.spec
    assert isinstance(spec, FinetuneSpec)
    assert isinstance(spec.method, SequenceLabeling)
    parent = Parent.of(assignment)
    assert parent.tokenizer is not None
    reader = TagReader.taught_by(assignment.dataset, log)
    _check_number_of_tags(reader.tags, spec.method)
    sub_words = SubWords(parent.tokenizer, parent.description)
    validation = assignment.validation_dataset
    sides = parted(
        assignment,
        reader.read(assignment.dataset, sub_words),
        None if validation is None else reader.read(validation, sub_words),
    )
    model = Tagger(parent.body, reader.tags, crf=spec.method.crf)
    description = described(spec, parent.description, labels=reader.tags, crf=spec.method.crf)
    return SequenceLabelingMethod(model, description, sides, spec.training, parent.tokenizer)


class SequenceLabelingMethod(ExampleMethod[Tagger]):
    """The loss is the mean negative log-likelihood of a word's tag, in nats; with a CRF a sentence's, over its words.

    Tags are told as `Tagger.decode` does. `accuracy` is the share of words that are told right; where tags are BIO,
    `span_f1` is strict: a span counts if it has the right label, the right start and the right end.
    """

    def total(self, batch: Batch) -> Tensor:
        """batch: as `WordExamples.gather` gives it"""
        return self.model.loss(self.model(batch), batch)

    def weight(self, batch: Batch) -> Tensor:
        return batch["num_words"].sum()

    def metrics(self) -> Mapping[str, float]:
        loss, num_words, told = 0.0, 0, ToldTags(self.tags)
        for batch in self.validation_batches():
            logits = self.model(batch)
            loss += self.model.loss(logits, batch).item()
            num_words += int(self.weight(batch))
            told.add(batch, self.model.decode(logits, batch["num_words"])[0])
        return {"validation_loss": loss / num_words, **told.metrics()}

    @property
    def tags(self) -> list[str]:
        return [*map(str, self._description.labels or ())]


def _check_number_of_tags(tags: Sequence[str], method: SequenceLabeling) -> None:
    if method.crf and len(tags) > MAX_CRF_TAGS:
        raise BadData(
            f"The data have {len(tags):,} tags; a CRF, which weighs all pairs of them, takes at most {MAX_CRF_TAGS}. "
            'Leave out "crf", or give coarser tags.'
        )
