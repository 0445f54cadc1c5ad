from __future__ import annotations

from typing import Any

import pytest

from quorate_broker.errors import ErrorCode, KafkaError
from quorate_broker.groups import commands
from quorate_broker.groups.commands import CommittedOffset
from quorate_broker.groups.states import State
from quorate_broker.testing.group_bench import SESSION_MS, Bench, beat, join, leave, sync

DAY_MS = 24 * 60 * 60_000
NOTED = CommittedOffset("t", 0, 42, 7, "a note")


@pytest.fixture
def bench() -> Bench:
    return Bench()


def commit(*offsets: CommittedOffset, **more: Any) -> commands.OffsetCommit:
    return commands.OffsetCommit("g", offsets or (NOTED,), **more)


def fetch(*partitions: tuple[str, int]) -> commands.OffsetFetch:
    return commands.OffsetFetch("g", partitions or None)


def refusal(bench: Bench, command: object) -> ErrorCode:
    with pytest.raises(KafkaError) as caught:
        bench.call(command)
    return caught.value.code


def test_what_was_committed_is_fetched_with_its_epoch_and_its_note(bench: Bench) -> None:
    assert bench.call(commit()) == (ErrorCode.NONE,)
    assert bench.call(fetch(("t", 0))) == (NOTED,)
    assert bench.call(fetch()) == (NOTED,)


def test_the_newest_commit_counts(bench: Bench) -> None:
    bench.call(commit())
    bench.call(commit(CommittedOffset("t", 0, 5)))
    assert bench.call(fetch()) == (CommittedOffset("t", 0, 5),)


def test_what_was_never_committed_is_minus_one_and_no_error(bench: Bench) -> None:
    bench.call(commit())
    nothing = CommittedOffset("t", 1, -1, -1, "")
    assert bench.call(fetch(("t", 1), ("t", 0))) == (nothing, NOTED)
    assert bench.call(commands.OffsetFetch("unknown", (("t", 1),))) == (nothing,)
    assert bench.call(commands.OffsetFetch("unknown", None)) == ()


def test_offsets_outlive_the_coordinator(bench: Bench) -> None:
    bench.call(commit())
    bench.fail_over()
    assert bench.call(fetch()) == (NOTED,)


def test_a_note_that_is_too_long_fails_its_partition_alone(bench: Bench) -> None:
    long = CommittedOffset("t", 1, 5, -1, "é" * 2049)
    codes = bench.call(commit(NOTED, long))
    assert codes == (ErrorCode.NONE, ErrorCode.OFFSET_METADATA_TOO_LARGE)
    assert bench.call(fetch()) == (NOTED,)


def test_a_member_commits_in_its_generation(bench: Bench) -> None:
    member = bench.stable()[0]
    assert bench.call(commit(member_id=member, generation=1)) == (ErrorCode.NONE,)


def test_a_commit_is_a_sign_of_life(bench: Bench) -> None:
    member = bench.stable()[0]
    for _ in range(3):
        bench.pass_time(SESSION_MS - 1)
        bench.call(commit(member_id=member, generation=1))
    bench.call(beat(member, 1))


@pytest.mark.parametrize(
    ("who", "code"),
    [
        ({"member_id": "stranger", "generation": 1}, ErrorCode.UNKNOWN_MEMBER_ID),
        ({"member_id": "", "generation": 1}, ErrorCode.UNKNOWN_MEMBER_ID),
        ({"member_id": "", "generation": -1}, ErrorCode.UNKNOWN_MEMBER_ID),
        ({"generation": 0}, ErrorCode.ILLEGAL_GENERATION),
        ({"generation": 2}, ErrorCode.ILLEGAL_GENERATION),
        ({"generation": -1}, ErrorCode.ILLEGAL_GENERATION),
        ({"generation": 1, "instance_id": "i"}, ErrorCode.UNKNOWN_MEMBER_ID),
    ],
)
def test_nobody_else_commits_for_a_group_with_members(
    bench: Bench, who: dict[str, Any], code: ErrorCode
) -> None:
    who = {"member_id": bench.stable()[0]} | who
    assert refusal(bench, commit(**who)) is code
    assert bench.call(fetch()) == ()


