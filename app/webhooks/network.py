"""Connections to where users say, and never into our own network (server-side request forgery).

A name is resolved once and every address it has is judged; the connection is made to an address that was judged, so a
name that means something else a moment later (DNS rebinding) gains nothing. Redirects are followed by nobody here.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from urllib.parse import urlsplit

import httpcore2

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
#: (host, port) -> the addresses that the name has now.
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]

#: Addresses of version 4 behind a translator (RFC 6052).
_TRANSLATED = IPv6Network("64:ff9b::/96")


class AddressRefused(Exception):
    """The message tells which address, and how its operator may open it."""


async def resolve(host: str, port: int) -> Sequence[str]:
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


class GuardedBackend(httpcore2.AsyncNetworkBackend):
    """`networks` are open besides the public internet."""

    def __init__(self, networks: Iterable[Network], resolve: Resolve = resolve) -> None:
        self._networks = tuple(networks)
        self._resolve = resolve
        self._backend = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Raises AddressRefused."""
        addresses = await self._resolve(host, port)
        for address in addresses:
            if is_open(address, self._networks):
                return await self._backend.connect_tcp(address, port, timeout, local_address, socket_options)
        raise refusal(host, addresses)

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        raise AddressRefused(f"{path} is a socket of this machine.")

    async def sleep(self, seconds: float) -> None:
        await self._backend.sleep(seconds)


def refuse_closed(url: str, networks: Iterable[Network]) -> None:
    """What can be told without resolving: an address in place of a name. Raises AddressRefused."""
    host = urlsplit(url).hostname or ""
    try:
        ip_address(host)
    except ValueError:
        return
    if not is_open(host, networks):
        raise refusal(host, [host])


def is_open(address: str, networks: Iterable[Network]) -> bool:
    """Whether it and whatever it leads to are public, or lie in `networks`."""
    allowed = tuple(networks)
    return all(_is_public(meant) or any(meant in network for network in allowed) for meant in _meant(address))


def refusal(host: str, addresses: Sequence[str]) -> AddressRefused:
    return AddressRefused(
        f"{host} is {' and '.join(addresses) or 'nowhere'}, which is no public address. The operator of this service "
        "can open private networks to webhooks: PRETUNE_WEBHOOK_NETWORKS."
    )


def _is_public(address: Address) -> bool:
    return address.is_global and not address.is_multicast


def _meant(text: str) -> Iterator[Address]:
    """The address, or for one of version 6 that leads to one of version 4, that one."""
    address = ip_address(text)
    if isinstance(address, IPv4Address):
        yield address
    elif address.ipv4_mapped is not None:
        yield address.ipv4_mapped
    elif address.sixtofour is not None:
        yield from (address, address.sixtofour)
    elif address in _TRANSLATED:
        yield IPv4Address(int(address) & 0xFFFF_FFFF)
    else:
        yield address
