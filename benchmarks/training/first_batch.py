"""From raw text to the first batch, with a tokenizer that is there already: ours, and `datasets.map` as run_clm.py of
transformers calls it.

    python -m benchmarks.training.first_batch ours|datasets ASSIGNMENT CACHE

is one of them in a fresh process: it tells the seconds of its work, without those of imports, which ours has fewer of.
"""

import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from app.contract.messages import Assignment, assignment_adapter
from app.contract.specs import PretrainSpec
from app.contract.specs.methods import CausalLanguageModel
from benchmarks.quality.bench import Bench
from benchmarks.training.job import environment
from benchmarks.training.turns import ratio
from benchmarks.training.workloads import Scale, transformer
from worker.data.text import learned_tokenizer, tokenised
from worker.data.tokenizers import begin_token, load_tokenizer
from worker.data.windows import Windows, WindowSource

TOKENIZER = "tokenizer.json"
FIRST, SECOND, PEER = "ours, first run", "ours, second run", "datasets.map"
FASTER, SECOND_SECONDS = 2.5, 0.05


def measured(bench: Bench, scale: Scale, rounds: int) -> str:
    place = bench.folder / "first-batch"
    place.mkdir(parents=True, exist_ok=True)
    assignment = transformer(bench, scale).assignment(place / "output")
    file = place / "assignment.json"
    file.write_text(assignment.model_dump_json())
    assert isinstance(assignment.spec, PretrainSpec)
    assert isinstance(assignment.spec.method, CausalLanguageModel)
    spec = assignment.spec.method.tokenizer
    learned_tokenizer(assignment.dataset, spec, bench.folder / "cache", lambda _: None).save(str(place / TOKENIZER))
    seconds: dict[str, list[float]] = defaultdict(list)
    for number in range(rounds):
        for name, kind in ((FIRST, "ours"), (SECOND, "ours"), (PEER, "datasets")):
            seconds[name].append(_seconds(kind, file, place / f"cache-{number}"))
    return _table(seconds)


def _seconds(kind: str, file: Path, cache: Path) -> float:
    command = [sys.executable, "-m", "benchmarks.training.first_batch", kind, str(file), str(cache)]
    more = {"HF_HOME": str(cache), "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "true"}
    told = subprocess.run(command, env=environment(file.parent) | more, capture_output=True, text=True, check=True)
    return float(told.stdout.splitlines()[-1])


def _table(seconds: Mapping[str, Sequence[float]]) -> str:
    lines = [
        "### Raw text, 5 MB, to the first batch",
        "",
        "| | seconds | ours is faster by | goal |",
        "|---|--:|--:|--:|",
    ]
    median = {name: sorted(each)[len(each) // 2] for name, each in seconds.items()}
    goals = {
        SECOND: f"{SECOND_SECONDS} s: {'met' if median[SECOND] <= SECOND_SECONDS else 'missed'}",
        PEER: f"{FASTER}: {'met' if median[PEER] / median[FIRST] >= FASTER else 'missed'}",
    }
    for name, each in seconds.items():
        faster = ratio(each, seconds[FIRST]) if name == PEER else ""
        told = f"{median[name]:.3f} ({min(each):.3f} to {max(each):.3f})"
        lines.append(f"| {name} | {told} | {faster} | {goals.get(name, '')} |")
    return "\n".join(lines)


def ours(assignment: Assignment, cache: Path, context: int, batch_size: int) -> None:
    tokenizer = load_tokenizer(assignment.output_dir.parent / TOKENIZER)
    tokens = tokenised(assignment.dataset, tokenizer, cache, lambda _: None)
    WindowSource(Windows(tokens, begin_token(tokenizer), context), batch_size, 1, seed=0).micro_batches(0)


def with_datasets(assignment: Assignment, _cache: Path, context: int, batch_size: int) -> None:
    """Its cache is where the environment says."""
    import datasets  # noqa: PLC0415  imported before: here it has no time
    from torch.utils.data import DataLoader  # noqa: PLC0415  likewise
    from transformers import PreTrainedTokenizerFast, default_data_collator  # noqa: PLC0415  likewise

    file = str(assignment.output_dir.parent / TOKENIZER)
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=file)  # type: ignore[no-untyped-call]
    text = datasets.load_dataset("text", data_files=str(assignment.dataset.path), split="train", keep_linebreaks=True)
    tokens = text.map(partial(_encoded, tokenizer), batched=True, remove_columns=["text"])
    windows = tokens.map(partial(_cut, context), batched=True)
    next(iter(DataLoader(windows, batch_size=batch_size, shuffle=True, collate_fn=default_data_collator)))


def _encoded(tokenizer: Any, batch: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"input_ids": tokenizer(batch["text"], return_attention_mask=False)["input_ids"]}


def _cut(context: int, batch: Mapping[str, Iterable[Sequence[int]]]) -> Mapping[str, Any]:
    """All lines of a thousand in a row, in windows; the rest is dropped."""
    tokens = [token for line in batch["input_ids"] for token in line]
    windows = [tokens[start : start + context] for start in range(0, len(tokens) - context + 1, context)]
    return {"input_ids": windows, "labels": [list(window) for window in windows]}


def main() -> None:
    kind, file, cache = sys.argv[1:]
    assignment = assignment_adapter.validate_json(Path(file).read_bytes())
    assert isinstance(assignment, Assignment)
    assert isinstance(assignment.spec, PretrainSpec)
    assert isinstance(assignment.spec.method, CausalLanguageModel)
    if kind == "datasets":
        import datasets  # noqa: PLC0415  likewise
        import transformers  # noqa: PLC0415  likewise

        datasets.disable_progress_bars()
        _ = transformers.PreTrainedTokenizerFast  # names are imported when they are asked for
    context = assignment.spec.method.architecture.context_length
    work = {"ours": ours, "datasets": with_datasets}[kind]
    began = time.perf_counter()
    work(assignment, Path(cache), context, assignment.spec.training.decided_batch_size)
    print(time.perf_counter() - began)


if __name__ == "__main__":
    main()
