"""Brokers that are not as the spec says: named in the status for as long as they are so."""

from collections.abc import Iterator

import pytest

from quorate_bed.polling import eventually
from quorate_bed.product import BrokerCluster, Json

STRAY, STRAY_ID = "stray-8", 9


def drift(three: BrokerCluster) -> Json | None:
    conditions = three.status()["conditions"]
    return next((one for one in conditions if one["type"] == "Drift"), None)


def none_is_told(three: BrokerCluster) -> bool:
    return drift(three) is None


ALONE = """
import sys
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource
bootstrap, node_id, name, value = sys.argv[1:]
do = AlterConfigOpType.SET if value else AlterConfigOpType.DELETE
entry = ConfigEntry(name, value or None, incremental_operation=do)
asked = ConfigResource(ConfigResource.Type.BROKER, node_id, incremental_configs=[entry])
admin = AdminClient({"bootstrap.servers": bootstrap})
for done in admin.incremental_alter_configs([asked]).values():
    done.result(30)
"""


def test_a_setting_that_somebody_gave_one_broker_alone_is_named_until_it_is_taken_back(
    three: BrokerCluster,
) -> None:
    three.client.python(ALONE, three.bootstrap, "2", "max.connections", "500")
    told = eventually(lambda: drift(three), what="told")
    assert (told["status"], told["reason"]) == ("True", "ConfigSkew")
    assert three.pod_of(2) in told["message"]
    assert "max.connections" in told["message"]
    three.client.python(ALONE, three.bootstrap, "2", "max.connections", "")
    eventually(lambda: none_is_told(three), what="no more to tell")


@pytest.fixture
def stray(three: BrokerCluster) -> Iterator[str]:
    """A pod that nobody's spec knows, with the image and the settings of a broker of the three."""
    pod = three.pod(1)
    spec = {
        key: pod["spec"][key]
        for key in ("containers", "volumes", "securityContext", "automountServiceAccountToken")
    }
    for volume in spec["volumes"]:
        if volume["name"] == "data":
            del volume["persistentVolumeClaim"]
            volume["emptyDir"] = {}
    spec |= {"hostname": STRAY, "subdomain": f"{three.name}-brokers", "enableServiceLinks": False}
    labels = {"quorate.dev/cluster": three.name, "quorate.dev/role": "broker"}
    metadata = {"name": STRAY, "labels": labels}
    try:
        three.kubectl.apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
        yield STRAY
    finally:
        three.kubectl("delete", "pod", STRAY, "--ignore-not-found", "--grace-period=1")


@pytest.mark.full
def test_a_broker_that_nobody_asked_for_is_named_and_sent_away(
    three: BrokerCluster, stray: str
) -> None:
    def told() -> list[str]:
        return [one["note"] for one in three.events() if one["reason"] == "UnknownBroker"]

    assert f"broker {STRAY_ID} is a member" in eventually(told, deadline_s=60, what="told")[0]

    def refused() -> bool:
        return f"broker {STRAY_ID} was decommissioned" in three.kubectl("logs", stray)

    def as_it_was() -> bool:
        members = three.admin(three.status()["leader"]["nodeId"], "/v1/brokers")
        assert [one["node_id"] for one in members or []] == three.broker_ids()
        return none_is_told(three)

    eventually(refused, deadline_s=60, what="it comes in no more, and says why")
    eventually(as_it_was, what="no more to tell")
