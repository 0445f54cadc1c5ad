"""The Prometheus page: every name has its row, and a big cluster is put into text in time."""

from __future__ import annotations

import pathlib
import re
import time

from quorate_broker.admin import flanking_app, metrics
from quorate_broker.admin.view import Counters, Overview, PartitionState

README = pathlib.Path(__file__).parents[3] / "broker" / "README.md"
COUNTED = Counters(
    uptime_seconds=1,
    cpu_seconds=1,
    resident_bytes=1,
    produced_bytes=1,
    produced_records=1,
    fetched_bytes=1,
    connections=1,
    requests=1,
)


def picture(partitions: int, counters: Counters) -> metrics.Picture:
    states = tuple(
        PartitionState(
            namespace="kafka",
            topic=f"topic-{index // 10}",
            partition=index % 10,
            group_id=index + 1,
            leader_id=1,
            replicas=(1, 2, 3),
            in_sync=(1, 2),
            high_watermark=index,
        )
        for index in range(partitions)
    )
    overview = Overview(
        version=1, cluster_id="c", controller_id=1, term=1, transitions=1, members=()
    )
    return metrics.Picture(1, "1", True, overview, states, counters)


class FlankingView:
    version = "1"
    ready = True
    registered = True
    uptime_seconds = 1.0


def names_and_types(text: str) -> set[tuple[str, str]]:
    types = re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE)
    return {(name, kind) for name, kind in types if not name.endswith("_created")}


def test_every_metric_has_a_row_in_the_readme_and_every_row_a_metric() -> None:
    broker = names_and_types(metrics.render(picture(1, COUNTED)))
    collector = flanking_app._Collector(FlankingView())  # type: ignore[arg-type]
    flanking = names_and_types(metrics.text_of(collector))
    rows = re.findall(r"^\| `((?:redpanda|quorate)_\w+)` \| (\w+) \|", README.read_text(), re.M)
    assert set(rows) == broker | flanking
    assert ("quorate_flanking_registered", "gauge") in flanking - broker


def test_what_is_not_counted_is_no_metric() -> None:
    text = metrics.render(picture(1, Counters(uptime_seconds=1, cpu_seconds=1, resident_bytes=1)))
    assert "redpanda_kafka_request_bytes" not in text
    assert "quorate_kafka_requests" not in text


def test_values_are_those_of_the_partition_in_the_labels() -> None:
    text = metrics.render(picture(12, COUNTED))
    labels = 'redpanda_namespace="kafka",redpanda_partition="1",redpanda_topic="topic-1"'
    assert f"redpanda_kafka_max_offset{{{labels}}} 11.0" in text.splitlines()
    assert f"redpanda_kafka_under_replicated_replicas{{{labels}}} 1.0" in text.splitlines()


def test_six_thousand_series_are_text_within_a_second_of_cpu() -> None:
    big = picture(3_000, COUNTED)
    started = time.process_time()
    text = metrics.render(big)
    seconds = time.process_time() - started
    assert text.count("\n") > 6_000
    assert seconds < 1.0
