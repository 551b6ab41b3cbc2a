"""What pretraining on plain text shares, whatever is learned from it: its tokenizer, its two sides, their windows."""

import numpy as np
from tokenizers import Tokenizer

from app.contract.checkpoint import MODEL_FOLDER
from app.contract.messages import Assignment, Resolved
from app.contract.model_folder import TOKENIZER_NAME, BodyDescription, Granularity, InputKind
from app.contract.specs.architectures import TextArchitecture
from app.contract.specs.tokenizers import TokenizerSpec
from app.contract.specs.training import TrainingOptions
from worker.data.failures import BadData
from worker.data.text import Tokens, learned_tokenizer, tokenised
from worker.data.tokenizers import begin_token, load_tokenizer
from worker.data.windows import Windows
from worker.training.protocols import Log, StepSource

#: An evaluation reads a quarter of what was trained since the last one, within these bounds. A forward pass costs a
#: third of a step, so evaluations stay under a tenth of the time; 65,536 tokens tell the mean to about 0.01 nats.
VALIDATION_SHARE = 1 / 4
MIN_VALIDATION_TOKENS = 8_192
MAX_VALIDATION_TOKENS = 65_536


def tokenizer_of(assignment: Assignment, spec: TokenizerSpec, log: Log) -> Tokenizer:
    """The one that the text teaches. A run that goes on keeps its own, whatever became of the cache."""
    if assignment.resume_from is not None:
        return load_tokenizer(assignment.resume_from / MODEL_FOLDER / TOKENIZER_NAME)
    return learned_tokenizer(assignment.dataset, spec, assignment.cache_dir, log)


def text_body(architecture: TextArchitecture, tokenizer: Tokenizer, *, bidirectional: bool = False) -> BodyDescription:
    return BodyDescription(
        architecture=architecture,
        input=InputKind.TEXT,
        granularity=Granularity.TOKENS,
        vocab_size=tokenizer.get_vocab_size(),
        bidirectional=bidirectional,
    )


def split_text(assignment: Assignment, tokenizer: Tokenizer, log: Log) -> tuple[Tokens, Tokens]:
    """Training and validation tokens: the tail of the text is held back, or the stretch that is its fold, or a data set
    of its own validates."""
    tokens = tokenised(assignment.dataset, tokenizer, assignment.cache_dir, log)
    if assignment.validation_dataset is not None:
        return tokens, tokenised(assignment.validation_dataset, tokenizer, assignment.cache_dir, log)
    begin, end = _held_back(len(tokens), assignment.spec.training)
    if len(tokens) - (end - begin) < 2:
        raise BadData(f"The text has {len(tokens)} tokens in all: too few to learn from.")
    return _without(tokens, begin, end), tokens[begin:end]


def _held_back(num_tokens: int, options: TrainingOptions) -> tuple[int, int]:
    if (fold := options.validation_fold) is not None:
        return fold.index * num_tokens // fold.count, (fold.index + 1) * num_tokens // fold.count
    return num_tokens - int(num_tokens * options.validation_fraction), num_tokens


def _without(tokens: Tokens, begin: int, end: int) -> Tokens:
    """What stands before the stretch and behind it; where both do, a copy in memory."""
    if begin == 0:
        return tokens[end:]
    return tokens[:begin] if end == len(tokens) else np.concatenate([tokens[:begin], tokens[end:]])


def windows_of(tokens: Tokens, tokenizer: Tokenizer, body: BodyDescription) -> Windows:
    """Windows of the whole context, or of all the text where it is shorter."""
    shape = body.architecture
    assert isinstance(shape, TextArchitecture)
    return Windows(tokens, begin_token(tokenizer), max(1, min(shape.context_length, len(tokens))))


def evaluation_tokens(resolved: Resolved, train_data: StepSource) -> int:
    """How many tokens one evaluation reads."""
    trained = resolved.evaluate_every_steps * (train_data.tokens_per_step or 0)
    return min(max(int(trained * VALIDATION_SHARE), MIN_VALIDATION_TOKENS), MAX_VALIDATION_TOKENS)
