"""`make demo`: what Quorate does, shown on a real Kubernetes in a minute or two.

Each step does something a user would do and prints what was seen. Nothing is asserted quietly: a
step that does not come true ends the demo with what it waited for.
"""

import json
import time
from typing import Any

from rich.table import Table

from quorate_bed import install, kube, paths
from quorate_bed.polling import NotYet, eventually
from quorate_bed.progress import BedError, console, heading, step

EXAMPLE = paths.REPOSITORY / "examples" / "quickstart.yaml"
RESOURCE = "quickstart"
NAMESPACE = "default"
BOOTSTRAP = f"{RESOURCE}-bootstrap:9092"
TOPIC = "demo"
RECORDS = 1000
READY_S = 180
FAILOVER_S = 60

Json = dict[str, Any]


def show(name: str) -> None:
    """Bring up what is missing, then show it."""
    started = time.monotonic()
    target = install.ready(name)
    kubectl = kube.Kubectl(target, NAMESPACE)
    client = kube.ClientPod(kubectl)
    try:
        _form(kubectl)
        with step("Client pod"):
            client.start()
        records = _round_trip(client, 0)
        _fail_over(kubectl)
        _round_trip(client, records)
    except NotYet as error:
        _explain(kubectl)
        raise BedError(str(error)) from error
    _facts(kubectl)
    _goodbye(target.kubeconfig_path.as_posix(), time.monotonic() - started)


def _form(kubectl: kube.Kubectl) -> None:
    with step(f"kubectl apply -f {EXAMPLE.relative_to(paths.REPOSITORY)}, wait for Ready") as shown:
        kubectl.apply_text(EXAMPLE.read_text())
        status = eventually(lambda: _ready(kubectl), deadline_s=READY_S, what="BrokerCluster Ready")
        leader = status["leader"]
        shown.note = f"{leader['pod']} leads, epoch {leader['epoch']}"


def _round_trip(client: kube.ClientPod, first: int) -> int:
    """Write RECORDS more; read everything there is. The number of records afterwards."""
    total = first + RECORDS
    with step(f"aiokafka: {RECORDS} records with acks=all") as shown:
        found = client.python(kube.script("produce.py"), BOOTSTRAP, TOPIC, str(first), str(RECORDS))
        shown.note = f"{found['acknowledged']} acknowledged in {found['took_s']} s"
    with step("aiokafka: read them back from the beginning") as shown:
        read = client.python(kube.script("consume.py"), BOOTSTRAP, TOPIC, str(total))
        shown.note = f"{read['different']} of {total} from {read['partitions']} partitions"
        if read["different"] != total:
            raise BedError(f"{total} records were acknowledged, {read['different']} were read")
    return total


def _fail_over(kubectl: kube.Kubectl) -> None:
    before = _status(kubectl)
    old = before["leader"]
    with step(f"SIGKILL to the leader's pod, {old['pod']}") as shown:
        started = time.monotonic()
        with kubectl.cluster.kill(old["pod"], hold=True, namespace=NAMESPACE):
            after = eventually(
                lambda: _moved(kubectl, before),
                deadline_s=FAILOVER_S,
                every_s=0.1,
                what="a new leader",
            )
            took_s = time.monotonic() - started
        new = after["leader"]
        shown.note = (
            f"{old['pod']} (epoch {old['epoch']}) → {new['pod']} (epoch {new['epoch']}) "
            f"in status after {took_s:.1f} s, "
            f"transitions {before['leaderTransitions']} → {after['leaderTransitions']}"
        )
    with step("The killed pod comes back as a follower"):
        eventually(lambda: _ready(kubectl), deadline_s=READY_S, what="BrokerCluster Ready again")


def _status(kubectl: kube.Kubectl) -> Json:
    found = kubectl.get("brokercluster", RESOURCE) or {}
    status: Json = found.get("status") or {}
    return status


def _ready(kubectl: kube.Kubectl) -> Json | None:
    """The status when it says Ready of the spec that was applied, with every node there."""
    found = kubectl.get("brokercluster", RESOURCE)
    assert found is not None, "no such BrokerCluster"
    status: Json = found.get("status") or {}
    states = {one["type"]: one for one in status.get("conditions", [])}
    ready = states.get("Ready", {"status": "Unknown", "message": "no status yet"})
    assert ready["status"] == "True", ready.get("message")
    assert status.get("observedGeneration") == found["metadata"]["generation"], "an older spec"
    assert "leader" in status, "no leader"
    waiting = [one["pod"] for one in status.get("nodes", []) if not one["ready"]]
    assert not waiting, f"not ready: {', '.join(waiting)}"
    return status


def _moved(kubectl: kube.Kubectl, before: Json) -> Json | None:
    """The status when another pod leads in a later epoch and the change is counted."""
    status, old = _status(kubectl), before["leader"]
    leader = status.get("leader")
    assert leader is not None, "no leader"
    assert leader["pod"] != old["pod"], f"{old['pod']} leads still"
    assert leader["epoch"] > old["epoch"], "another pod leads in the same epoch"
    return status if status["leaderTransitions"] > before["leaderTransitions"] else None


def _facts(kubectl: kube.Kubectl) -> None:
    heading("kubectl get brokerclusters")
    console.print(kubectl("get", "brokerclusters"), end="", markup=False)
    status = _status(kubectl)
    table = Table("node", "role", "pod", "state", "ready", "leads", box=None)
    for node in status["nodes"]:
        leads = "yes" if node.get("leader") else ""
        ready = "yes" if node["ready"] else "no"
        table.add_row(str(node["nodeId"]), node["role"], node["pod"], node["state"], ready, leads)
    console.print(table)
    console.print(f"cluster id {status['clusterId']}, {status['leaderTransitions']} leader changes")
    for listener in status.get("listeners", []):
        console.print(f"listener {listener['name']}: {listener['bootstrapServers']}")


def _goodbye(kubeconfig: str, took_s: float) -> None:
    heading(f"Ready after {took_s:.0f} s. Go on with")
    console.print(
        f"""  export KUBECONFIG={kubeconfig} PATH={paths.cache() / "bin"}:$PATH
  kubectl get bc -w
  kubectl describe brokercluster {RESOURCE}
  kubectl exec -it client -- kcat -b {BOOTSTRAP} -L
  kubectl exec -it client -- kcat -b {BOOTSTRAP} -t {TOPIC} -C -e -q
  kubectl patch bc {RESOURCE} --type=merge -p '{{"spec":{{"flanking":{{"replicas":3}}}}}}'
  kubectl delete pod -l quorate.dev/leader=true
  make demo-down""",
        markup=False,
    )


def _explain(kubectl: kube.Kubectl) -> None:
    """What a person would look at when a step did not come true."""
    heading("What there is")
    for words in (
        ("get", "brokerclusters,statefulsets,pods,pvc", "-o", "wide"),
        ("get", "events", "--sort-by=.lastTimestamp"),
        ("logs", "-l", f"quorate.dev/cluster={RESOURCE}", "--tail=15", "--prefix"),
        ("logs", "-n", install.NAMESPACE, "deploy/quorate-operator", "--tail=25"),
    ):
        console.print(f"[dim]$ kubectl {' '.join(words)}[/]")
        try:
            console.print(kubectl(*words), markup=False)
        except Exception as error:  # noqa: BLE001 - it is an explanation; go on with the next
            console.print(str(error), markup=False)
    console.print(json.dumps(_status(kubectl), indent=1), markup=False)
