"""Which node of a development cluster gets what."""

from __future__ import annotations

import pathlib
import socket

import pytest

from quorate_broker import config
from quorate_broker.dev import plan

BASE = pathlib.Path("/dev-cluster")


def test_ports_are_counted_up_node_by_node_and_flanking_nodes_follow() -> None:
    nodes = plan.nodes(plan.Options(nodes=3, flanking=2), BASE)
    assert [node.node_id for node in nodes] == [1, 2, 3, 101, 102]
    assert [node.ports["admin-port"] for node in nodes] == [9644, 9645, 9646, 9647, 9648]
    assert [node.ports["proxy-port"] for node in nodes] == [8082, 8083, 8084, 8085, 8086]
    assert [node.ports.get("port") for node in nodes] == [9092, 9093, 9094, None, None]
    assert [node.ports.get("rpc-port") for node in nodes] == [33145, 33146, 33147, None, None]
    assert plan.bootstrap(plan.Options(nodes=2)) == "127.0.0.1:9092,127.0.0.1:9093"


def test_each_nodes_file_is_an_ordinary_configuration(tmp_path: pathlib.Path) -> None:
    awkward = tmp_path / 'with "quotes" and ünïcode'
    nodes = plan.nodes(plan.Options(nodes=2, flanking=1, port=19092), awkward)
    plan.write(nodes)
    plan.check(nodes, ["num.partitions=6"])
    second = config.load(nodes[1].config_file, {})
    assert second.node_id == 2
    assert second.data_dir == str(awkward / "node-2" / "data")
    assert second.listeners[0].advertised_address == config.Address("127.0.0.1", 19093)
    assert [seed.node_id for seed in second.seeds] == [1, 2]
    assert second.rpc_advertised == config.Address("127.0.0.1", 33146)
    flanking = config.load(nodes[2].config_file, {})
    assert flanking.node_role == "flanking"
    assert flanking.bootstrap_servers == ("127.0.0.1:19092", "127.0.0.1:19093")
    assert flanking.admin_urls == ("http://127.0.0.1:9644", "http://127.0.0.1:9645")


def test_a_bad_setting_is_found_before_anything_starts(tmp_path: pathlib.Path) -> None:
    nodes = plan.nodes(plan.Options(nodes=1), tmp_path)
    plan.write(nodes)
    with pytest.raises(config.ConfigError, match=r"num\.partition: unknown setting"):
        plan.check(nodes, ["num.partition=6"])


@pytest.mark.parametrize("key", sorted(plan.FIXED))
def test_what_the_layout_decides_cannot_be_set_and_the_option_is_named(
    tmp_path: pathlib.Path, key: str
) -> None:
    nodes = plan.nodes(plan.Options(nodes=1), tmp_path)
    plan.write(nodes)
    with pytest.raises(config.ConfigError) as caught:
        plan.check(nodes, [f"{key}=1"])
    assert caught.value.problems == (f"{key}: is decided by dev itself; use {plan.FIXED[key]}",)


def test_ports_that_overlap_or_run_out_are_refused() -> None:
    with pytest.raises(config.ConfigError, match="which is also node 1's by --admin-port"):
        plan.nodes(plan.Options(nodes=3, port=8000, admin_port=8001), BASE)
    with pytest.raises(config.ConfigError, match="--port: node 3 would get port 65536"):
        plan.nodes(plan.Options(nodes=3, port=65534), BASE)


def test_a_taken_port_is_told_with_the_option_that_moves_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        options = plan.Options(nodes=1, port=port, admin_port=1025, proxy_port=1026, rpc_port=1027)
        sentences = plan.taken_ports(plan.nodes(options, BASE))
    assert [sentence for sentence in sentences if str(port) in sentence] == [
        f"port {port} of node 1 cannot be had (Address already in use); choose others with --port"
    ]
