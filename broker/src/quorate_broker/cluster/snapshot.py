"""An image as bytes: what a broker begins from when the log no longer holds it all.

One msgpack map with a format number; a field that a newer broker adds has a default, so that older
snapshots still load. Read next: `image`, which fills it.
"""

from __future__ import annotations

import msgspec

from quorate_broker.cluster.records import BrokerRegistered, Member

FORMAT = 1


class StoredPartition(msgspec.Struct, frozen=True, array_like=True):
    """`PartitionInfo` without its number."""

    voters: tuple[Member, ...]
    target: tuple[Member, ...] | None = None
    former: tuple[Member, ...] = ()
    moves: int = 0


class StoredTopic(msgspec.Struct, frozen=True):
    """`Topic`."""

    name: str
    topic_id: str
    partitions: tuple[StoredPartition, ...]
    config: dict[str, str]
    internal: bool
    request: str = ""


class State(msgspec.Struct, frozen=True, kw_only=True):
    """`Image`."""

    format: int = FORMAT
    cluster_id: str
    feature_level: int
    members: tuple[Member, ...]
    retired: dict[str, int] = {}
    draining: tuple[int, ...] = ()
    departed: tuple[int, ...] = ()
    addresses: dict[int, tuple[str, int]] = {}
    brokers: tuple[BrokerRegistered, ...]
    topics: tuple[StoredTopic, ...]
    next_producer_id: int
    version: int
    settings: dict[int, dict[str, str]] = {}
    settings_version: int = 0


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(State)


def encode(state: State) -> bytes:
    """As bytes."""
    return _encoder.encode(state)


def decode(content: bytes) -> State:
    """Read back; ValueError on anything else."""
    try:
        state = _decoder.decode(content)
    except msgspec.MsgspecError as error:
        raise ValueError(f"not a snapshot of the metadata: {error}") from error
    if state.format != FORMAT:
        raise ValueError(f"a snapshot of format {state.format}; this version reads {FORMAT}")
    return state
