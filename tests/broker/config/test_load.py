"""Configuration: where values come from, and that every mistake is named at once."""

from __future__ import annotations

import dataclasses
import pathlib

import pytest

from quorate_broker import config

BROKER = """
node.id = 2
seeds = ["1@a:33145", "2@b:33146", "3@[::1]:33147"]
data.dir = "/data"
[[listeners]]
name = "plain"
host = "127.0.0.1"
port = 9092
authentication = "none"
"""


def write(tmp_path: pathlib.Path, text: str) -> pathlib.Path:
    path = tmp_path / "quorate.toml"
    path.write_text(text)
    return path


def problems(path: pathlib.Path | None, environ: dict[str, str], *overrides: str) -> list[str]:
    with pytest.raises(config.ConfigError) as caught:
        config.load(path, environ, overrides)
    return list(caught.value.problems)


def test_a_broker_that_is_no_seed_is_reached_where_it_binds_or_where_clients_reach_it(
    tmp_path: pathlib.Path,
) -> None:
    text = BROKER.replace("node.id = 2", "node.id = 4")
    bound = config.load(write(tmp_path, text), {}, ["rpc.host=127.0.0.4", "rpc.port=7"])
    assert bound.rpc_advertised == config.Address("127.0.0.4", 7)
    text += 'advertised = "b4.example:9092"\n'
    anywhere = config.load(write(tmp_path, text), {}, ["rpc.port=7"])
    assert anywhere.rpc_advertised == config.Address("b4.example", 7)


def test_a_file_becomes_frozen_settings(tmp_path: pathlib.Path) -> None:
    settings = config.load(write(tmp_path, BROKER), {})
    assert settings.node_id == 2
    assert settings.seeds[2] == config.Seed(3, "::1", 33147)
    assert settings.rpc_advertised == config.Address("b", 33146)
    assert settings.listeners[0].advertised_address == config.Address("127.0.0.1", 9092)
    assert settings["num.partitions"] == settings.num_partitions == 4
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.node_id = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    "text", ["log.segment.bytes = 2048", "[log.segment]\nbytes = 2048", '"log.segment.bytes"=2048']
)
def test_nested_tables_and_quoted_names_are_the_same_key(tmp_path: pathlib.Path, text: str) -> None:
    path = write(tmp_path, BROKER.replace("[[listeners]]", f"{text}\n[[listeners]]"))
    assert config.load(path, {}).log_segment_bytes == 2048


def test_a_key_that_stands_twice_is_refused(tmp_path: pathlib.Path) -> None:
    path = write(tmp_path, f'"data.dir" = "/elsewhere"\n{BROKER}')
    assert problems(path, {}) == [f"data.dir: stands twice in {path}"]


def test_set_wins_over_the_environment_and_the_environment_over_the_file(
    tmp_path: pathlib.Path,
) -> None:
    path = write(tmp_path, "num.partitions = 7\n" + BROKER)
    environ = {"QUORATE_NUM_PARTITIONS": "8"}
    assert config.load(path, {}).num_partitions == 7
    assert config.load(path, environ).num_partitions == 8
    assert config.load(path, environ, ["num.partitions=9"]).num_partitions == 9


def test_every_problem_is_named_at_once_with_its_key(tmp_path: pathlib.Path) -> None:
    path = write(
        tmp_path,
        """
num.partition = 3
num.partitions = 0
auto.create.topics.enable = "yes"
node.id = 7
[[listeners]]
name = "plain"
port = 9092
""",
    )
    environ = {"QUORATE_RACKK": "a", "QUORATE_LOG_LEVEL": "loud"}
    assert problems(path, environ, "message.max.bytes=x", "nonsense") == [
        "num.partition: unknown setting; did you mean num.partitions?",
        "num.partitions: must be from 1 to 10000, not 0",
        "auto.create.topics.enable: must be true or false, not 'yes'",
        "listeners: [0].authentication is missing",
        "log.level: must be one of debug, info, warning, error, not 'loud'",
        "QUORATE_RACKK: unknown variable; did you mean QUORATE_RACK?",
        "message.max.bytes: must be an integer, not 'x'",
        "nonsense: --set needs key=value",
    ]


