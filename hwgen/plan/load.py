"""The load unit's part of the cycle model: when each word of the stream and of fetched maps is taken."""

from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

from ..engine import PREFETCH, Engine
from ..isa import RUN, WORD_BITS
from .timing import AXI_CONFIRM, AXI_LATENCY, AXI_REQUESTS

READABLE = 4
"""From an answer on the memory port to the load unit: through a FIFO between two registers."""
READABLE_ON_DEMAND, MAP_ON_DEMAND = 2, 1
"""The same for a small engine: the stream through a FIFO, a map's word through a register."""
FIRST_WORD = 1 + READABLE
"""Cycle after the start in which the first word of the stream can be taken."""
DESCRIBED = 4
"""From an answer that names a fetch to the first request of it, less one: through a FIFO between two registers."""
COMMAND_LATENCY = 4
"""From a command in the load unit to the sequencer: through a FIFO and two registers; a small engine has no registers."""


@dataclass(frozen=True)
class Memory:
    """What answers the memory port.  The default is the on-chip memory: one request after the other, a word a cycle."""

    latency: int = 1
    """Cycles from a request to its first word."""
    bytes_per_cycle: int | None = None
    """Bandwidth; None: a memory word per cycle."""
    queue: int = 1
    """Requests that the memory holds at the same time; 1: the next is taken with the last word of the one before."""

    confirm: int = 0
    """Cycles from a word written to the memory's word that it is there."""

    def behind_axi(self) -> "Memory":
        """This memory behind the engine's AXI ports, as the engine sees it."""
        return replace(self, latency=self.latency + AXI_LATENCY, queue=self.queue + AXI_REQUESTS,
                       confirm=self.latency + AXI_CONFIRM)

    def per_cycle(self, engine: Engine) -> float:
        """Bytes per cycle that come: whole cycles per memory word, and never more than the ports give."""
        return engine.mem_bits / 8 / self.interval(engine)

    def interval(self, engine: Engine) -> int:
        """Cycles per memory word."""
        return 1 if self.bytes_per_cycle is None else max(1, -(-engine.mem_bits // (8 * self.bytes_per_cycle)))


EXTERNAL = Memory(latency=30, queue=8)
"""External memory unless told otherwise: a word per cycle, as fast as the ports."""


@dataclass
class _Pending:
    """A fetch of which not all words have been requested."""

    ready: int
    """First cycle of a request, as far as arrival and finished layers go."""
    address: int
    words: int


class Load:
    """The load unit's clock: ``at`` is the next cycle in which it can take a word.

    Words are taken in the order of the stream; requests are issued here only when a word is
    needed, in the order in which the hardware issues them.  That is possible because a fetch
    is known as soon as the words before it have been taken, and any request behind it
    waits for room or for its arrival.
    """

    def __init__(self, engine: Engine, words: int, memory: Memory | None = None):
        self.engine, self.memory = engine, memory or Memory()
        self._fetch_ahead = engine.fetch_ahead
        self.interval = self.memory.interval(engine)
        self._latency, self._map_latency = ((READABLE_ON_DEMAND, MAP_ON_DEMAND) if engine.small
                                            else (READABLE, READABLE))
        self._map_run = 1 if engine.small else RUN
        """Words of a map in one request at most."""
        self.at = 0
        self.words = 0
        """Words of the stream taken so far."""
        self.total = words
        """Words of the stream."""
        self._readable: list[int] = []
        """Cycle in which the first word of each run of the stream can be taken."""
        self._taken: list[int] = []
        """Cycle in which the last word of each run was taken."""
        self._map_readable: list[int] = []
        self._map_taken: list[int] = []
        self._pending: deque[_Pending] = deque()
        self._port_free = self._data_free = self._fetch_free = 0
        self._ends: deque[int] = deque(maxlen=self.memory.queue)
        self.busy = self.room = 0
        """Cycles in which something was taken, and in which it could have been but there was no room for it."""
        self.claimed: list[int] = []
        """Ring words of every tile."""
        self._held = self._used = 0
        """The first tile whose ring words were not needed again so far, and the words from there on."""
        self.released: list[int] = []
        """Cycle from which a tile's ring words are free again, tile by tile."""
        self.params_free: list[int] = []
        """The same for its parameter buffer."""

    # Requests.

    def _issue(self) -> None:
        """The next request of either source: the earlier one, of two in the same cycle the fetch."""
        stream, fetch = self._stream_ready(), self._fetch_ready()
        assert stream is not None or fetch is not None, "the stream waits for itself"
        if fetch is not None and (stream is None or max(fetch, self._port_free) <= max(stream, self._port_free)):
            head = self._pending[0]
            count = min(self._map_run - head.address % self._map_run, head.words)
            first, cycle = self._request(fetch, count)
            self._map_readable += [first + self._map_latency + i * self.interval for i in range(count)]
            head.address, head.words, head.ready = head.address + count, head.words - count, cycle + 1
            if not head.words:
                self._pending.popleft()
                self._fetch_free = cycle
                if self._pending:
                    self._pending[0].ready = max(self._pending[0].ready, cycle + 1)
        else:
            assert stream is not None
            first, _ = self._request(stream, min(RUN, self.total - RUN * len(self._readable)))
            self._readable.append(first + self._latency)

    def _stream_ready(self) -> int | None:
        """First cycle in which the stream can ask for its next run; None while that is unknown."""
        run = len(self._readable)
        if run * RUN >= self.total:
            return None
        behind = run - PREFETCH // RUN
        if behind < 0:
            return 0
        return self._taken[behind] + 1 if behind < len(self._taken) else None

    def _fetch_ready(self) -> int | None:
        if not self._pending:
            return None
        # Room for the longest run, whatever is asked for.
        needed = len(self._map_readable) + self._map_run - self._fetch_ahead
        if needed > len(self._map_taken):
            return None
        return max(self._pending[0].ready, self._map_taken[needed - 1] + 1 if needed > 0 else 0)

    def _request(self, ready: int, count: int) -> tuple[int, int]:
        """Issue a request; returns when its first answer comes, and the cycle of the request."""
        cycle = max(ready, self._port_free)
        begin = max(cycle + self.memory.latency - 1, self._data_free)
        last = begin + (count - 1) * self.interval
        self._data_free = last + self.interval
        self._ends.append(last)
        self._port_free = cycle + 1
        if len(self._ends) == self.memory.queue:
            self._port_free = max(self._port_free, self._ends[0] + 1)
        return begin + 1, cycle

    # The stream.

    def take(self, count: int, ready: int = 0) -> int:
        """Take words, one per cycle, the first not before ``ready``; returns the cycle of the first."""
        first = None
        while count:
            run, offset = divmod(self.words, RUN)
            n = min(count, RUN - offset)
            arrival = self._arrival(run, offset)
            begin = max(self.at, ready, arrival)
            self.busy, self.room = self.busy + n, self.room + begin - max(self.at, arrival)
            first = begin if first is None else first
            self._took(n, max(begin + n - 1, arrival + (n - 1) * self.interval))
            count -= n
        assert first is not None
        return first

    def pieces(self, count: int) -> list[int]:
        """Take 64-bit pieces of memory words, one per cycle; returns their cycles."""
        cycles: list[int] = []
        while count:
            n = min(count, self.engine.mem_bits // WORD_BITS)
            begin = max(self.at, self._arrival(*divmod(self.words, RUN)))
            cycles += range(begin, begin + n)
            self.busy += n
            self._took(1, begin + n - 1)
            count -= n
        return cycles

    def _arrival(self, run: int, offset: int) -> int:
        while run >= len(self._readable):
            self._issue()
        return self._readable[run] + offset * self.interval

    def _took(self, count: int, last: int) -> None:
        self.words += count
        self.at = last + 1
        if self.words % RUN == 0:
            self._taken.append(last)

    # Packets.

    def packet(self, payload: int, ready: int = 0) -> int:
        """Take a packet, its header not before ``ready``; returns the cycle of the header."""
        header = self.take(1, ready)
        if payload:
            self.take(payload)
        return header

    def commands(self, count: int) -> list[int]:
        """Take a packet of commands; returns the cycles in which the sequencer can take them."""
        self.take(1)
        return [cycle + COMMAND_LATENCY - 2 * self.engine.small for cycle in self.pieces(count)]

    def thresholds(self, rows: int) -> None:
        self.take(1)
        self.pieces(8 * rows)

    def params(self, payload: int) -> None:
        index = len(self.claimed)
        self.take(1)
        self.take(payload, self.params_free[index - 2] + 1 if index >= 2 else 0)

    def weights(self, payload: int, words: int) -> None:
        """``payload`` memory words, the first one of numbers, the others fill ``words`` words of the ring."""
        ready = 0
        while self._used + words > self.engine.ring_depth and self._held < len(self.claimed):
            ready = self.released[self._held]
            self._used -= self.claimed[self._held]
            self._held += 1
        self._used += words
        self.claimed.append(words)
        self.take(2)
        self.take(payload - 1, ready + 1)

    def fetch(self, first: int, words: int, finished: int, busy: Callable[[int], Collection[int]]) -> None:
        """Take a FETCH: ``words`` scratchpad words from the ``first``th one in memory on.

        ``finished``: cycle from which the layers that it waits for count as finished.
        ``busy``: the cycles from a given one on in which the drain writes to the scratchpad.
        """
        per_word, unit = self.engine.scratch_words, self.engine.fetch_words
        offset = first % per_word
        self.take(1)
        payload = self.take(1)
        loaded = payload
        if not self.engine.small:
            arrival = self._arrival(*divmod(self.words - 1, RUN)) - READABLE
            # Through the queue of fetches, then into the registers from which requests are made.
            loaded = max(arrival + DESCRIBED, self._fetch_free if not self._pending else 0)
        n_words = -(-(offset + words) // per_word)
        self._pending.append(_Pending(max(loaded, finished) + 1, first // per_word, n_words))
        self.at = payload + 1
        occupied = busy(self.at)
        last = max(occupied, default=-1)
        readable, taken, cycle = self._map_readable, self._map_taken, self.at
        for _ in range(n_words):
            while len(taken) >= len(readable):
                self._issue()
            n = min(per_word - offset, words)
            cycle = max(cycle, readable[len(taken)])
            # Aligned units of a memory word.
            units = -(-(offset + n) // unit) - offset // unit
            self.busy += units
            if cycle > last:
                cycle += units
            else:
                for _ in range(units):
                    while cycle in occupied:
                        cycle, self.room = cycle + 1, self.room + 1
                    cycle += 1
            taken.append(cycle - 1)
            words, offset = words - n, 0
        self.at = cycle
