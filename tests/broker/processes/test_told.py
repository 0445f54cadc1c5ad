"""What a running broker is told, and heeds without a restart: addresses, rack, levels."""

from __future__ import annotations

import json
import pathlib
import urllib.error
import urllib.request
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient

from quorate_broker.testing import processes

pytestmark = pytest.mark.process
LISTENER = '{name="%s", port=%d, authentication="none", advertised="%s"}'


def seen(port: int) -> list[tuple[int, str, int]]:
    """Brokers as clients of a listener are told of them."""
    client = AdminClient({"bootstrap.servers": f"127.0.0.1:{port}", "log_level": 0})
    told: Any = client.list_topics(timeout=10)
    return [(one.id, one.host, one.port) for one in told.brokers.values()]


def test_addresses_rack_and_levels_are_heeded_while_a_broker_runs(tmp_path: pathlib.Path) -> None:
    told = tmp_path / "told"
    told.mkdir()
    made = processes.Cluster(tmp_path / "nodes", nodes=1, flanking=2)  # never started: their ports
    inside, outside, metrics = (made.options.port + number for number in range(3))
    listeners = (
        LISTENER % ("inside", inside, f"127.0.0.1:{inside}"),
        LISTENER % ("outside", outside, "{told}"),
    )
    made.settings = (
        f"listeners=[{', '.join(listeners)}]",
        f"pod.info.dir={told}",
        f"metrics.port={metrics}",
    )
    try:
        made.start(1)
        made.wait_ready(1)
        assert seen(inside) == [(1, "127.0.0.1", inside)]

        (told / "advertised").write_text("outside=203.0.113.7:9094,gone=x:1\n")
        (told / "rack").write_text("zone-a")
        processes.eventually(
            lambda: made.get(1, "/v1/brokers")[0]["rack"] == "zone-a", "the rack is known"
        )
        assert seen(outside) == [(1, "203.0.113.7", 9094)]
        assert seen(inside) == [(1, "127.0.0.1", inside)]

        config = made.nodes[1].config_file
        config.write_text('"log.format" = "json"\n"log.level" = "debug"\n' + config.read_text())
        line = processes.eventually(lambda: last_object(made.log(1)), "JSON is logged")
        assert set(line) == {"time", "level", "logger", "message"}

        with urllib.request.urlopen(f"http://127.0.0.1:{metrics}/metrics") as answer:
            assert b"redpanda_cluster_brokers" in answer.read()
        with pytest.raises(urllib.error.HTTPError):
            urllib.request.urlopen(f"http://127.0.0.1:{metrics}/v1/brokers")
        assert made.running == [1]
    finally:
        made.stop()


def last_object(log: str) -> dict[str, str] | None:
    for line in reversed(log.splitlines()):
        if line.startswith("{") and line.endswith("}"):
            found: dict[str, str] = json.loads(line)
            return found
    return None
