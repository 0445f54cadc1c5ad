"""etcd, API server, controller manager and scheduler, on the control plane's own address.

etcd runs without fsync: a test cluster that loses power is made anew. Leader elections of the
control plane are off, since there is one of each. Next: `node.py`.
"""

import subprocess

from quorate_bed.local import daemons, layout

PKI = layout.HOME / "pki"
READY = f"https://127.0.0.1:{layout.API_PORT}/readyz"


def start_store() -> None:
    daemons.start(
        "etcd",
        [
            "etcd",
            f"--data-dir={layout.HOME / 'etcd'}",
            "--unsafe-no-fsync",
            "--listen-client-urls=http://127.0.0.1:2379",
            "--advertise-client-urls=http://127.0.0.1:2379",
            "--listen-peer-urls=http://127.0.0.1:2380",
            "--initial-advertise-peer-urls=http://127.0.0.1:2380",
            "--initial-cluster=default=http://127.0.0.1:2380",
            "--log-level=warn",
        ],
    )


def start_api() -> subprocess.Popen[bytes]:
    """Started beside etcd: it waits for it by itself."""
    return daemons.start(
        "kube-apiserver",
        [
            "kube-apiserver",
            "--etcd-servers=http://127.0.0.1:2379",
            "--bind-address=0.0.0.0",
            f"--advertise-address={layout.CONTROL_ADDRESS}",
            f"--secure-port={layout.API_PORT}",
            f"--service-cluster-ip-range={layout.SERVICE_NETWORK}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={PKI / 'service-account.key'}",
            f"--service-account-signing-key-file={PKI / 'service-account.key'}",
            f"--token-auth-file={PKI / 'tokens.csv'}",
            f"--tls-cert-file={PKI / 'apiserver.crt'}",
            f"--tls-private-key-file={PKI / 'apiserver.key'}",
            f"--client-ca-file={PKI / 'ca.crt'}",
            f"--kubelet-client-certificate={PKI / 'kubelet-client.crt'}",
            f"--kubelet-client-key={PKI / 'kubelet-client.key'}",
            "--kubelet-preferred-address-types=InternalIP",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            "--allow-privileged=true",
            "--profiling=false",
        ],
    )


def await_api(process: subprocess.Popen[bytes]) -> None:
    daemons.await_true("kube-apiserver", lambda: daemons.answers(READY), process)


def start_controllers() -> None:
    daemons.start(
        "kube-controller-manager",
        [
            "kube-controller-manager",
            f"--kubeconfig={PKI / 'controller-manager.kubeconfig'}",
            f"--service-account-private-key-file={PKI / 'service-account.key'}",
            f"--root-ca-file={PKI / 'ca.crt'}",
            "--use-service-account-credentials",
            "--leader-elect=false",
            "--bind-address=127.0.0.1",
            "--profiling=false",
        ],
    )
    daemons.start(
        "kube-scheduler",
        [
            "kube-scheduler",
            f"--kubeconfig={PKI / 'scheduler.kubeconfig'}",
            "--leader-elect=false",
            "--bind-address=127.0.0.1",
            "--profiling=false",
        ],
    )
