"""The HTTP Proxy over a fake port: media types, bodies, errors."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Sequence

import httpx
import pytest

from quorate_broker.api.principal import Operation, Principal, ResourceType
from quorate_broker.errors import ErrorCode, KafkaError
from quorate_broker.proxy import app, payload
from quorate_broker.proxy.payload import Refusal
from quorate_broker.proxy.port import Placed, ProxyRecord

JSON = "application/vnd.kafka.json.v2+json"
BINARY = "application/vnd.kafka.binary.v2+json"
CONTROL = "application/vnd.kafka.v2+json"


class FakePort:
    def __init__(self) -> None:
        self.ready = True
        self.records: list[ProxyRecord] = []
        self.error: Exception | None = None
        self.failing: dict[int, ErrorCode] = {}

    async def topics(self) -> list[str]:
        if self.error is not None:
            raise self.error
        return ["logs", "orders"]

    async def brokers(self) -> list[int]:
        return [1, 2, 3]

    async def produce(self, topic: str, records: Sequence[ProxyRecord]) -> list[Placed]:
        if self.error is not None:
            raise self.error
        if topic != "logs":
            raise KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, topic)
        first = len(self.records)
        self.records.extend(records)
        return [
            Placed(0, -1, self.failing[i]) if i in self.failing else Placed(0, first + i)
            for i in range(len(records))
        ]


def ask(port: FakePort, method: str, path: str, **content: object) -> httpx.Response:
    async def one() -> httpx.Response:
        proxy = app.build(port, max_body_bytes=10_000)
        transport = httpx.ASGITransport(proxy, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://q") as client:
            return await client.request(method, path, **content)  # type: ignore[arg-type]

    return asyncio.run(one())


def post(port: FakePort, body: object, form: str = JSON, topic: str = "logs") -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"Content-Type": form}
    return ask(port, "POST", f"/topics/{topic}", content=content, headers=headers)


def test_topics_and_brokers_are_listed() -> None:
    topics = ask(FakePort(), "GET", "/topics")
    assert (topics.status_code, topics.json()) == (200, ["logs", "orders"])
    assert topics.headers["content-type"] == CONTROL
    assert ask(FakePort(), "GET", "/brokers").json() == {"brokers": [1, 2, 3]}


def test_ready_is_200_or_503() -> None:
    port = FakePort()
    assert ask(port, "GET", "/status/ready").status_code == 200
    port.ready = False
    assert ask(port, "GET", "/status/ready").status_code == 503


def test_json_values_are_written_compactly_with_every_digit_kept() -> None:
    port = FakePort()
    body = b'{"records": [{"value": {"a": [1, 2.50, 12345678901234567890123], "b": "\xc3\xa9 x"}}]}'
    answer = post(port, body)
    assert (answer.status_code, answer.json()) == (
        200,
        {"offsets": [{"partition": 0, "offset": 0}]},
    )
    value = '{"a":[1,2.50,12345678901234567890123],"b":"é x"}'.encode()
    assert port.records == [ProxyRecord(None, value, None)]


def test_json_keys_partitions_and_nulls_are_taken() -> None:
    port = FakePort()
    records = [
        {"key": "k", "value": "text", "partition": 3},
        {"key": 7, "value": None},
        {"value": False},
    ]
    assert post(port, {"records": records}).status_code == 200
    assert port.records == [
        ProxyRecord(b'"k"', b'"text"', 3),
        ProxyRecord(b"7", None, None),
        ProxyRecord(None, b"false", None),
    ]


def test_binary_values_round_trip() -> None:
    port = FakePort()
    payload = bytes(range(256))
    records = [{"value": base64.b64encode(payload).decode(), "key": "a2V5"}]
    assert post(port, {"records": records}, BINARY).status_code == 200
    assert port.records == [ProxyRecord(b"key", payload, None)]


def test_a_record_that_fails_is_told_inside_a_200() -> None:
    port = FakePort()
    port.failing = {1: ErrorCode.MESSAGE_TOO_LARGE}
    answer = post(port, {"records": [{"value": 1}, {"value": 2}]})
    assert answer.status_code == 200
    assert answer.json()["offsets"] == [
        {"partition": 0, "offset": 0},
        {"partition": 0, "offset": -1, "error_code": 10, "error": "MESSAGE_TOO_LARGE"},
    ]


@pytest.mark.parametrize(
    "form", ["text/plain", "application/json", "application/vnd.kafka.avro.v2+json", ""]
)
def test_another_content_type_is_415(form: str) -> None:
    answer = post(FakePort(), {"records": [{"value": 1}]}, form)
    assert (answer.status_code, answer.json()["error_code"]) == (415, 415)


@pytest.mark.parametrize(
    "form", [f"{JSON}; charset=utf-8", "Application/VND.kafka.json.v2+JSON", f" {JSON} "]
)
def test_parameters_and_case_of_the_content_type_do_not_matter(form: str) -> None:
    assert post(FakePort(), {"records": [{"value": 1}]}, form).status_code == 200


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        (CONTROL, 200),
        ("*/*", 200),
        ("application/json", 200),
        (f"text/html, {CONTROL};q=0.5", 200),
        ("text/html", 406),
        (JSON, 406),
    ],
)
def test_an_accept_that_we_cannot_meet_is_406(accept: str, status: int) -> None:
    answer = ask(FakePort(), "GET", "/topics", headers={"Accept": accept})
    assert answer.status_code == status
    if status == 406:
        assert answer.json()["error_code"] == 406


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[]",
        b"{}",
        b'{"records": []}',
        b'{"records": [1]}',
        b'{"records": [{}]}',
        b'{"records": [{"value": 1, "partition": -1}]}',
        b'{"records": [{"value": 1, "partition": "0"}]}',
        b'{"records": [{"value": 1, "partition": 99999999999999999999}]}',
        b'{"records": [{"valeu": 1}]}',
        b'{"records": ' + b"[" * 5_000,
    ],
)
def test_a_malformed_body_is_422(body: bytes) -> None:
    answer = post(FakePort(), body)
    assert (answer.status_code, answer.json()["error_code"]) == (422, 422)
    assert answer.json()["message"]


def test_a_value_nested_deeply_is_taken_or_refused_and_nothing_worse() -> None:
    """How deep is too deep is the interpreter's to say; it must only not be its end."""
    deep = b'{"records": [{"value": ' + b"[" * 900_000 + b"]" * 900_000 + b"}]}"
    with pytest.raises(Refusal) as caught:
        payload.records(deep, payload.Format.JSON)
    assert caught.value.status == 422
    flat = payload.records(b'{"records": [{"value": [[[]]]}]}', payload.Format.JSON)
    assert flat == [ProxyRecord(None, b"[[[]]]")]


