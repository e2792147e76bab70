"""Head and body of a response are sent together, nothing that was written is lost or late, and nothing large is copied."""

import asyncio
import itertools

import pytest

from authmint_service.serving.coalescing_transport import MAX_BUFFERED_BYTES, CoalescingTransport

pytestmark = pytest.mark.anyio


class Wire(asyncio.Transport):
    """Records what is written, piece by piece."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[bytes | bytearray | memoryview] = []
        self._is_closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self._is_closed
        self.pieces.append(data)

    def is_closing(self) -> bool:
        return self._is_closed

    def close(self) -> None:
        self._is_closed = True

    def abort(self) -> None:
        self._is_closed = True


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
async def transport(wire: Wire) -> CoalescingTransport:
    return CoalescingTransport(wire, asyncio.get_running_loop())


async def test_all_writes_of_one_turn_of_the_loop_are_sent_together(wire: Wire, transport: CoalescingTransport) -> None:
    for number in range(3):
        transport.write(b"head ")
        transport.write(b"body")
        assert number == len(wire.pieces)
        await asyncio.sleep(0)
    assert [b"head body"] * 3 == wire.pieces


async def test_a_write_before_the_close_is_sent_before_it(wire: Wire, transport: CoalescingTransport) -> None:
    transport.write(b"the last")
    assert not transport.is_closing()
    transport.close()
    assert transport.is_closing()
    await asyncio.sleep(0)
    assert [b"the last"] == wire.pieces


async def test_nothing_is_sent_to_a_client_that_has_disconnected(wire: Wire, transport: CoalescingTransport) -> None:
    transport.write(b"too late")
    wire.close()
    await asyncio.sleep(0)
    transport.close()
    assert [] == wire.pieces


async def test_no_more_than_the_maximum_is_buffered(wire: Wire, transport: CoalescingTransport) -> None:
    sent = [bytes([number]) * (MAX_BUFFERED_BYTES // 2) for number in range(5)]
    for piece, maximum in zip(sent, itertools.repeat(MAX_BUFFERED_BYTES), strict=False):
        transport.write(piece)
        assert sum(map(len, sent[: sent.index(piece) + 1])) - sum(map(len, wire.pieces)) <= maximum
    await asyncio.sleep(0)
    assert b"".join(sent) == b"".join(wire.pieces)


async def test_a_large_body_is_not_copied(wire: Wire, transport: CoalescingTransport) -> None:
    """Memory that any client holds for nothing: a hundred clients that do not read hold one file, not a hundred copies."""
    body = bytes(MAX_BUFFERED_BYTES + 1)
    transport.write(b"head")
    transport.write(body)
    transport.write(b"tail")
    await asyncio.sleep(0)
    assert [b"head", body, b"tail"] == wire.pieces
    assert body is wire.pieces[1]


async def test_nothing_is_sent_after_an_abort(wire: Wire, transport: CoalescingTransport) -> None:
    transport.write(b"unsent")
    transport.abort()
    await asyncio.sleep(0)
    assert transport.is_closing()
    assert [] == wire.pieces
