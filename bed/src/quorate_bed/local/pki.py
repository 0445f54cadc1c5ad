"""Keys, certificates, tokens and kubeconfigs of one cluster, made anew for each.

One authority signs the API server's certificate and the client certificate with which the API
server speaks to the kubelets. Everybody else carries a token from the API server's token file.
"""

import base64
import secrets
from pathlib import Path

import yaml

from quorate_bed.local import layout
from quorate_bed.shell import run

DAYS = "3650"
USERS = {
    "admin": ("quorate-admin", "system:masters"),
    "controller-manager": ("system:kube-controller-manager", ""),
    "scheduler": ("system:kube-scheduler", ""),
    "proxy": ("system:kube-proxy", ""),
}
LEAF = """basicConstraints=critical,CA:FALSE
keyUsage=critical,digitalSignature,keyEncipherment
subjectKeyIdentifier=hash
authorityKeyIdentifier=keyid
"""
CLIENT = "extendedKeyUsage=clientAuth"
SERVER = "extendedKeyUsage=serverAuth\nsubjectAltName="
SERVER_NAMES = (
    "DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,"
    f"DNS:kubernetes.default.svc.{layout.DOMAIN},DNS:localhost,"
    f"IP:127.0.0.1,IP:{layout.CONTROL_ADDRESS},IP:{layout.API_SERVICE_ADDRESS}"
)


def create(directory: Path, nodes: int) -> None:
    """Write everything into `directory`; tokens.csv is the API server's token file."""
    directory.mkdir(parents=True, exist_ok=True)
    _authority(directory)
    _certificate(directory, "apiserver", "/CN=kube-apiserver", SERVER + SERVER_NAMES)
    _certificate(directory, "kubelet-client", "/O=system:masters/CN=kube-apiserver", CLIENT)
    _key(directory, "service-account")
    lines = []
    users = dict(USERS)
    for number in range(1, nodes + 1):
        name = layout.Node(number).name
        users[name] = (f"system:node:{name}", "system:nodes")
    for uid, (file, (user, group)) in enumerate(users.items(), start=1):
        token = secrets.token_hex(16)
        lines.append(f'{token},{user},{uid},"{group}"')
        server = f"https://{layout.CONTROL_ADDRESS}:{layout.API_PORT}"
        write_kubeconfig(directory / f"{file}.kubeconfig", server, directory / "ca.crt", token)
        (directory / f"{file}.token").write_text(token)
    (directory / "tokens.csv").write_text("\n".join(lines) + "\n")


def write_kubeconfig(path: Path, server: str, authority: Path, token: str) -> None:
    """One kubeconfig with everything inside, so that it can be copied."""
    data = base64.b64encode(authority.read_bytes()).decode()
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": "quorate", "cluster": {"server": server, "certificate-authority-data": data}}
        ],
        "users": [{"name": "admin", "user": {"token": token}}],
        "contexts": [{"name": "quorate", "context": {"cluster": "quorate", "user": "admin"}}],
        "current-context": "quorate",
    }
    temporary = path.with_suffix(".new")
    temporary.touch(mode=0o600)
    temporary.write_text(yaml.safe_dump(content))
    temporary.rename(path)


def _key(directory: Path, name: str) -> Path:
    path = directory / f"{name}.key"
    run(["openssl", "genrsa", "-out", path, "2048"])
    return path


def _authority(directory: Path) -> None:
    """Python 3.13 verifies strictly: every authority has to say what its key is for."""
    key = _key(directory, "ca")
    command = ["openssl", "req", "-x509", "-new", "-key", key, "-subj", "/CN=quorate-bed"]
    command += ["-days", DAYS, "-out", directory / "ca.crt"]
    command += ["-addext", "keyUsage=critical,keyCertSign,cRLSign"]
    run(command)


def _certificate(directory: Path, name: str, subject: str, extension: str) -> None:
    key = _key(directory, name)
    request = directory / f"{name}.csr"
    extensions = directory / f"{name}.ext"
    extensions.write_text(LEAF + extension + "\n")
    run(["openssl", "req", "-new", "-key", key, "-subj", subject, "-out", request])
    command = ["openssl", "x509", "-req", "-in", request, "-days", DAYS, "-CAcreateserial"]
    command += ["-CA", directory / "ca.crt", "-CAkey", directory / "ca.key"]
    command += ["-extfile", extensions, "-out", directory / f"{name}.crt"]
    run(command)
