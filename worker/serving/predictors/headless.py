"""Bodies that came without the head of their method: the embedding of a text, and nothing else."""

from worker.export import LoadedModel
from worker.models.headless import Headless
from worker.serving.predictors.protocol import Predictor
from worker.serving.predictors.readers import context_length
from worker.serving.predictors.windowed import TextEmbedding


def headless(loaded: LoadedModel) -> Predictor:
    assert isinstance(loaded.module, Headless)
    assert loaded.tokenizer is not None
    return Predictor(
        method=f"{loaded.description.method} without its head",
        embed=TextEmbedding(loaded.module.body, loaded.tokenizer, context_length(loaded)),
    )
