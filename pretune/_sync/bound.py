"""Views that can act: they keep the connection that they came by."""

from typing import Any

from pydantic import PrivateAttr

from pretune._sync.http import Http
from pretune.views import View


class Bound(View):
    """Made by `model_validate(json, context=http)`."""

    _http: Http = PrivateAttr()

    def model_post_init(self, context: Any) -> None:
        self._http = context