@pytest.mark.parametrize("value", ["a", "a===", "ä", 7, {"a": 1}, "YQ==\n"])
def test_what_is_not_base64_is_422(value: object) -> None:
    answer = post(FakePort(), {"records": [{"value": value}]}, BINARY)
    assert (answer.status_code, answer.json()["error_code"]) == (422, 422)


@pytest.mark.parametrize(
    ("code", "status", "number"),
    [
        (ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, 404, 40402),
        (ErrorCode.TOPIC_AUTHORIZATION_FAILED, 403, 40301),
        (ErrorCode.INVALID_TOPIC_EXCEPTION, 400, 40002),
        (ErrorCode.BROKER_NOT_AVAILABLE, 503, 50302),
        (ErrorCode.REQUEST_TIMED_OUT, 500, 50003),
        (ErrorCode.UNKNOWN_SERVER_ERROR, 500, 50002),
    ],
)
def test_kafkas_errors_have_their_codes(code: ErrorCode, status: int, number: int) -> None:
    port = FakePort()
    port.error = KafkaError(code, "no")
    for answer in (post(port, {"records": [{"value": 1}]}), ask(port, "GET", "/topics")):
        assert (answer.status_code, answer.json()["error_code"]) == (status, number)
        assert ("retry-after" in answer.headers) == (status == 503)