def test_a_member_still_commits_while_the_group_prepares(bench: Bench) -> None:
    member = bench.stable()[0]
    bench.join_with_id()
    assert bench.state is State.PREPARING_REBALANCE
    assert bench.call(commit(member_id=member, generation=1)) == (ErrorCode.NONE,)


def test_nobody_commits_before_the_assignments_are_known(bench: Bench) -> None:
    member = bench.take(bench.join_with_id()).member_id
    code = refusal(bench, commit(member_id=member, generation=1))
    assert code is ErrorCode.REBALANCE_IN_PROGRESS


def test_a_group_without_members_takes_commits_of_self_assigning_consumers(bench: Bench) -> None:
    member = bench.stable()[0]
    bench.call(leave(member))
    assert bench.call(commit()) == (ErrorCode.NONE,)
    assert refusal(bench, commit(member_id=member, generation=1)) is ErrorCode.UNKNOWN_MEMBER_ID


@pytest.mark.parametrize(
    ("knows", "code"),
    [(True, ErrorCode.GROUP_ID_NOT_FOUND), (False, ErrorCode.ILLEGAL_GENERATION)],
)
def test_a_generation_of_no_group_is_refused_in_the_clients_words(
    bench: Bench, knows: bool, code: ErrorCode
) -> None:
    command = commit(member_id="m", generation=3, knows_unknown_group=knows)
    assert refusal(bench, command) is code


def test_a_group_begins_where_its_offsets_are(bench: Bench) -> None:
    bench.call(commit())
    bench.fail_over()
    listed = commands.ListedGroup("g", "", State.EMPTY)
    assert bench.call(commands.ListGroups()) == (listed,)
    assert bench.call(commands.DescribeGroup("g")).state is State.EMPTY
    bench.stable()
    assert bench.call(fetch()) == (NOTED,)


