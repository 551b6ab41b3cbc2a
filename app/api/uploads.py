"""The form of an upload as a dependency, for every resource that takes a file."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from app.api.deps import Services, Writer, get_services
from app.api.multipart import receive_form
from app.services.uploads import IncomingFile, Upload, uploads_folder


@dataclass(frozen=True, slots=True)
class ReceivedForm:
    """`fields` beside the file; one left empty is not given."""

    upload: Upload
    fields: dict[str, str]


async def receive_upload(
    request: Request,
    _caller: Writer,
    services: Annotated[Services, Depends(get_services)],
) -> AsyncIterator[ReceivedForm]:
    """The form, once the caller is known; its file is gone from scratch before the answer is sent."""
    max_bytes = services.settings.max_upload_bytes
    with IncomingFile(uploads_folder(services.settings), max_bytes) as incoming:
        upload, fields = await receive_form(request, incoming, max_bytes)
        yield ReceivedForm(upload, {name: value for name, value in fields.items() if value})


ThisUpload = Annotated[ReceivedForm, Depends(receive_upload, scope="function")]
