"""Fetch (1): batches out, now or when there are enough of them.

Whole batches below the high watermark, as they lie in the log; a fetch at an offset inside a batch
gets the whole batch. When there is less than `min_bytes`, a `_Poll` waits at the partitions and
looks again whenever one of them says that something moved. Sessions (KIP-227) are not kept: every
answer says session id 0, which makes every fetch a full one, and clients are content with that.
Old data is read from disk by a thread before it is looked at here.

An offset beyond the end may mean that this broker was deposed and does not know it yet. A client
that is told "out of range" begins again where its `auto.offset.reset` says, so a majority is asked
first whether this broker still leads. Next: `context.PartitionView`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from quorate_broker.api import topics
from quorate_broker.api.context import Call, Context, PartitionView, Pending
from quorate_broker.api.principal import Operation
from quorate_broker.errors import ErrorCode, KafkaError
from quorate_broker.wire import batch
from quorate_broker.wire.messages import fetch

_ZSTD_SINCE_VERSION = 10
_SESSIONS_SINCE_VERSION = 7
_FULL_FETCHES = (0, -1)
"""Epochs of a fetch that stands alone: one that begins a session, one without (KIP-227)."""
_MAX_WAIT_MS = 600_000
"""Longer than this no poll is kept for a client that may have gone without a word."""
_ATTRIBUTES_LOW_AT = 22
"""Position in a batch of the byte that names its codec."""

Answer = fetch.PartitionData
Views = Sequence[PartitionView]


def handle(context: Context, call: Call, request: fetch.FetchRequest) -> Any:
    """The response, or a `Pending` of it."""
    code = _refusal(request)
    if code is not None:
        return failed(call, request, code)
    warming = _warm(context, request)
    if warming:
        return Pending(warming, lambda: _Attempt(context, call, request).response)
    attempt = _Attempt(context, call, request)
    if attempt.beyond:
        return _ask_others(context, call, request, attempt.beyond)
    if attempt.complete or request.max_wait_ms <= 0:
        return attempt.response
    poll = _Poll(context, call, request, attempt)
    return Pending((poll.done,), poll.finish, poll.abandon)


def failed(call: Call, request: fetch.FetchRequest, code: ErrorCode) -> Any:
    """At the top where the version has a place for it, else at every partition."""
    if call.version >= _SESSIONS_SINCE_VERSION:
        return fetch.FetchResponse(error_code=code)
    return fetch.FetchResponse(
        responses=[
            fetch.FetchableTopicResponse(
                topic=wanted.topic,
                partitions=[_refused(one.partition, code) for one in wanted.partitions],
            )
            for wanted in request.topics
        ]
    )


def _refusal(request: fetch.FetchRequest) -> ErrorCode | None:
    if request.replica_id >= 0:
        # Replication between brokers goes another way: this is a client that poses as a broker.
        return ErrorCode.CLUSTER_AUTHORIZATION_FAILED
    if request.session_epoch not in _FULL_FETCHES:
        return ErrorCode.FETCH_SESSION_ID_NOT_FOUND
    # Whatever session id a full fetch names (kafka-go says -1): it would only be closed by this.
    return None


def _warm(context: Context, request: fetch.FetchRequest) -> tuple[asyncio.Future[None], ...]:
    """Old data is read by a thread first; the answer then does not wait for more to come."""
    warming = []
    room = min(request.max_bytes, context.settings.fetch_max_bytes)
    for wanted in request.topics:
        topic = context.image.topics.get(wanted.topic)
        for one in wanted.partitions:
            if topic is None or not 0 <= one.partition < len(topic.partitions):
                continue
            view = context.partition(topic.id, one.partition)
            if room > 0 and view is not None and view.is_leader:
                size = min(one.partition_max_bytes, room)
                future = view.warm(one.fetch_offset, size)
                if future is not None:
                    warming.append(future)
                    room -= size  # more than that does not fit into the answer
    return tuple(warming)


def _ask_others(
    context: Context, call: Call, request: fetch.FetchRequest, doubtful: Views
) -> Pending:
    rounds = [(view, view.confirm()) for view in doubtful]

    def finish() -> fetch.FetchResponse:
        leading = [view for view, asked in rounds if asked.exception() is None]
        return _Attempt(context, call, request, leading).response

    return Pending(tuple(asked for _, asked in rounds), finish)


class _Attempt:
    """One look at all partitions of a request; `confirmed` have just been said to lead still."""

    def __init__(
        self, context: Context, call: Call, request: fetch.FetchRequest, confirmed: Views = ()
    ) -> None:
        self._context = context
        self._call = call
        self._confirmed = confirmed
        self.beyond: list[PartitionView] = []
        """Asked for an offset behind their end, and not confirmed."""
        self._room = max(0, min(request.max_bytes, context.settings.fetch_max_bytes))
        self.size = 0
        """Bytes of records found."""
        self.failed = False
        """A partition has an error code: the client should hear of it now."""
        self.views: list[PartitionView] = []
        image_topics = context.image.topics
        responses = []
        for wanted in request.topics:
            topic = image_topics.get(wanted.topic)
            if topic is not None and not topics.allowed(
                context, call, Operation.READ, wanted.topic
            ):
                answers = [
                    self._error(one.partition, ErrorCode.TOPIC_AUTHORIZATION_FAILED)
                    for one in wanted.partitions
                ]
            else:
                answers = [self._partition(topic, one) for one in wanted.partitions]
            responses.append(fetch.FetchableTopicResponse(topic=wanted.topic, partitions=answers))
        self.response = fetch.FetchResponse(responses=responses)
        self.complete = self.failed or self.size >= request.min_bytes or not self.views

    def _partition(self, topic: Any, one: fetch.FetchPartition) -> Answer:
        try:
            view = topics.leading(self._context, topic, one.partition, one.current_leader_epoch)
            records = self._read(view, one)
        except KafkaError as error:
            return self._error(one.partition, error.code)
        self.views.append(view)
        high_watermark = view.high_watermark
        return Answer(
            partition_index=one.partition,
            high_watermark=high_watermark,
            last_stable_offset=high_watermark,  # no transactions yet
            log_start_offset=view.start_offset,
            records=records,
        )

    def _read(self, view: PartitionView, one: fetch.FetchPartition) -> Sequence[memoryview]:
        offset = one.fetch_offset
        if offset > view.next_offset and not any(view is each for each in self._confirmed):
            self.beyond.append(view)
            raise KafkaError(ErrorCode.NOT_LEADER_OR_FOLLOWER)
        if not view.start_offset <= offset <= view.next_offset:
            raise KafkaError(ErrorCode.OFFSET_OUT_OF_RANGE)
        if offset >= view.high_watermark:
            return ()
        if self.size and self._room <= 0:
            return ()
        batches = view.read(offset, min(one.partition_max_bytes, max(self._room, 0)))
        if self._call.version < _ZSTD_SINCE_VERSION and any(map(_is_zstd, batches)):
            raise KafkaError(ErrorCode.UNSUPPORTED_COMPRESSION_TYPE)
        size = sum(map(len, batches))
        if self.size and size > self._room:
            # A first batch is given even when it is too long, but only to the first partition.
            return ()
        self.size += size
        self._room -= size
        return batches

    def _error(self, index: int, code: ErrorCode) -> Answer:
        self.failed = True
        return _refused(index, code)


class _Poll:
    """A fetch that waits: for bytes, for an error, or for its time to be over."""

    def __init__(
        self, context: Context, call: Call, request: fetch.FetchRequest, attempt: _Attempt
    ) -> None:
        self._context = context
        self._call = call
        self._request = request
        self._views = attempt.views
        self._response = attempt.response
        self._looking = False
        self._loop = asyncio.get_running_loop()
        self.done: asyncio.Future[None] = self._loop.create_future()
        wait_ms = min(request.max_wait_ms, _MAX_WAIT_MS)
        self._timer = self._loop.call_later(wait_ms / 1000, self._look, True)
        for view in self._views:
            view.add_waiter(self._moved)

    def finish(self) -> fetch.FetchResponse:
        return self._response

    def abandon(self) -> None:
        """Nobody waits for this any more."""
        self._timer.cancel()
        for view in self._views:
            view.remove_waiter(self._moved)
        if not self.done.done():
            self.done.set_result(None)

    def _moved(self) -> None:
        """Called from inside the partition: look later, and once for all that moved meanwhile."""
        if not self._looking:
            self._looking = True
            self._loop.call_soon(self._look, False)

    def _look(self, last: bool) -> None:
        self._looking = False
        if self.done.done():
            return
        attempt = _Attempt(self._context, self._call, self._request)
        if last or attempt.complete:
            self._response = attempt.response
            self.abandon()


def _refused(index: int, code: ErrorCode) -> Answer:
    # Records are empty rather than null: some clients do not take null.
    return Answer(
        partition_index=index,
        error_code=code,
        high_watermark=-1,
        last_stable_offset=-1,
        log_start_offset=-1,
        records=(),
    )


def _is_zstd(one: memoryview) -> bool:
    return one[_ATTRIBUTES_LOW_AT] & batch.CODEC_MASK == batch.Codec.ZSTD
