"""Files as answers, streamed and never sniffed: a browser saves what a user's job wrote, and runs none of it."""

from urllib.parse import quote

from fastapi.responses import StreamingResponse

from app.services.files import Download


def as_download(download: Download) -> StreamingResponse:
    headers = {
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(download.name, safe='')}",
        "X-Content-Type-Options": "nosniff",
    }
    if download.size_bytes is not None:
        headers["Content-Length"] = str(download.size_bytes)
    if download.digest is not None:
        headers["ETag"] = f'"{download.digest}"'
    return StreamingResponse(download.chunks, media_type=download.media_type, headers=headers)
