"""Conversations as one text, and that text in tokens: by the template that a model is taught with and asked with.

A template is Jinja, as `transformers` reads it from the model folder, so that `apply_chat_template` gives the same
tokens. Knows no model and no data set.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import NoReturn

from jinja2 import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import Encoding, Tokenizer

from app.contract.model_folder import TokenRole
from worker.data.tokenizers import token_in_role

#: `{"role", "content"}`; roles are system, developer (another name of system), user and assistant.
Message = Mapping[str, str]

SPEAKERS = {"system": "System", "developer": "System", "user": "User", "assistant": "Assistant"}

#: Each message behind its speaker's name, on a line of its own; what the assistant says ends with the end token.
#:
#: The names are text, which the tokenizer knows as any other. What a user writes can imitate neither them nor a special
#: token: a space parts them. An answer is told as it is but for special tokens.
_TEMPLATE = """\
{%- set speakers = __SPEAKERS__ -%}
{{- bos_token -}}
{%- for message in messages -%}
  {%- set said = namespace(text=message["content"]) -%}
  {%- for name in __SPECIAL_TOKENS__ -%}
    {%- set said.text = said.text | replace(name, name[:1] + " " + name[1:]) -%}
  {%- endfor -%}
  {%- if message["role"] == "assistant" -%}
    {{- "Assistant: " + said.text + eos_token -}}
  {%- else -%}
    {%- for name in ["System", "User", "Assistant"] -%}
      {%- set said.text = said.text | replace("\\n" + name + ":", "\\n " + name + ":") -%}
    {%- endfor -%}
    {{- speakers[message["role"]] + ": " + said.text + "\\n" -}}
  {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
  {{- "Assistant:" -}}
{%- endif -%}
"""


class UnfitConversation(ValueError):
    """The template does not take this conversation; the message says why."""


def template_for(tokenizer: Tokenizer) -> str:
    """The template that a model with this tokenizer is taught."""
    special = [token.content for token in tokenizer.get_added_tokens_decoder().values() if token.special]
    return _TEMPLATE.replace("__SPEAKERS__", repr(SPEAKERS)).replace("__SPECIAL_TOKENS__", repr(sorted(special)))


class ChatTemplate:
    """One template over one tokenizer."""

    def __init__(self, source: str, tokenizer: Tokenizer) -> None:
        self.source = source
        self._template = _environment().from_string(source)
        self.tokenizer = tokenizer

    def rendered(self, messages: Sequence[Message], *, asks: bool = False) -> str:
        """`asks`: up to where the assistant is to go on. Raises UnfitConversation."""
        try:
            return self._template.render(
                messages=messages,
                bos_token=self._name(TokenRole.BEGIN),
                eos_token=self._name(TokenRole.END),
                add_generation_prompt=asks,
            )
        except Exception as error:  # noqa: BLE001  a template may be anybody's program
            raise UnfitConversation(str(error)) from None

    def encode(self, texts: Sequence[str]) -> list[Encoding]:
        """Rendered texts in tokens. Names of special tokens are special here: in no message they stand any more."""
        encodings: list[Encoding] = self._tokens.encode_batch(list(texts), add_special_tokens=False)
        return encodings

    def _name(self, role: TokenRole) -> str:
        token = token_in_role(self.tokenizer, role)
        assert token is not None, "every tokenizer has a begin token and an end token"
        return str(self.tokenizer.id_to_token(token))

    @cached_property
    def _tokens(self) -> Tokenizer:
        return Tokenizer.from_str(self.tokenizer.to_str())


def _environment() -> ImmutableSandboxedEnvironment:
    """As `transformers` makes it."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.globals["raise_exception"] = _refuse
    return environment


def _refuse(message: str) -> NoReturn:
    raise TemplateError(message)
