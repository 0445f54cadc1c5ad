"""What the handlers of the Kafka API see of the node they run on.

`Context` is implemented by `node`, `PartitionView` by the asyncio shell of `partition`; tests put
pure Python in the place of both. Nothing here decides anything: these are the borders.
Next: `api.dispatch`, the table of handlers, then any of the modules named after an API.

A handler is a plain function, or a coroutine function, of the shape

    def handle(context: Context, call: Call, request: XRequest)
        -> XResponse | Pending | Coroutine[Any, Any, XResponse]

that returns the response itself whenever it has nothing to wait for: that path costs no task. A
`Pending` costs a callback, a coroutine a task. `None` (in any of the three shapes) means that no
reply is sent at all, which only Produce with acks=0 may want.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from quorate_broker.api.principal import ANONYMOUS, Authorizer, Principal

if TYPE_CHECKING:
    from quorate_broker import config, seams
    from quorate_broker.cluster.image import Image
    from quorate_broker.wire import batch


@dataclass(frozen=True, slots=True)
class Call:
    """Where one request comes from: everything a handler needs that is not in the message."""

    version: int
    client_id: str | None = None
    listener: str = ""
    """Name of the listener that it came in on: decides which advertised addresses it is told."""
    principal: Principal = ANONYMOUS
    client_host: str = ""
    """Address of the client's end, without the port."""


@dataclass(frozen=True, slots=True)
class Pending:
    """A response that `finish()` makes as soon as all `futures` are done.

    When the client goes away first, `abandon()` is called instead, and the futures are left alone.
    """

    futures: tuple[asyncio.Future[Any], ...]
    finish: Callable[[], Any]
    abandon: Callable[[], None] | None = None


@dataclass(frozen=True, slots=True)
class Leadership:
    """Who leads a partition, as far as this node has heard (soft state)."""

    leader_id: int = -1
    """Node id, -1 when unknown."""
    epoch: int = -1
    isr: tuple[int, ...] = ()
    """Node ids of the replicas in sync, the leader among them."""


class Appended(Protocol):
    """Where a batch went."""

    @property
    def base_offset(self) -> int: ...
    @property
    def log_append_time_ms(self) -> int:
        """-1 unless the topic stamps batches with the broker's time."""
        ...

    @property
    def start_offset(self) -> int:
        """First offset of the log at that time."""
        ...


