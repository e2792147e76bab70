"""Head and body of an answer leave in one piece, and nothing that was written is lost or late."""

import asyncio
import itertools

import pytest

from authmint_service.serving.coalescing_transport import MAX_BUFFERED_BYTES, CoalescingTransport

pytestmark = pytest.mark.anyio


class Wire(asyncio.Transport):
    """What was written, piece by piece."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[bytes] = []
        self._is_closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self._is_closed
        self.pieces.append(bytes(data))

    def is_closing(self) -> bool:
        return self._is_closed

    def close(self) -> None:
        self._is_closed = True


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
async def writes(wire: Wire) -> CoalescingTransport:
    return CoalescingTransport(wire, asyncio.get_running_loop())


async def test_what_is_written_in_one_turn_of_the_loop_is_one_piece(wire: Wire, writes: CoalescingTransport) -> None:
    for number in range(3):
        writes.write(b"head ")
        writes.write(b"body")
        assert number == len(wire.pieces)
        await asyncio.sleep(0)
    assert [b"head body"] * 3 == wire.pieces


async def test_what_was_written_before_the_end_is_sent_before_it(wire: Wire, writes: CoalescingTransport) -> None:
    writes.write(b"the last")
    assert not writes.is_closing()
    writes.close()
    assert writes.is_closing()
    await asyncio.sleep(0)
    assert [b"the last"] == wire.pieces


async def test_nothing_is_sent_to_whoever_has_gone_meanwhile(wire: Wire, writes: CoalescingTransport) -> None:
    writes.write(b"too late")
    wire.close()
    await asyncio.sleep(0)
    writes.close()
    assert [] == wire.pieces


async def test_much_is_not_held_back(wire: Wire, writes: CoalescingTransport) -> None:
    sent = [bytes([number]) * (MAX_BUFFERED_BYTES // 2) for number in range(5)]
    for piece, most in zip(sent, itertools.repeat(MAX_BUFFERED_BYTES), strict=False):
        writes.write(piece)
        assert sum(map(len, sent[: sent.index(piece) + 1])) - sum(map(len, wire.pieces)) <= most
    await asyncio.sleep(0)
    assert b"".join(sent) == b"".join(wire.pieces)