def test_a_file_that_is_missing_or_no_toml_is_named(tmp_path: pathlib.Path) -> None:
    missing = tmp_path / "none.toml"
    assert problems(missing, {})[0] == f"{missing}: No such file or directory"
    broken = write(tmp_path, "a = = 1")
    assert problems(broken, {})[0].startswith(f"{broken}: not TOML: ")


@pytest.mark.parametrize(
    "variable",
    ["CACHE", "CLUSTER", "PROVIDER", "KEEP_CLUSTER", "DEBIAN_MIRROR", "KUBERNETES_BINARIES"],
)
def test_variables_of_the_test_bed_are_no_settings(tmp_path: pathlib.Path, variable: str) -> None:
    config.load(write(tmp_path, BROKER), {f"QUORATE_{variable}": "anything"})


def test_service_links_of_kubernetes_are_nobodys_configuration(tmp_path: pathlib.Path) -> None:
    environ = {
        "QUORATE_ADMIN_PORT": "tcp://10.0.0.7:9644",
        "QUORATE_ADMIN_SERVICE_HOST": "10.0.0.7",
        "QUORATE_ADMIN_SERVICE_PORT": "9644",
        "QUORATE_ADMIN_SERVICE_PORT_HTTP": "9644",
        "QUORATE_ADMIN_PORT_9644_TCP": "tcp://10.0.0.7:9644",
        "QUORATE_ADMIN_PORT_9644_TCP_ADDR": "10.0.0.7",
        "QUORATE_CACHE": "/cache",
    }
    assert config.load(write(tmp_path, BROKER), environ).admin_port == 9644


@pytest.mark.parametrize(
    ("role", "pod", "node_id"),
    [("broker", "orders-broker-2", 3), ("flanking", "orders-flanking-0", 101)],
)
def test_the_node_id_comes_from_the_pods_ordinal(role: str, pod: str, node_id: int) -> None:
    overrides = [
        f"node.role={role}",
        'listeners=[{name="p",port=9092,authentication="none",advertised="{pod}.b:9092"}]',
        "bootstrap.servers=orders-bootstrap:9092",
        "admin.urls=http://orders-admin:9644",
    ]
    settings = config.load(None, {"QUORATE_POD_NAME": pod}, overrides)
    assert settings.node_id == node_id
    assert settings.listeners[0].advertised_host == f"{pod}.b"


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["node.id=0"], "node.id: must be given, since QUORATE_POD_NAME is not set"),
        (["node.id=100"], "node.id: brokers have 1 to 99, not 100"),
        (["admin.port=9092"], "admin.port: port 9092 is also that of listeners (plain)"),
        (
            ["raft.election.timeout.ms=200"],
            "raft.heartbeat.interval.ms: must be at most half of raft.election.timeout.ms",
        ),
        (["listeners=[]"], "listeners: a broker needs at least one [[listeners]] table"),
        (["listeners=x"], None),
        (["seeds=1@a:1,1@b:2"], "seeds: id 1 stands twice"),
        (["seeds=a:1"], "seeds: each must be id@host:port, not 'a:1'"),
        (["seeds=1@a:0"], "seeds: port must be from 1 to 65535, not 0"),
        (["seeds=101@a:1"], "seeds: ids of brokers are 1 to 99, not 101"),
        (["seeds=1@::1:9"], "seeds: must be [host]:port for an IPv6 address, not '::1:9'"),
        (
            ['listeners=[{name="p",port=9092,authentication="none"}]'],
            "listeners: p: advertised must be given, since clients cannot connect to 0.0.0.0",
        ),
        (
            ['listeners=[{name="p",port=1,authentication="none",advertised="{pod}:1"}]'],
            "listeners: advertised asks for {pod}, but QUORATE_POD_NAME is not set",
        ),
        (
            ['listeners=[{name="p",port=1,authentication="none",advertised="{host}:1"}]'],
            "listeners: advertised knows {pod}, {node_id} and {ordinal}, not '{host}:1'",
        ),
        (
            ['listeners=[{name="p",port=1,authentication="sasl"}]'],
            "listeners: [0].authentication must be one of none, not 'sasl'",
        ),
        (
            ['listeners=[{name="p",port=1,authentication="none",prot=2}]'],
            None,
        ),
    ],
)
def test_a_bad_value_is_a_sentence_with_its_key(
    tmp_path: pathlib.Path, overrides: list[str], sentence: str | None
) -> None:
    found = problems(write(tmp_path, BROKER), {}, *overrides)
    assert len(found) == 1
    if sentence is not None:
        assert found == [sentence]
    else:
        assert found[0].startswith(overrides[0].partition("=")[0] + ": ")


