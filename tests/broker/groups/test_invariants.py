"""Anything that clients may do, in any order, with time and failovers in between.

`group_bench` checks the group's bookkeeping after every step; here stand the promises to clients.
"""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from quorate_broker.errors import ErrorCode, KafkaError
from quorate_broker.groups import commands
from quorate_broker.groups.states import State
from quorate_broker.testing.group_bench import SESSION_MS, Bench, beat, join, leave, sync

PROTOCOLS = st.sampled_from(
    [
        (commands.Protocol("range", b"1"),),
        (commands.Protocol("range", b"2"),),
        (commands.Protocol("sticky", b"3"), commands.Protocol("range", b"1")),
    ]
)
INSTANCES = st.sampled_from([None, None, "a", "b"])


class Groups(RuleBasedStateMachine):
    """A handful of consumers of one group, each of which does as it likes."""

    @initialize(
        delay=st.sampled_from([0, 3_000]),
        size=st.sampled_from([3, 10_000]),
        start=st.integers(0, 3),
    )
    def begin(self, delay: int, size: int, start: int) -> None:
        self.bench = Bench(
            initial_rebalance_delay_ms=delay,
            max_size=size,
            offsets_retention_check_ms=1 << 40,  # its own tests are in test_offsets
        )
        self.parked: dict[int, object] = {}
        self.known: dict[str, str | None] = {}
        """Member id -> instance id, of all ids that were ever given out."""
        self.joined: dict[str, int] = {}
        """Member id -> the generation it was last told."""
        self.planned: dict[int, dict[str, bytes]] = {}
        """Generation -> what the leader that brought it assigned."""
        self.committed: dict[int, int] = {}
        self.generation = 0
        for _ in range(start):
            self.come(None, (commands.Protocol("range", b"1"),), new=True, skips=True)
        self.settle((commands.Protocol("range", b"1"),), backwards=False)

    # --- what clients do

    @rule(instance=INSTANCES, protocols=PROTOCOLS, new=st.booleans(), skips=st.booleans())
    def come(self, instance: str | None, protocols: Any, new: bool, skips: bool) -> None:
        self.ask(join("", instance, protocols, needs_member_id=new, can_skip_assignment=skips))

    @precondition(lambda self: self.known)
    @rule(data=st.data(), protocols=PROTOCOLS)
    def join_again(self, data: st.DataObject, protocols: Any) -> None:
        member_id, instance = self.somebody(data)
        self.ask(join(member_id, instance, protocols))

    @rule(protocols=PROTOCOLS)
    def all_join(self, protocols: Any) -> None:
        """What well-behaved members do when they hear of a rebalance."""
        for member_id in self.on_their_way():
            self.ask(join(member_id, self.known.get(member_id), protocols))

    @rule(backwards=st.booleans())
    def all_sync(self, backwards: bool) -> None:
        for member_id in sorted(self.on_their_way(), reverse=backwards):
            if member_id in self.joined:
                self.sync_one(member_id)

    @rule(protocols=PROTOCOLS, backwards=st.booleans())
    def settle(self, protocols: Any, backwards: bool) -> None:
        self.all_join(protocols)
        self.wait(3_000)
        self.all_sync(backwards)

    @precondition(lambda self: self.joined)
    @rule(data=st.data())
    def sync(self, data: st.DataObject) -> None:
        self.sync_one(data.draw(st.sampled_from(sorted(self.joined))))

    def sync_one(self, member_id: str) -> None:
        generation = self.joined[member_id]
        plan = {m: f"{generation} of {member_id} to {m}".encode() for m in sorted(self.known)}
        group = self.bench.coordinator._groups.get("g")
        completing = group is not None and group.state is State.COMPLETING_REBALANCE
        if completing and (group.leader, group.generation) == (member_id, generation):
            self.planned[generation] = plan
        command = sync(
            member_id, generation, tuple(plan.items()), instance_id=self.known[member_id]
        )
        self.ask(command)

    @precondition(lambda self: self.joined)
    @rule(data=st.data())
    def heartbeat(self, data: st.DataObject) -> None:
        member_id = data.draw(st.sampled_from(sorted(self.joined)))
        self.ask(beat(member_id, self.joined[member_id], self.known[member_id]))

    @precondition(lambda self: self.known)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        member_id, instance = self.somebody(data)
        self.ask(leave((member_id, instance) if instance else member_id))

    @precondition(lambda self: self.joined)
    @rule(data=st.data(), partition=st.integers(0, 2), offset=st.integers(0, 99))
    def commit(self, data: st.DataObject, partition: int, offset: int) -> None:
        member_id = data.draw(st.sampled_from(sorted(self.joined)))
        wanted = commands.CommittedOffset("t", partition, offset)
        command = commands.OffsetCommit(
            "g", (wanted,), member_id, self.known[member_id], self.joined[member_id]
        )
        ticket = self.bench.ask(command)
        if self.bench.replies.pop(ticket) == (ErrorCode.NONE,):
            self.committed[partition] = offset

    @rule()
    def delete(self) -> None:
        ticket = self.bench.ask(commands.DeleteGroup("g"))
        if self.bench.replies.pop(ticket) is None:
            self.committed.clear()
            self.generation = 0
            self.planned.clear()
            self.joined.clear()

    @rule(ms=st.sampled_from([1, 1, 2_900, SESSION_MS - 1, SESSION_MS, 60_000]))
    def wait(self, ms: int) -> None:
        self.bench.pass_time(ms)
        self.collect()

    @rule()
    def fail_over(self) -> None:
        self.bench.fail_over()
        self.parked.clear()
        group = self.bench.coordinator._groups.get("g")
        # generations that were not agreed are counted again
        self.generation = group.generation if group is not None else 0
        self.planned = {g: p for g, p in self.planned.items() if g <= self.generation}

    # --- what they are promised

    @invariant()
    def generations_only_grow(self) -> None:
        group = self.bench.coordinator._groups.get("g") if hasattr(self, "bench") else None
        if group is not None:
            assert group.generation >= self.generation
            self.generation = group.generation

    @invariant()
    def what_was_committed_is_there(self) -> None:
        if hasattr(self, "bench") and self.committed:
            found = self.bench.call(commands.OffsetFetch("g", None))
            assert {o.partition: o.offset for o in found} == self.committed

    @invariant()
    def another_node_would_know_the_same(self) -> None:
        if hasattr(self, "bench"):
            fresh = self.bench.fresh()
            assert fresh._kept == self.bench.coordinator._kept
            assert fresh._offsets._groups == self.bench.coordinator._offsets._groups

    def teardown(self) -> None:
        """Whoever waits is answered in the end."""
        if hasattr(self, "bench"):
            self.bench.pass_time(400_000)
            self.collect()
            assert not self.parked

    # --- the small print

    def somebody(self, data: st.DataObject) -> tuple[str, str | None]:
        return data.draw(st.sampled_from(sorted(self.known.items(), key=str)))

    def on_their_way(self) -> list[str]:
        group = self.bench.coordinator._groups.get("g")
        return sorted(group.members.keys() | group.pending) if group is not None else []

    def ask(self, command: object) -> None:
        self.parked[self.bench.ask(command)] = command
        self.collect()

    def collect(self) -> None:
        for ticket in sorted(self.parked.keys() & self.bench.replies.keys()):
            command = self.parked.pop(ticket)
            try:
                reply = self.bench.take(ticket)
            except KafkaError:
                continue
            if isinstance(command, commands.JoinGroup):
                self.met(command, reply)
            elif isinstance(command, commands.SyncGroup):
                plan = self.planned.get(command.generation, {})
                if reply.assignment:
                    owner = self.inherited(command)
                    assert reply.assignment in (plan.get(command.member_id), owner)

    def inherited(self, command: commands.SyncGroup) -> bytes | None:
        """A restarted static member has the assignment of whom it replaced."""
        group = self.bench.group()
        return group.members[command.member_id].assignment if command.instance_id else None

    def met(self, command: commands.JoinGroup, reply: commands.JoinGroupReply) -> None:
        self.known.setdefault(reply.member_id, command.instance_id)
        if reply.code is ErrorCode.MEMBER_ID_REQUIRED:
            assert command.needs_member_id
            return
        self.joined[reply.member_id] = reply.generation
        assert reply.generation > 0
        assert reply.protocol in {p.name for p in command.protocols}
        assert bool(reply.members) == (reply.leader == reply.member_id)


TestGroups = Groups.TestCase
TestGroups.settings = settings(max_examples=150, stateful_step_count=40)
