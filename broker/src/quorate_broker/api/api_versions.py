"""ApiVersions (18): what this broker can be asked.

The one API that every client asks first and in whatever version it likes best; a version that is
not known is answered with UNSUPPORTED_VERSION in a v0 body that lists the range to choose from
(`net.connection` calls `failed` for that). The table itself is `wire.apis`, which also holds why
Produce says that it begins at 0. Source: KIP-35, KIP-511.
"""

from __future__ import annotations

import re

from quorate_broker.api.context import Call, Context
from quorate_broker.errors import ErrorCode
from quorate_broker.wire import apis
from quorate_broker.wire.messages import api_versions

_SOFTWARE = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?", re.ASCII)
_SOFTWARE_SINCE_VERSION = 3


def handle(
    context: Context, call: Call, request: api_versions.ApiVersionsRequest
) -> api_versions.ApiVersionsResponse:
    if call.version >= _SOFTWARE_SINCE_VERSION and not (
        _SOFTWARE.fullmatch(request.client_software_name)
        and _SOFTWARE.fullmatch(request.client_software_version)
    ):
        return api_versions.ApiVersionsResponse(error_code=ErrorCode.INVALID_REQUEST)
    return api_versions.ApiVersionsResponse(error_code=0, api_keys=_TABLE)


def failed(call: Call, request: object, code: ErrorCode) -> api_versions.ApiVersionsResponse:
    """With the table all the same: whoever chose a bad version chooses again from it."""
    return api_versions.ApiVersionsResponse(error_code=code, api_keys=_TABLE)


_TABLE = [
    api_versions.ApiVersion(
        api_key=api.key, min_version=api.min_version, max_version=api.max_version
    )
    for api in apis.APIS.values()
]
