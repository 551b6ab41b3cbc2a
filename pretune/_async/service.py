"""What belongs to the service and to the project: workers, keys, webhooks."""

from collections.abc import AsyncIterator, Sequence

from pretune import protocol
from pretune._async.http import AsyncHttp
from pretune.views import DeliveryView, KeyView, NewKeyView, WebhookView, WorkerView


class AsyncWorkers:
    def __init__(self, http: AsyncHttp) -> None:
        self._http = http

    async def list(self, *, state: str | None = None, page_size: int = 100) -> AsyncIterator[WorkerView]:
        async for item in self._http.pages("/v1/workers", state=state, limit=page_size):
            yield WorkerView.model_validate(item)


class AsyncKeys:
    """Of the caller's project; they need the scope `admin`."""

    def __init__(self, http: AsyncHttp) -> None:
        self._http = http

    async def create(
        self, scopes: Sequence[str], *, name: str | None = None, expires_days: int | None = None
    ) -> NewKeyView:
        body = protocol.without_none({"scopes": list(scopes), "name": name, "expires_days": expires_days})
        return NewKeyView.model_validate(await self._http.create("/v1/keys", body))

    async def get(self, key_id: str) -> KeyView:
        return KeyView.model_validate(await self._http.get(f"/v1/keys/{key_id}"))

    async def list(self, *, page_size: int = 100) -> AsyncIterator[KeyView]:
        async for item in self._http.pages("/v1/keys", limit=page_size):
            yield KeyView.model_validate(item)

    async def revoke(self, key_id: str) -> None:
        await self._http.delete(f"/v1/keys/{key_id}")


class AsyncWebhooks:
    def __init__(self, http: AsyncHttp) -> None:
        self._http = http

    async def create(self, url: str, *, events: Sequence[str] | None = None, secret: str | None = None) -> WebhookView:
        body = {"url": url, "events": list(events) if events else None, "secret": secret}
        return WebhookView.model_validate(await self._http.create("/v1/webhooks", protocol.without_none(body)))

    async def get(self, webhook_id: str) -> WebhookView:
        return WebhookView.model_validate(await self._http.get(f"/v1/webhooks/{webhook_id}"))

    async def secret(self, webhook_id: str) -> str:
        """What verifies a signature."""
        answer = await self._http.get(f"/v1/webhooks/{webhook_id}/secret")
        return str(answer["secret"])

    async def list(self, *, job: str | None = None, page_size: int = 100) -> AsyncIterator[WebhookView]:
        async for item in self._http.pages("/v1/webhooks", job=job, limit=page_size):
            yield WebhookView.model_validate(item)

    async def delete(self, webhook_id: str) -> None:
        await self._http.delete(f"/v1/webhooks/{webhook_id}")

    async def deliveries(
        self, *, status: str | None = None, webhook: str | None = None, page_size: int = 100
    ) -> AsyncIterator[DeliveryView]:
        """Notices, and what came of them."""
        async for item in self._http.pages("/v1/deliveries", status=status, webhook=webhook, limit=page_size):
            yield DeliveryView.model_validate(item)

    async def redeliver(self, delivery_id: str) -> DeliveryView:
        return DeliveryView.model_validate(await self._http.act(f"/v1/deliveries/{delivery_id}/redeliver"))
