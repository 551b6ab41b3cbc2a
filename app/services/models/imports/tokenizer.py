"""The tokenizer of an uploaded model: what its folder tells of special tokens, in the roles that they have here."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from app.contract.errors import Overloaded
from app.contract.model_folder import TOKENIZER_NAME, BodyDescription, TokenRole
from app.services.models.imports.configs import StockConfig
from app.services.models.imports.description import Described
from app.services.models.imports.folder import UploadedFolder
from app.services.models.imports.problems import refused
from app.tokenizer_check import TokenizerCheckBusy, UnfitTokenizer, checked_tokenizer
from app.tokenizer_check.messages import TokenizerRequest

TOKENIZER_CONFIG_NAME = "tokenizer_config.json"
SPECIAL_TOKENS_NAME = "special_tokens_map.json"
BUSY_SECONDS = 15
NO_TOKENIZER = (
    "The archive has no such file, without which no text can be read. AutoTokenizer.from_pretrained(...)"
    '.save_pretrained("folder") writes it for every fast tokenizer.'
)
#: What tells the token of a role, in this order, for decoders and for encoders: a field of tokenizer_config.json, one
#: of config.json (by number), and the name that BERT has for it.
_FIELDS: dict[bool, dict[TokenRole, tuple[str, str | None, str | None]]] = {
    False: {
        TokenRole.BEGIN: ("bos_token", "bos_token_id", None),
        TokenRole.END: ("eos_token", "eos_token_id", None),
        TokenRole.PADDING: ("pad_token", "pad_token_id", None),
    },
    True: {
        TokenRole.BEGIN: ("cls_token", None, "[CLS]"),
        TokenRole.END: ("sep_token", None, "[SEP]"),
        TokenRole.PADDING: ("pad_token", "pad_token_id", "[PAD]"),
        TokenRole.MASK: ("mask_token", None, "[MASK]"),
    },
}


def imported_tokenizer(folder: UploadedFolder, path: Path, described: Described) -> str:
    """`path` holds the tokenizer.json. Raises InvalidRequest where it cannot be read or does not fit the model."""
    description, body = described.description, described.description.body
    assert body.vocab_size is not None
    tells_masks = description.method == "masked_language_model" and not description.headless
    request = TokenizerRequest(
        path=str(path),
        roles=_roles(folder, described.config, body),
        needed=(TokenRole.BEGIN, TokenRole.MASK) if tells_masks else (TokenRole.BEGIN,),
        closes=body.bidirectional,
        vocab_size=body.vocab_size,
    )
    try:
        return checked_tokenizer(request)
    except TokenizerCheckBusy:
        raise Overloaded("Too many models are being imported now.", retry_after_seconds=BUSY_SECONDS) from None
    except UnfitTokenizer as error:
        raise refused(TOKENIZER_NAME, str(error)) from None


def _roles(folder: UploadedFolder, config: StockConfig, body: BodyDescription) -> dict[TokenRole, str | int]:
    """What is told of the roles that this body has a use for."""
    told = {
        **_json(folder, SPECIAL_TOKENS_NAME),
        **{name: value for name, value in _json(folder, TOKENIZER_CONFIG_NAME).items() if value is not None},
    }
    roles: dict[TokenRole, str | int] = {}
    for role, (field, id_field, name) in _FIELDS[body.bidirectional].items():
        token = _content(told.get(field))
        number = getattr(config, id_field) if id_field else None
        number = number[0] if isinstance(number, list) else number
        found = token if token is not None else number if number is not None else name
        if found is not None:
            roles[role] = found
    return roles


def _content(token: Any) -> str | None:
    """`"<s>"`, or `{"content": "<s>", ...}`."""
    content = token.get("content") if isinstance(token, Mapping) else token
    return content if isinstance(content, str) else None


def _json(folder: UploadedFolder, name: str) -> dict[str, Any]:
    return folder.json(name) if name in folder else {}