class TestRetention:
    """Offsets outlive their group's members by `offsets.retention.minutes`."""

    def bench(self) -> Bench:
        return Bench(offsets_retention_ms=DAY_MS, offsets_retention_check_ms=60_000)

    def test_they_are_kept_as_long_as_there_are_members(self) -> None:
        bench = self.bench()
        member = bench.stable(session_timeout_ms=1_800_000)[0]
        bench.call(commit(member_id=member, generation=1))
        for _ in range(2 * DAY_MS // 1_000_000):
            bench.pass_time(1_000_000)
            bench.call(beat(member, 1))
        assert bench.call(fetch()) == (NOTED,)

    def test_their_time_counts_from_when_the_last_member_left(self) -> None:
        bench = self.bench()
        member = bench.stable()[0]
        bench.call(commit(member_id=member, generation=1))
        bench.pass_time(SESSION_MS - 1)
        bench.call(leave(member))
        bench.pass_time(DAY_MS - 60_000)
        assert bench.call(fetch()) == (NOTED,)
        bench.pass_time(120_000)
        assert bench.call(fetch()) == ()

    def test_that_time_goes_on_under_the_next_coordinator(self) -> None:
        bench = self.bench()
        bench.call(leave(bench.stable()[0]))
        bench.call(commit())
        bench.pass_time(DAY_MS // 2)
        bench.fail_over()
        bench.pass_time(DAY_MS // 2 + 60_000)
        assert bench.call(fetch()) == ()

    def test_without_members_ever_it_counts_from_each_commit(self) -> None:
        bench = self.bench()
        bench.call(commit())
        bench.pass_time(DAY_MS // 2)
        late = CommittedOffset("t", 1, 1)
        bench.call(commit(late))
        bench.pass_time(DAY_MS // 2 + 60_000)
        assert bench.call(fetch()) == (late,)

    def test_an_old_client_may_bring_its_own_time(self) -> None:
        bench = self.bench()
        bench.call(commit(retention_ms=1_000_000))
        bench.call(commit(CommittedOffset("t", 1, 1)))
        bench.pass_time(1_060_000)
        assert bench.call(fetch()) == (CommittedOffset("t", 1, 1),)

    def test_a_group_of_which_nothing_is_left_is_gone_for_good(self) -> None:
        bench = self.bench()
        bench.call(leave(bench.stable()[0]))
        bench.pass_time(60_000)
        assert bench.call(commands.ListGroups()) == ()
        bench.fail_over()
        assert bench.call(commands.ListGroups()) == ()

    def test_a_member_that_is_on_its_way_keeps_the_group(self) -> None:
        bench = self.bench()
        bench.call(leave(bench.stable()[0]))
        bench.pass_time(59_000)
        given = bench.call(join()).member_id
        bench.pass_time(1_000)
        assert bench.take(bench.ask(join(given))).generation == 3


class TestAdministration:
    """Describe, list, delete."""

    def test_a_stable_group_is_described_in_full(self, bench: Bench) -> None:
        member = bench.stable()[0]
        found = bench.call(commands.DescribeGroup("g"))
        assert (found.state, found.protocol_type, found.protocol) == (
            State.STABLE,
            "consumer",
            "range",
        )
        assert found.members == (
            commands.MemberDescription(
                member, None, "client", "/127.0.0.1", b"topics", f"to {member}".encode()
            ),
        )

    def test_while_it_agrees_only_its_members_are_told(self, bench: Bench) -> None:
        bench.take(bench.join_with_id())
        found = bench.call(commands.DescribeGroup("g"))
        assert (found.state, found.protocol) == (State.COMPLETING_REBALANCE, "")
        assert [(m.metadata, m.assignment) for m in found.members] == [(b"", b"")]

    def test_there_is_nothing_to_tell_of_no_group(self, bench: Bench) -> None:
        assert refusal(bench, commands.DescribeGroup("g")) is ErrorCode.GROUP_ID_NOT_FOUND

    def test_groups_are_listed_with_their_states(self, bench: Bench) -> None:
        bench.stable()
        bench.call(commands.OffsetCommit("other", (NOTED,)))
        assert set(bench.call(commands.ListGroups())) == {
            commands.ListedGroup("g", "consumer", State.STABLE),
            commands.ListedGroup("other", "", State.EMPTY),
        }

    def test_a_group_with_members_is_not_deleted(self, bench: Bench) -> None:
        bench.stable()
        assert refusal(bench, commands.DeleteGroup("g")) is ErrorCode.NON_EMPTY_GROUP

    def test_an_empty_group_is_deleted_with_its_offsets_for_good(self, bench: Bench) -> None:
        bench.call(leave(bench.stable()[0]))
        bench.call(commit())
        assert bench.call(commands.DeleteGroup("g")) is None
        assert bench.call(fetch()) == ()
        bench.fail_over()
        assert bench.call(fetch()) == ()
        assert refusal(bench, commands.DeleteGroup("g")) is ErrorCode.GROUP_ID_NOT_FOUND

    def test_a_member_id_of_a_deleted_group_is_unknown(self, bench: Bench) -> None:
        bench.call(commit())
        given = bench.call(join()).member_id
        bench.call(commands.DeleteGroup("g"))
        assert refusal(bench, join(given)) is ErrorCode.UNKNOWN_MEMBER_ID

    def test_a_deleted_group_begins_anew(self, bench: Bench) -> None:
        bench.call(leave(bench.stable()[0]))
        bench.call(commands.DeleteGroup("g"))
        assert bench.take(bench.join_with_id()).generation == 1


def test_a_sync_of_a_group_that_only_has_offsets_is_of_nobody(bench: Bench) -> None:
    bench.call(commit())
    assert refusal(bench, sync("m", 0)) is ErrorCode.UNKNOWN_MEMBER_ID
