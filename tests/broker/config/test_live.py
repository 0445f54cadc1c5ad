"""What a process runs with: its file, and what the cluster has said since."""

from __future__ import annotations

import pytest

from quorate_broker import config
from quorate_broker.config import live as lives

FILE = config.Settings(num_partitions=6, fetch_max_bytes=5000, rpc_port=7)


def live(**more: object) -> config.Live:
    made = config.Live(FILE, **more)  # type: ignore[arg-type]
    made.begin(config.Said())
    return made


def said(version: int = 1, own: config.Texts | None = None, **everybody: str) -> config.Said:
    """Underscores for dots."""
    texts = {name.replace("_", "."): text for name, text in everybody.items()}
    return config.Said(version, texts, own or {})


def test_the_file_counts_until_the_cluster_has_settings() -> None:
    found = live()
    assert found.now == FILE
    found.hear(said(max_connections="5"))
    assert (found.now.max_connections, found.now.num_partitions) == (5, 4)
    assert found.now.rpc_port == 7, "who it is and where it listens stays the file's"


def test_a_setting_that_is_removed_is_at_its_default_again() -> None:
    found = live()
    found.hear(said(num_partitions="9"))
    found.hear(said(2))
    assert found.now.num_partitions == 4


def test_what_is_set_for_one_broker_goes_before_what_is_set_for_all() -> None:
    found = live()
    found.hear(said(own={"fetch.max.bytes": "2048"}, fetch_max_bytes="4096"))
    assert found.now.fetch_max_bytes == 2048


def test_the_command_line_goes_before_all_where_brokers_may_differ() -> None:
    found = live(pinned=frozenset({"fetch.max.bytes", "num.partitions"}))
    found.hear(said(fetch_max_bytes="4096", num_partitions="9"))
    assert found.now.fetch_max_bytes == 5000
    assert found.now.num_partitions == 9, "one broker alone cannot have another number"


def test_who_listens_to_what_changed_is_called_once_and_nobody_else() -> None:
    found, called = live(), []
    found.listen(("max.connections", "fetch.max.bytes"), lambda: called.append("both"))
    found.listen(("disk.threads",), lambda: called.append("other"))
    found.hear(said(max_connections="5", fetch_max_bytes="4096"))
    assert called == ["both"]
    found.hear(said(2, max_connections="5", fetch_max_bytes="4096"))
    assert called == ["both"]


def test_what_needs_a_restart_stays_and_the_broker_says_that_it_is_behind() -> None:
    found = live()
    found.hear(said(raft_election_timeout_ms="2000"))
    assert found.now.raft_election_timeout_ms == 750
    assert found.behind == {"raft.election.timeout.ms"}
    found.hear(said(2))
    assert not found.restart, "set back before anybody restarted it"
    again = config.Live(FILE)
    again.begin(said(raft_election_timeout_ms="2000"))
    assert (again.now.raft_election_timeout_ms, again.restart) == (2000, False)


def test_nobody_can_listen_to_what_needs_a_restart() -> None:
    with pytest.raises(AssertionError, match=r"raft\.election\.timeout\.ms"):
        live().listen(("raft.election.timeout.ms",), lambda: None)


def test_what_this_version_does_not_know_or_take_is_told_and_left_at_the_default() -> None:
    found = live()
    found.hear(said(num_partitions="many", of_the_future="1", max_connections="5"))
    assert found.unknown == ("of.the.future",)
    assert found.invalid == ("num.partitions",)
    assert (found.now.num_partitions, found.now.max_connections) == (4, 5)


def test_hours_of_retention_count_where_nobody_gave_milliseconds() -> None:
    found = live()
    found.hear(said(log_retention_hours="2"))
    assert found.now.log_retention_ms == 7_200_000
    found.hear(said(2, log_retention_hours="2", log_retention_ms="5"))
    assert found.now.log_retention_ms == 5


def test_a_file_seeds_what_it_sets_and_a_broker_with_the_seeds_runs_as_with_the_file() -> None:
    file = config.load(
        None,
        {},
        [
            "node.id=1",
            'listeners=[{name="a",host="h",port=1,authentication="none"}]',
            "num.partitions=6",
            "log.retention.hours=3",
            "log.cleaner.enable=false",
            "log.cleaner.min.cleanable.ratio=0.25",
            "log.cleanup.policy=compact,delete",
        ],
    )
    seeds = lives.seeds(file)
    assert seeds == {
        "num.partitions": "6",
        "log.retention.hours": "3",
        "log.cleaner.enable": "false",
        "log.cleaner.min.cleanable.ratio": "0.25",
        "log.cleanup.policy": "compact,delete",
    }
    found = config.Live(file)
    found.begin(config.Said(1, seeds))
    assert found.now == file


def test_the_environment_and_the_command_line_name_what_they_set() -> None:
    environ = {"QUORATE_LOG_LEVEL": "debug", "QUORATE_POD_NAME": "a-0", "HOME": "/"}
    found = config.pinned(environ, ["fetch.max.bytes=4096"])
    assert found == {"log.level", "pod.name", "fetch.max.bytes"}
