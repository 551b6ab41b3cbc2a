"""Which addresses are open, and that the one that was judged is the one that is called."""

import asyncio
from collections.abc import Sequence
from ipaddress import ip_network

import httpcore2
import pytest

from app.webhooks.network import AddressRefused, GuardedBackend, is_open, refuse_closed
from tests.support.receiver import receiver

LOOPBACK = ip_network("127.0.0.0/8")


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.1.2.3", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254"),  # noqa: S104  refused
        *("100.64.0.1", "224.0.0.1", "255.255.255.255", "240.0.0.1", "198.18.0.1"),
        *("::1", "::", "fe80::1", "fe80::1%1", "fc00::1", "fd00:ec2::254", "ff02::1"),
        *("::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::"),
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    ],
)
def test_what_is_not_public_is_closed(address: str) -> None:
    assert not is_open(address, ())


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_what_is_public_is_open(address: str) -> None:
    assert is_open(address, ())


def test_a_network_can_be_opened_and_nothing_else_with_it() -> None:
    networks = (ip_network("10.1.0.0/16"), ip_network("fd12::/16"))
    assert is_open("10.1.2.3", networks)
    assert is_open("::ffff:10.1.2.3", networks)
    assert is_open("fd12::7", networks)
    assert not is_open("10.2.0.1", networks)
    assert not is_open("127.0.0.1", networks)


@pytest.mark.parametrize("url", ["http://127.0.0.1/", "https://[::1]:8443/x", "http://[::ffff:10.0.0.1]/"])
def test_an_address_in_place_of_a_name_is_judged_at_once(url: str) -> None:
    with pytest.raises(AddressRefused, match="no public address"):
        refuse_closed(url, ())


def test_a_name_is_judged_when_it_is_called() -> None:
    refuse_closed("https://localhost/", ())
    with pytest.raises(AddressRefused, match=r"localhost is .*no public address"):
        call("http://localhost:9/", GuardedBackend(()))


class Names:
    """A resolver whose answers change with every question."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = [*answers]

    async def resolve(self, host: str, port: int) -> Sequence[str]:
        return self.answers.pop(0)


def call(url: str, backend: GuardedBackend) -> int:
    async def status() -> int:
        async with httpcore2.AsyncConnectionPool(network_backend=backend) as pool:
            return (await pool.request("POST", url, content=b"x")).status

    return asyncio.run(status())


def test_a_name_that_turns_inward_after_it_was_judged_gains_nothing() -> None:
    """The connection is made to an address of the answer that was judged: the name is asked for once."""
    with receiver() as inside:
        names = Names(["127.0.0.1"], ["127.0.0.2"])
        assert (
            call(f"http://rebinding.example:{inside.port}/", GuardedBackend([ip_network("127.0.0.1")], names.resolve))
            == 204
        )
        assert names.answers == [["127.0.0.2"]]
        assert [each.headers["Host"] for each in inside.received] == [f"rebinding.example:{inside.port}"]


@pytest.mark.parametrize("answer", [["127.0.0.1"], ["::ffff:127.0.0.1"], ["10.0.0.1", "127.0.0.1"], []])
def test_a_name_that_leads_inward_is_not_called(answer: list[str]) -> None:
    with receiver() as inside, pytest.raises(AddressRefused):
        call(f"http://inward.example:{inside.port}/", GuardedBackend((), Names(answer).resolve))
    assert inside.received == []


def test_of_several_addresses_an_open_one_is_called() -> None:
    with receiver() as inside:
        names = Names(["10.0.0.1", "127.0.0.1"])
        assert call(f"http://mixed.example:{inside.port}/", GuardedBackend([LOOPBACK], names.resolve)) == 204
    assert len(inside.received) == 1


def test_a_socket_of_this_machine_is_closed() -> None:
    with pytest.raises(AddressRefused):
        asyncio.run(GuardedBackend([LOOPBACK]).connect_unix_socket("/run/secret.sock"))