def test_a_flanking_node_needs_to_know_the_brokers() -> None:
    found = problems(None, {}, "node.role=flanking", "node.id=101")
    assert found == [
        "bootstrap.servers: a flanking node needs at least one",
        "admin.urls: a flanking node needs at least one",
    ]
    bad = ["node.role=flanking", "node.id=5", "bootstrap.servers=a", "admin.urls=b:1"]
    assert problems(None, {}, *bad) == [
        "node.id: flanking nodes have 101 and up, not 5",
        "bootstrap.servers: must be host:port, not 'a'",
        "admin.urls: must be http://host:port, not 'b:1'",
    ]


@pytest.mark.parametrize("switch", ["CRASH_POINT", "CRASH_SEEN", "SABOTAGE"])
def test_a_switch_that_breaks_a_broker_on_purpose_is_refused_in_words(
    tmp_path: pathlib.Path, switch: str
) -> None:
    said = problems(write(tmp_path, BROKER), {f"QUORATE_{switch}": "after sync journal"})
    assert said == [f"QUORATE_{switch}: breaks a broker on purpose, in tests; unset it"]


NODE = ('listeners=[{name="p", host="127.0.0.1", port=9092, authentication="none"}]', "node.id=2")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((), 7 * 24 * 3_600_000),
        (("log.retention.hours=2",), 7_200_000),
        (("log.retention.hours=-1",), -1),
        (("log.retention.hours=2", "log.retention.ms=5"), 5),
        (("log.retention.ms=-1",), -1),
    ],
)
def test_retention_may_be_given_in_hours_and_milliseconds_go_before_them(
    given: tuple[str, ...], expected: int
) -> None:
    assert config.load(None, {}, [*NODE, *given]).log_retention_ms == expected


def test_other_brokers_are_told_the_address_that_is_written_for_them() -> None:
    chosen = [*NODE, "pod.name=orders-broker-3", "node.id=4"]
    template = "rpc.advertised.address={pod}.orders-brokers:33145"
    settings = config.load(None, {}, [*chosen, template])
    assert str(settings.rpc_advertised) == "orders-broker-3.orders-brokers:33145"
    assert str(config.load(None, {}, [*chosen, "rpc.host=10.0.0.4"]).rpc_advertised) == (
        "10.0.0.4:33145"
    )


@pytest.mark.parametrize("address", ["0.0.0.0:33145", "nowhere", "{planet}:1", "{pod}:1"])
def test_an_address_that_no_broker_could_dial_is_refused(address: str) -> None:
    with pytest.raises(config.ConfigError, match=r"rpc\.advertised\.address"):
        config.load(None, {}, [*NODE, f"rpc.advertised.address={address}"])


@pytest.mark.parametrize("text", ["nan", "-0.1", "1.01", "half", "inf"])
def test_a_number_has_limits_too(text: str) -> None:
    row = config.TOPIC_SETTINGS["min.cleanable.dirty.ratio"]
    with pytest.raises(ValueError, match="must be"):
        row.parse(text)


def test_a_number_is_read_from_text_and_from_toml() -> None:
    row = config.TOPIC_SETTINGS["min.cleanable.dirty.ratio"]
    assert (row.parse(" 0.25 "), row.check(1), row.check(0.5)) == (0.25, 1.0, 0.5)
    with pytest.raises(ValueError, match="must be a number"):
        row.check(True)


def test_an_address_that_is_told_later_needs_a_place_where_it_is_told(
    tmp_path: pathlib.Path,
) -> None:
    text = BROKER + 'advertised = "{told}"\n'
    assert problems(write(tmp_path, text), {}) == [
        "listeners: advertised {told} needs pod.info.dir, where it is told"
    ]


def test_levels_of_single_loggers_are_checked() -> None:
    assert problems(None, {}, "log.loggers=a=loud")[0].startswith("log.loggers: each must be")
