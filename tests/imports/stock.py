"""Small stock models with random weights, and their tokenizers, as transformers saves them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from tests.contract.language_model import manual

WIDTH, LAYERS, HEADS, CONTEXT = 32, 2, 4, 48
TEXT = manual(20_000)
VOCABULARY = 320


def llama(folder: Path, class_name: str = "LlamaForCausalLM", **config: Any) -> Any:
    """As Llama 2: a begin token that is not the end token, and words that begin with `▁`."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    trainer = trainers.BpeTrainer(vocab_size=VOCABULARY, special_tokens=["<unk>", "<s>", "</s>"], limit_alphabet=100)
    tokenizer.train_from_iterator(TEXT.split("\n"), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)]
    )
    shape = {
        "hidden_size": WIDTH,
        "intermediate_size": 56,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": 2,
        "max_position_embeddings": CONTEXT,
        "rms_norm_eps": 1e-6,
        "rope_parameters": {"rope_type": "default", "rope_theta": 500_000.0},
    }
    names = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    return _saved(folder, ("LlamaConfig", class_name), shape | config, tokenizer, names)


def gpt2(folder: Path, class_name: str = "GPT2LMHeadModel", **config: Any) -> Any:
    """With the one special token that GPT-2 has."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(
        [TEXT],
        trainers.BpeTrainer(vocab_size=VOCABULARY, initial_alphabet=alphabet, special_tokens=["<|endoftext|>"]),
    )
    shape = {"n_embd": WIDTH, "n_layer": LAYERS, "n_head": HEADS, "n_positions": CONTEXT}
    ids = {"bos_token_id": 0, "eos_token_id": 0}
    names = {"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}
    return _saved(folder, ("GPT2Config", class_name), shape | ids | config, tokenizer, names)


def bert(folder: Path, class_name: str = "BertForMaskedLM", **config: Any) -> Any:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer.train_from_iterator(
        [TEXT], trainers.WordPieceTrainer(vocab_size=VOCABULARY, special_tokens=specials, limit_alphabet=80)
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    shape = {
        "hidden_size": WIDTH,
        "intermediate_size": 56,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "max_position_embeddings": CONTEXT,
        "pad_token_id": 0,
    }
    names = {"cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]", "pad_token": "[PAD]"}
    return _saved(folder, ("BertConfig", class_name), shape | config, tokenizer, names | {"unk_token": "[UNK]"})


FAMILIES: dict[str, Callable[..., Any]] = {"llama": llama, "gpt2": gpt2, "bert": bert}


def _saved(folder: Path, names: tuple[str, str], config: dict[str, Any], tokenizer: Any, tokens: dict[str, str]) -> Any:
    """The model, in eval mode; `names` are those of the classes of its configuration and its own.

    Weights are so large that a position or a norm out of place shows in the logits.
    """
    import transformers  # noqa: PLC0415  seconds, for this room alone

    torch.manual_seed(0)
    shape = getattr(transformers, names[0])(**({"vocab_size": tokenizer.get_vocab_size()} | config))
    model = getattr(transformers, names[1])(shape).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name.lower() or ".ln_" in name:
                parameter.add_(0.3 * torch.randn_like(parameter))
            else:
                parameter.copy_(0.3 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **tokens).save_pretrained(folder)  # type: ignore[no-untyped-call]
    return model