def test_an_unknown_topic_is_40402_and_an_unknown_path_404() -> None:
    answer = post(FakePort(), {"records": [{"value": 1}]}, topic="nope")
    assert (answer.status_code, answer.json()["error_code"]) == (404, 40402)
    answer = ask(FakePort(), "GET", "/nope")
    assert (answer.status_code, answer.json()["error_code"]) == (404, 404)
    answer = ask(FakePort(), "DELETE", "/topics")
    assert (answer.status_code, answer.json()["error_code"]) == (405, 405)


def test_our_own_bug_is_a_500_in_the_same_shape() -> None:
    port = FakePort()
    port.error = RuntimeError("boom")
    answer = post(port, {"records": [{"value": 1}]})
    assert (answer.status_code, answer.json()["error_code"]) == (500, 500)


async def endless() -> AsyncIterator[bytes]:
    while True:
        yield b"x" * 1_000


def test_a_body_that_is_too_long_is_413_also_when_it_does_not_say_its_length() -> None:
    answer = post(FakePort(), b"x" * 10_001)
    assert (answer.status_code, answer.json()["error_code"]) == (413, 413)
    answer = ask(
        FakePort(), "POST", "/topics/logs", content=endless(), headers={"Content-Type": JSON}
    )
    assert (answer.status_code, answer.json()["error_code"]) == (413, 413)


async def stalling() -> AsyncIterator[bytes]:
    yield b'{"records"'
    await asyncio.Event().wait()


def test_a_body_that_stalls_is_408(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "BODY_SECONDS", 0.01)
    answer = ask(
        FakePort(), "POST", "/topics/logs", content=stalling(), headers={"Content-Type": JSON}
    )
    assert (answer.status_code, answer.json()["error_code"]) == (408, 408)


def test_bodies_beyond_the_budget_are_503_and_the_budget_comes_back() -> None:
    """Nine requests of nearly the greatest length stall half-way; the budget is for eight."""
    body = json.dumps({"records": [{"value": "x" * 9_900}]}).encode()

    async def scenario() -> tuple[list[httpx.Response], httpx.Response]:
        go = asyncio.Event()
        arrived = asyncio.Semaphore(0)

        async def stalling() -> AsyncIterator[bytes]:
            yield body[:-1]
            arrived.release()
            await go.wait()
            yield body[-1:]

        headers = {"Content-Type": JSON}
        transport = httpx.ASGITransport(app.build(FakePort(), max_body_bytes=10_000))
        client = httpx.AsyncClient(transport=transport, base_url="http://q")
        async with client, asyncio.TaskGroup() as group:
            asked = []
            for _ in range(9):
                asked.append(
                    group.create_task(
                        client.post("/topics/logs", content=stalling(), headers=headers)
                    )
                )
            for _ in range(8):
                await arrived.acquire()
            go.set()
            answers = [await one for one in asked]
            after = await client.post("/topics/logs", content=body, headers=headers)
        return answers, after

    answers, after = asyncio.run(scenario())
    statuses = [answer.status_code for answer in answers]
    assert statuses.count(503) == 1
    assert statuses.count(200) == 8
    assert after.status_code == 200


class OnlyReads:
    def allows(
        self, principal: Principal, operation: Operation, resource: ResourceType, name: str
    ) -> bool:
        return operation is Operation.DESCRIBE and name == "orders"


def test_the_authorizer_is_asked_about_every_topic() -> None:
    async def both() -> tuple[httpx.Response, httpx.Response]:
        transport = httpx.ASGITransport(app.build(FakePort(), authorizer=OnlyReads()))
        async with httpx.AsyncClient(transport=transport, base_url="http://q") as client:
            headers = {"Content-Type": JSON}
            return await client.get("/topics"), await client.post("/topics/logs", headers=headers)

    listed, produced = asyncio.run(both())
    assert listed.json() == ["orders"]
    assert (produced.status_code, produced.json()["error_code"]) == (403, 40301)
