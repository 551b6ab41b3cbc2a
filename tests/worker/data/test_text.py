"""Texts as arrays of tokens."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

from app.contract.messages import DatasetInput
from app.contract.specs.tokenizers import BpeTokenizer, CharacterTokenizer, TokenizerSpec, WordTokenizer
from tests.contract.language_model import manual, text_dataset
from worker.data.failures import BadData
from worker.data.text import learned_tokenizer, tokenised
from worker.data.tokenizers import begin_token, learn_tokenizer

TOKENIZER = learn_tokenizer([manual()], BpeTokenizer(vocab_size=300))


def _tokens(dataset: DatasetInput, cache_dir: Path, tokenizer: Tokenizer = TOKENIZER) -> list[int]:
    tokens: list[int] = tokenised(dataset, tokenizer, cache_dir, lambda _: None).tolist()
    return tokens


def test_a_txt_file_is_one_document(tmp_path: Path) -> None:
    text = manual(30_000)

    tokens = _tokens(text_dataset(tmp_path, text), tmp_path / "cache")

    assert tokens == [begin_token(TOKENIZER), *TOKENIZER.encode(text).ids]


def test_every_document_of_a_table_begins_with_the_begin_token(tmp_path: Path) -> None:
    documents = ["first", "", "second one"]
    lines = "\n".join(json.dumps({"text": document}) for document in documents)
    dataset = text_dataset(tmp_path, lines, "documents.jsonl").model_copy(update={"columns": {"text": "text"}})

    begin = begin_token(TOKENIZER)
    expected = [begin, *TOKENIZER.encode("first").ids, begin, *TOKENIZER.encode("second one").ids]
    assert _tokens(dataset, tmp_path / "cache") == expected


def test_a_text_is_tokenised_once(tmp_path: Path) -> None:
    dataset = text_dataset(tmp_path, manual(5_000))
    first = _tokens(dataset, tmp_path / "cache")
    dataset.path.unlink()

    assert _tokens(dataset, tmp_path / "cache") == first


def test_another_tokenizer_has_tokens_of_its_own(tmp_path: Path) -> None:
    dataset = text_dataset(tmp_path, manual(5_000))
    other = learn_tokenizer([manual(2_000)], BpeTokenizer(vocab_size=270))

    assert _tokens(dataset, tmp_path / "cache") != _tokens(dataset, tmp_path / "cache", other)


def test_each_kind_and_size_of_tokenizer_is_kept_for_itself(tmp_path: Path) -> None:
    dataset = text_dataset(tmp_path, manual(5_000))
    specs: list[TokenizerSpec] = [
        WordTokenizer(vocab_size=20),
        WordTokenizer(vocab_size=30),
        CharacterTokenizer(vocab_size=50),
    ]
    learned = [learned_tokenizer(dataset, spec, tmp_path / "cache", lambda _: None).to_str() for spec in specs]
    dataset.path.unlink()

    assert len(set(learned)) == 3
    assert [learned_tokenizer(dataset, spec, tmp_path / "cache", print).to_str() for spec in specs] == learned


def test_the_share_of_unknown_tokens_is_told(tmp_path: Path) -> None:
    told: list[str] = []
    tokenizer = learn_tokenizer(["seen seen"], WordTokenizer(min_count=1))

    tokenised(text_dataset(tmp_path, "seen seen not seen"), tokenizer, tmp_path / "cache", told.append)

    assert told == ["Tokenised the text: 5 tokens, 20.00% of them unknown."]


def test_tokens_take_two_bytes_where_they_can(tmp_path: Path) -> None:
    tokens = tokenised(text_dataset(tmp_path, "some text"), TOKENIZER, tmp_path / "cache", lambda _: None)

    assert tokens.dtype == np.uint16
    assert isinstance(tokens, np.memmap)


def test_documents_that_are_all_empty_are_no_text(tmp_path: Path) -> None:
    dataset = text_dataset(tmp_path, '{"text": ""}\n', "empty.jsonl").model_copy(update={"columns": {"text": "text"}})

    with pytest.raises(BadData, match="no text"):
        learned_tokenizer(dataset, BpeTokenizer(vocab_size=300), tmp_path / "cache", lambda _: None)


_PREPARE = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[1]), int(sys.argv[1])))
from pathlib import Path
from app.contract.messages import DatasetInput
from app.contract.specs.tokenizers import BpeTokenizer
from worker.data.text import learned_tokenizer, tokenised
folder = Path(sys.argv[2])
dataset = DatasetInput(path=folder / "large.txt", filename="large.txt", kind="text", columns={}, sha256="0" * 64)
tokenizer = learned_tokenizer(dataset, BpeTokenizer(vocab_size=300), folder / "cache", print)
tokens = tokenised(dataset, tokenizer, folder / "cache", print)
[peak] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
print(len(tokens), peak.split()[1])  # not ru_maxrss, which a process has from the one that started it
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_text_of_100_mb_is_prepared_in_constant_memory(tmp_path: Path) -> None:
    """As a list its 70 million tokens alone would take most of what the process may have."""
    page = manual(1_000_000)
    with (tmp_path / "large.txt").open("w") as file:
        for number in range(100_000_000 // len(page.encode()) + 1):
            file.write(f"{number}\n{page}")

    ended = subprocess.run(
        [sys.executable, "-c", _PREPARE, str(900_000_000), str(tmp_path)],
        capture_output=True,
        text=True,
        env={"RAYON_NUM_THREADS": "2", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        cwd=Path(__file__).parents[3],
        check=False,
    )

    assert ended.returncode == 0, ended.stderr
    num_tokens, peak_kib = map(int, ended.stdout.split("\n")[-2].split())
    assert num_tokens > 50_000_000
    assert peak_kib < 450_000
