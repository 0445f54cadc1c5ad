"""What the files of a pod say, and what becomes of a broker's registration by it."""

from __future__ import annotations

import pathlib

from quorate_broker import config
from quorate_broker.cluster.image import Broker
from quorate_broker.cluster.records import Endpoint
from quorate_broker.node import told

LISTENERS = (
    'listeners=[{name="in", port=1, authentication="none", advertised="{pod}-{ordinal}:1"},'
    ' {name="out", port=2, authentication="none", advertised="{told}"}]'
)


def settings(*more: str) -> config.Settings:
    environ = {"QUORATE_POD_NAME": "orders-broker-2"}
    return config.load(None, environ, [LISTENERS, "pod.info.dir=/told", *more])


def known(rack: str | None, *endpoints: Endpoint) -> Broker:
    return Broker(3, "inc", "host", 1, endpoints, rack, "0")


def test_a_listener_whose_address_nobody_told_is_not_told_to_clients() -> None:
    found = told.endpoints(settings(), told.Told(), None)
    assert found == (Endpoint("in", "orders-broker-2-2", 1),)


def test_what_is_told_is_what_clients_are_told() -> None:
    said = told.Told("zone-a", {"out": config.Address("1.2.3.4", 9), "in": config.Address("x", 1)})
    assert told.endpoints(settings(), said, None)[1] == Endpoint("out", "1.2.3.4", 9)
    assert told.endpoints(settings(), said, None)[0].host == "orders-broker-2-2"
    assert told.rack(settings(), said, known("zone-b")) == "zone-a"


def test_what_was_told_before_a_restart_stands_until_it_is_told_anew() -> None:
    before = known("zone-b", Endpoint("out", "1.2.3.4", 9), Endpoint("gone", "x", 1))
    assert told.rack(settings(), told.Told(), before) == "zone-b"
    assert [each.name for each in told.endpoints(settings(), told.Told(), before)] == ["in", "out"]
    bare = config.load(None, {"QUORATE_POD_NAME": "a-0"}, [LISTENERS.replace("{told}", "h:2")])
    assert told.rack(bare, told.Told(), before) is None


def test_files_that_say_nothing_sensible_tell_nothing(tmp_path: pathlib.Path) -> None:
    assert told.read("") == told.read(str(tmp_path)) == told.Told()
    (tmp_path / "advertised").write_text("a=1.2.3.4:9, b=nonsense ,,c=[::1]:5\n")
    (tmp_path / "rack").write_bytes(b"\xff\xfe")
    found = told.read(str(tmp_path))
    assert found.rack == ""
    assert found.advertised == {
        "a": config.Address("1.2.3.4", 9),
        "c": config.Address("::1", 5),
    }