class PartitionView(Protocol):
    """A replica of one partition on this node, as the API sees it."""

    @property
    def is_leader(self) -> bool:
        """Leader AND serving: an entry of its own term is committed."""
        ...

    @property
    def leader_epoch(self) -> int: ...
    @property
    def leader_id(self) -> int:
        """-1 when nobody is known to lead."""
        ...

    @property
    def high_watermark(self) -> int: ...
    @property
    def start_offset(self) -> int: ...
    @property
    def next_offset(self) -> int: ...

    def append(
        self, batch: memoryview, header: batch.BatchHeader, acks: int, timeout_ms: int
    ) -> Awaitable[Appended]:
        """Append one validated batch; the append itself happens before this returns.

        `batch` owns its bytes (nobody else writes them) and may be stamped in place. Resolved at
        once for acks 0 and 1, at commit for acks -1. Raises, at once or when awaited, KafkaError:
        NOT_LEADER_OR_FOLLOWER, OUT_OF_ORDER_SEQUENCE_NUMBER, REQUEST_TIMED_OUT after `timeout_ms`
        without a commit, and so on. An `asyncio.Future` is wanted: produce then runs without a
        task. Nobody cancels it. A coroutine works too, at a price.
        """
        ...

    def refused(self) -> None:
        """A batch for this partition, which its producer will send again, was refused before
        `append`: what the producer has under way behind it will find a gap."""
        ...

    def read(self, offset: int, max_bytes: int, committed: bool = True) -> list[memoryview]:
        """Whole batches, the first of which holds `offset`; at least one if there is any.

        Raises KafkaError OFFSET_OUT_OF_RANGE or NOT_LEADER_OR_FOLLOWER.
        """
        ...

    def warm(self, offset: int, max_bytes: int) -> asyncio.Future[None] | None:
        """Bring what `read` will ask for into memory; None when there is nothing to wait for."""
        ...

    def confirm(self) -> asyncio.Future[Any]:
        """Done when a majority has said that this replica still leads, after it was asked.

        Raises, when awaited, KafkaError NOT_LEADER_OR_FOLLOWER, REQUEST_TIMED_OUT.
        """
        ...

    def move_start(self, offset: int) -> Awaitable[Appended]:
        """Let the log begin at `offset` on every replica, done when that is committed.

        Raises, at once or when awaited, KafkaError OFFSET_OUT_OF_RANGE, NOT_LEADER_OR_FOLLOWER,
        REQUEST_TIMED_OUT.
        """
        ...

    @property
    def size_bytes(self) -> int:
        """What the log takes on this broker."""
        ...

    def add_waiter(self, callback: Callable[[], None]) -> None:
        """Have `callback` called when the high watermark moves, leadership is lost or the
        partition goes away; it stays until removed."""
        ...

    def remove_waiter(self, callback: Callable[[], None]) -> None: ...

    def offset_for_time(self, timestamp_ms: int) -> tuple[int, int] | None:
        """(offset, timestamp) of the first record not older, below the high watermark."""
        ...

    def max_timestamp(self) -> tuple[int, int] | None:
        """(offset, timestamp) of the record with the greatest timestamp below the high watermark,
        None in an empty log."""
        ...

    def end_offset_of_epoch(self, epoch: int) -> tuple[int, int]:
        """(greatest known epoch <= `epoch`, its end offset); (-1, -1) when there is none."""
        ...


class Context(Protocol):
    """The node, as the API sees it."""

    @property
    def settings(self) -> config.Settings:
        """As they are now."""
        ...

    @property
    def live(self) -> config.Live:
        """Where those came from."""
        ...

    @property
    def clock(self) -> seams.Clock: ...
    @property
    def authorizer(self) -> Authorizer: ...
    @property
    def image(self) -> Image:
        """The newest image of the metadata; take it once per request."""
        ...

    @property
    def me(self) -> int:
        """Node id of this broker."""
        ...

    @property
    def controller_id(self) -> int:
        """Node id of the metadata group's leader, -1 when there is none."""
        ...

    @property
    def live_brokers(self) -> frozenset[int]: ...

    def partition(self, topic_id: uuid.UUID, index: int) -> PartitionView | None:
        """The replica on this node, None if there is none."""
        ...

    def leader(self, topic_id: uuid.UUID, index: int) -> Leadership: ...

    async def controller(self, command: object) -> Any:
        """Run a metadata command on the leader of the metadata group, forwarded when needed.

        Raises KafkaError on failure.
        """
        ...

    async def coordinate(self, group_id: str, command: object) -> Any:
        """Run a command on the groups machine of that group's partition.

        Raises KafkaError NOT_COORDINATOR or COORDINATOR_LOAD_IN_PROGRESS.
        """
        ...

    async def coordinate_all(self, command: object) -> list[Any]:
        """Run a command on every groups machine that is active on this node; their replies.

        Raises KafkaError COORDINATOR_LOAD_IN_PROGRESS while one of them still loads.
        """
        ...

    async def ensure_internal_topic(self) -> None:
        """Have `__consumer_offsets` made if it does not exist yet."""
        ...

    async def new_producer_id(self) -> int: ...

    async def transfer_leadership(self, topic_id: uuid.UUID, index: int, target: int) -> None:
        """Have the leader, wherever it is, hand over to the replica on broker `target`.

        Raises KafkaError NOT_LEADER_OR_FOLLOWER, REQUEST_TIMED_OUT.
        """
        ...

    def disk_space(self) -> tuple[int, int]:
        """Bytes free and in all, of the file system that this broker writes to."""
        ...
