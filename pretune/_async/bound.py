"""Views that can act: they keep the connection that they came by."""

from typing import Any

from pydantic import PrivateAttr

from pretune._async.http import AsyncHttp
from pretune.views import View


class AsyncBound(View):
    """Made by `model_validate(json, context=http)`."""

    _http: AsyncHttp = PrivateAttr()

    def model_post_init(self, context: Any) -> None:
        self._http = context
