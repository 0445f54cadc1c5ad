"""Every command in every state: what it is answered, and where it leads.

The group has one member of generation 1 (none in Empty, where generation 1 is over), which leads;
in Preparing a second one waits for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from quorate_broker.errors import ErrorCode as E
from quorate_broker.errors import KafkaError
from quorate_broker.groups import commands
from quorate_broker.groups.states import State
from quorate_broker.testing.group_bench import RANGE, Bench, beat, join, leave, sync

NONE, EMPTY, PREPARING, COMPLETING, STABLE = (
    None,
    State.EMPTY,
    State.PREPARING_REBALANCE,
    State.COMPLETING_REBALANCE,
    State.STABLE,
)
OK = E.NONE
PARKED = "parked"
OTHER = (commands.Protocol("range", b"other topics"),)
OFFSET = commands.CommittedOffset("t", 0, 1)


def in_state(state: State | None) -> tuple[Bench, str]:
    bench = Bench()
    if state is None:
        return bench, "m"
    if state is COMPLETING:
        return bench, bench.take(bench.join_with_id()).member_id
    member = bench.stable()[0]
    if state is EMPTY:
        bench.call(leave(member))
    if state is PREPARING:
        bench.join_with_id()
    assert bench.state is state
    return bench, member


def commit(member_id: str, generation: int) -> commands.OffsetCommit:
    return commands.OffsetCommit("g", (OFFSET,), member_id, None, generation)


COMMANDS: dict[str, Callable[[str], object]] = {
    "join, new": lambda m: join(),
    "join, new, old client": lambda m: join(needs_member_id=False),
    "join, new, static": lambda m: join(instance_id="i"),
    "join, same": lambda m: join(m, protocols=RANGE),
    "join, other topics": lambda m: join(m, protocols=OTHER),
    "join, stranger": lambda m: join("stranger"),
    "sync, leader": lambda m: sync(m, 1, ((m, b"all"),)),
    "sync, wrong generation": lambda m: sync(m, 7),
    "sync, stranger": lambda m: sync("stranger", 1),
    "heartbeat": lambda m: beat(m, 1),
    "heartbeat, wrong generation": lambda m: beat(m, 7),
    "heartbeat, stranger": lambda m: beat("stranger", 1),
    "commit": lambda m: commit(m, 1),
    "commit, wrong generation": lambda m: commit(m, 7),
    "commit, self-assigning": lambda m: commit("", -1),
    "leave": lambda m: leave(m),
    "leave, stranger": lambda m: leave("stranger"),
    "delete": lambda m: commands.DeleteGroup("g"),
    "describe": lambda m: commands.DescribeGroup("g"),
    "fetch": lambda m: commands.OffsetFetch("g", None),
}

# command -> for each state (no group, Empty, Preparing, Completing, Stable): answer, state after
TABLE: dict[str, tuple[tuple[Any, State | None], ...]] = {
    "join, new": (
        (E.MEMBER_ID_REQUIRED, EMPTY),
        (E.MEMBER_ID_REQUIRED, EMPTY),
        (E.MEMBER_ID_REQUIRED, PREPARING),
        (E.MEMBER_ID_REQUIRED, COMPLETING),
        (E.MEMBER_ID_REQUIRED, STABLE),
    ),
    "join, new, old client": (
        (OK, COMPLETING),
        (OK, COMPLETING),
        (PARKED, PREPARING),
        (PARKED, PREPARING),
        (PARKED, PREPARING),
    ),
    "join, new, static": (
        (OK, COMPLETING),
        (OK, COMPLETING),
        (PARKED, PREPARING),
        (PARKED, PREPARING),
        (PARKED, PREPARING),
    ),
    "join, same": (
        (E.UNKNOWN_MEMBER_ID, NONE),
        (E.UNKNOWN_MEMBER_ID, EMPTY),
        (OK, COMPLETING),
        (OK, COMPLETING),
        (OK, COMPLETING),  # it leads, so it means it
    ),
    "join, other topics": (
        (E.UNKNOWN_MEMBER_ID, NONE),
        (E.UNKNOWN_MEMBER_ID, EMPTY),
        (OK, COMPLETING),
        (OK, COMPLETING),
        (OK, COMPLETING),
    ),
    "join, stranger": (
        (E.UNKNOWN_MEMBER_ID, NONE),
        (E.UNKNOWN_MEMBER_ID, EMPTY),
        (E.UNKNOWN_MEMBER_ID, PREPARING),
        (E.UNKNOWN_MEMBER_ID, COMPLETING),
        (E.UNKNOWN_MEMBER_ID, STABLE),
    ),
    "sync, leader": (
        (E.UNKNOWN_MEMBER_ID, NONE),
        (E.UNKNOWN_MEMBER_ID, EMPTY),
        (E.REBALANCE_IN_PROGRESS, PREPARING),
        (OK, STABLE),
        (OK, STABLE),
    ),
    "sync, wrong generation": (
        (E.UNKNOWN_MEMBER_ID, NONE),
        (E.UNKNOWN_MEMBER_ID, EMPTY),
        (E.ILLEGAL_GENERATION, PREPARING),
        (E.ILLEGAL_GENERATION, COMPLETING),
        (E.ILLEGAL_GENERATION, STABLE),
    ),
    "sync, stranger": (
        (E.UNKNOWN_MEMBER_ID, NONE),
        (E.UNKNOWN_MEMBER_ID, EMPTY),
        (E.UNKNOWN_MEMBER_ID, PREPARING),
        (E.UNKNOWN_MEMBER_ID, COMPLETING),
        (E.UNKNOWN_MEMBER_ID, STABLE),
    ),
    "heartbeat": (
        (E.UNKNOWN_MEMBER_ID, NONE),
        (E.UNKNOWN_MEMBER_ID, EMPTY),
        (E.REBALANCE_IN_PROGRESS, PREPARING),
        (OK, COMPLETING),
        (OK, STABLE),
    ),
    "heartbeat, wrong generation": (
        (E.UNKNOWN_MEMBER_ID, NONE),
        (E.UNKNOWN_MEMBER_ID, EMPTY),
        (E.ILLEGAL_GENERATION, PREPARING),
        (E.ILLEGAL_GENERATION, COMPLETING),
        (E.ILLEGAL_GENERATION, STABLE),
    ),
    "heartbeat, stranger": (
        (E.UNKNOWN_MEMBER_ID, NONE),
        (E.UNKNOWN_MEMBER_ID, EMPTY),
        (E.UNKNOWN_MEMBER_ID, PREPARING),
        (E.UNKNOWN_MEMBER_ID, COMPLETING),
        (E.UNKNOWN_MEMBER_ID, STABLE),
    ),
    "commit": (
        (E.GROUP_ID_NOT_FOUND, NONE),
        (E.UNKNOWN_MEMBER_ID, EMPTY),
        (OK, PREPARING),
        (E.REBALANCE_IN_PROGRESS, COMPLETING),
        (OK, STABLE),
    ),
    "commit, wrong generation": (
        (E.GROUP_ID_NOT_FOUND, NONE),
        (E.UNKNOWN_MEMBER_ID, EMPTY),
        (E.ILLEGAL_GENERATION, PREPARING),
        (E.ILLEGAL_GENERATION, COMPLETING),
        (E.ILLEGAL_GENERATION, STABLE),
    ),
    "commit, self-assigning": (
        (OK, EMPTY),
        (OK, EMPTY),
        (E.UNKNOWN_MEMBER_ID, PREPARING),
        (E.UNKNOWN_MEMBER_ID, COMPLETING),
        (E.UNKNOWN_MEMBER_ID, STABLE),
    ),
    "leave": (
        (E.UNKNOWN_MEMBER_ID, NONE),
        (E.UNKNOWN_MEMBER_ID, EMPTY),
        (OK, COMPLETING),  # the one it kept waiting goes on
        (OK, EMPTY),
        (OK, EMPTY),
    ),
    "leave, stranger": (
        (E.UNKNOWN_MEMBER_ID, NONE),
        (E.UNKNOWN_MEMBER_ID, EMPTY),
        (E.UNKNOWN_MEMBER_ID, PREPARING),
        (E.UNKNOWN_MEMBER_ID, COMPLETING),
        (E.UNKNOWN_MEMBER_ID, STABLE),
    ),
    "delete": (
        (E.GROUP_ID_NOT_FOUND, NONE),
        (OK, NONE),
        (E.NON_EMPTY_GROUP, PREPARING),
        (E.NON_EMPTY_GROUP, COMPLETING),
        (E.NON_EMPTY_GROUP, STABLE),
    ),
    "describe": (
        (E.GROUP_ID_NOT_FOUND, NONE),
        (OK, EMPTY),
        (OK, PREPARING),
        (OK, COMPLETING),
        (OK, STABLE),
    ),
    "fetch": ((OK, NONE), (OK, EMPTY), (OK, PREPARING), (OK, COMPLETING), (OK, STABLE)),
}

ROWS = [
    pytest.param(before, name, *row, id=f"{before.value if before else 'no group'}: {name}")
    for name, rows in TABLE.items()
    for before, row in zip((NONE, EMPTY, PREPARING, COMPLETING, STABLE), rows, strict=True)
]


@pytest.mark.parametrize(("before", "name", "answer", "after"), ROWS)
def test_a_command_is_answered_as_the_table_says(
    before: State | None, name: str, answer: Any, after: State | None
) -> None:
    bench, member = in_state(before)
    ticket = bench.ask(COMMANDS[name](member))
    assert _code(bench, ticket) == answer
    group = bench.coordinator._groups.get("g")
    assert (group.state if group is not None else None) is after


def test_the_table_has_every_command() -> None:
    assert TABLE.keys() == COMMANDS.keys()


def _code(bench: Bench, ticket: int) -> Any:
    if ticket not in bench.replies:
        return PARKED
    try:
        reply = bench.take(ticket)
    except KafkaError as error:
        return error.code
    if isinstance(reply, commands.JoinGroupReply):
        return reply.code
    if isinstance(reply, tuple) and reply and isinstance(reply[0], E):
        return reply[0]
    return OK
