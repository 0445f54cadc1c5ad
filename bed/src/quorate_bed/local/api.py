"""A Kubernetes API client of one page, for the few objects that the cluster itself needs.

The `kubernetes` package would be a large dependency for six calls, and kubectl costs a process of
150 MB per call, which a provisioner that looks twice a second cannot afford.
"""

import http.client
import json
import ssl
from pathlib import Path
from typing import Any

from quorate_bed.progress import BedError

Object = dict[str, Any]


class ApiError(BedError):
    def __init__(self, method: str, path: str, status: int, message: str) -> None:
        self.status = status
        super().__init__(f"{method} {path}: {status} {message}")


class Api:
    """One kept-alive connection. Not for use from several threads."""

    def __init__(self, host: str, port: int, authority: Path, token: str) -> None:
        self._host = host
        self._port = port
        self._context = ssl.create_default_context(cafile=str(authority))
        self._headers = {"Authorization": f"Bearer {token}"}
        self._connection: http.client.HTTPSConnection | None = None

    def get(self, path: str) -> Object:
        return self._call("GET", path, None, "application/json")

    def create(self, path: str, body: Object) -> Object:
        return self._call("POST", path, body, "application/json")

    def patch(self, path: str, body: Object) -> Object:
        return self._call("PATCH", path, body, "application/merge-patch+json")

    def delete(self, path: str) -> Object:
        return self._call("DELETE", path, None, "application/json")

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _call(self, method: str, path: str, body: Object | None, kind: str) -> Object:
        if self._connection is None:
            self._connection = http.client.HTTPSConnection(
                self._host, self._port, timeout=10, context=self._context
            )
        content = None if body is None else json.dumps(body)
        try:
            headers = {**self._headers, "Content-Type": kind}
            self._connection.request(method, path, content, headers)
            reply = self._connection.getresponse()
            text = reply.read()
        except (OSError, http.client.HTTPException):
            self.close()
            raise
        answer: Object = json.loads(text) if text[:1] == b"{" else {"message": text.decode()}
        if reply.status >= 300:
            raise ApiError(method, path, reply.status, str(answer.get("message")))
        return answer
