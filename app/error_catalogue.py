"""docs/errors.md: every error code, with what its page at `/errors/{code}` says."""

from collections.abc import Iterator

from app.api.explanations import EXPLANATIONS, told_of
from app.contract.errors import ErrorCode

_INTRODUCTION = """# Errors

Written by `make documents` out of `app/api/explanations.py`. An error is a problem of RFC 9457; its `type` leads to a
page of the service itself, `/errors/{code}`, with what stands here:

```json
{"type": "/errors/validation_failed", "title": "The request is not valid", "status": 422, "code": "validation_failed",
 "detail": "...", "errors": [{"location": "training.batch_size", "message": "..."}]}
```

`code` is stable; programs compare it. `detail` names the value that is refused and what to do; `errors` each place in
the request. A failed job has the same codes in its `error`, with whose `fault` it is: `user`, or `infrastructure`,
where a retry may help as it is.
"""


def rendered() -> str:
    return "\n".join([_INTRODUCTION, *_sections()])


def _sections() -> Iterator[str]:
    yield "## Refused requests\n"
    yield from (_section(code) for code, told in EXPLANATIONS.items() if told.status is not None)
    yield "## Failed jobs\n"
    yield from (_section(code) for code, told in EXPLANATIONS.items() if told.status is None)


def _section(code: ErrorCode) -> str:
    told = EXPLANATIONS[code]
    return f"### {code}\n\n**{told.title}.** {told_of(code)}\n\n{told.meaning}\n\n{told.remedy}\n"
