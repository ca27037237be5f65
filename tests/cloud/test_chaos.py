"""The chaos proxy against a real HTTP server: each fault is what its name says."""

import asyncio
import http.server
import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from tests.fakes.cloud.chaos import CLOUD_FAULTS, S3_FAULTS, SUPABASE_FAULTS, ChaosProxy
from tests.fakes.waiting import eventually, wait_until

SHORT = httpx.Timeout(10.0, read=0.3)  # for answers that never come
CUT = (httpx.NetworkError, httpx.RemoteProtocolError)  # which one depends on what the client was doing
BODY = b"0123456789" * 1000


class Recorder(http.server.BaseHTTPRequestHandler):
    """Keeps what it is sent, and sends it back."""

    protocol_version = "HTTP/1.1"

    def do_PUT(self) -> None:
        length = int(self.headers.get("content-length", -1))
        got = self.rfile.read(length) if length >= 0 else b"".join(self.chunks())
        self.server.got.append((self.path, got, length))  # type: ignore[attr-defined]
        if len(got) < length:
            self.close_connection = True
            return
        self.send_response(200)
        self.send_header("content-length", str(len(got)))
        self.end_headers()
        self.wfile.write(got)

    def chunks(self) -> Iterator[bytes]:
        while size := int(self.rfile.readline(), 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()

    def do_GET(self) -> None:
        self.server.got.append((self.path, b"", 0))  # type: ignore[attr-defined]
        self.send_response(200)
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        self.wfile.write(b"4\r\nabcd\r\n3;x=y\r\nefg\r\n0\r\n\r\n")

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.send_header("content-length", "12345")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


class Origin(http.server.ThreadingHTTPServer):
    """The server behind the proxy; `got` is every request's path, body, and the length it had been promised."""

    daemon_threads = True
    request_queue_size = 100
    got: list[tuple[str, bytes, int]]

    def handle_error(self, *_: Any) -> None:
        pass  # connections that the proxy cut


@pytest.fixture
def origin() -> Iterator[Origin]:
    server = Origin(("127.0.0.1", 0), Recorder)
    server.got = []
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def net(origin: Origin) -> Iterator[ChaosProxy]:
    with ChaosProxy(f"http://127.0.0.1:{origin.server_port}") as proxy:
        yield proxy


@pytest.fixture
def client(net: ChaosProxy) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=net.url, timeout=SHORT, trust_env=False) as made:
        yield made


def test_a_proxy_without_faults_changes_nothing(client: httpx.Client, net: ChaosProxy) -> None:
    assert client.put("/a?b=c", content=BODY).content == BODY
    assert client.get("/chunked").text == "abcdefg"
    assert client.head("/head").headers["content-length"] == "12345"
    assert client.put("/chunked-up", content=iter([b"a", b"bc"])).content == b"abc"
    assert [(one.method, one.target, one.status) for one in net.seen()] == [
        ("PUT", "/a?b=c", 200), ("GET", "/chunked", 200), ("HEAD", "/head", 200), ("PUT", "/chunked-up", 200)]
    assert net.seen("PUT")[0].up > len(BODY)
    assert net.seen("PUT")[0].down > len(BODY)
    assert net.count("PUT") == 2
    assert net.count(target=r"b=c") == 1
    assert net.up == sum(one.up for one in net.seen())
    assert all(one.ended and one.ended >= one.began for one in net.seen())


def test_a_refused_connection_is_refused_until_it_heals(client: httpx.Client, net: ChaosProxy) -> None:
    assert client.get("/").is_success
    net.refuse()
    for _ in range(2):
        with pytest.raises(CUT):
            client.get("/")
    with httpx.Client(trust_env=False) as new, pytest.raises(httpx.ConnectError):
        new.get(net.url)
    net.heal()
    assert client.get("/").is_success


def test_a_reset_connection_is_reset(client: httpx.Client, net: ChaosProxy, origin: Origin) -> None:
    net.reset()
    with pytest.raises(CUT):
        client.put("/", content=BODY)
    assert origin.got == []
    net.heal()
    assert client.get("/").is_success


def test_a_black_hole_accepts_and_says_nothing(client: httpx.Client, net: ChaosProxy, origin: Origin) -> None:
    assert client.get("/open").is_success
    net.hang()
    with pytest.raises(httpx.ReadTimeout):
        client.get("/on-an-open-connection")
    with httpx.Client(timeout=SHORT, trust_env=False) as new, pytest.raises(httpx.ReadTimeout):
        new.get(f"{net.url}/new")
    net.heal()
    assert client.get("/after").is_success
    assert [path for path, *_ in origin.got] == ["/open", "/after"]


def test_a_request_that_hangs_is_over_when_the_network_heals(net: ChaosProxy) -> None:
    net.hang()
    result: list[BaseException] = []

    def ask() -> None:
        try:
            httpx.get(net.url, timeout=60, trust_env=False)
        except httpx.HTTPError as error:
            result.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    wait_until(lambda: net._held, what="the connection to hang")
    net.heal()
    thread.join(60)
    assert isinstance(result[0], CUT)


def test_a_cut_request_reaches_the_server_in_part(client: httpx.Client, net: ChaosProxy, origin: Origin) -> None:
    fault = net.cut_request(after=1234, times=1)
    with pytest.raises(CUT):
        client.put("/cut", content=BODY)
    wait_until(lambda: origin.got, what="the server to notice")
    assert origin.got == [("/cut", BODY[:1234], len(BODY))]
    assert fault.hits == 1
    assert client.put("/whole", content=BODY).content == BODY


def test_a_request_can_hang_in_its_body(client: httpx.Client, net: ChaosProxy, origin: Origin) -> None:
    net.hang_request(after=100, method="PUT")
    with pytest.raises((httpx.ReadTimeout, httpx.WriteTimeout)):
        client.put("/hung", content=BODY)
    assert client.get("/").is_success
    net.heal()
    wait_until(lambda: len(origin.got) == 2, what="the server to notice")
    assert ("/hung", BODY[:100], len(BODY)) in origin.got


def test_a_server_has_acted_when_its_answer_is_cut(client: httpx.Client, net: ChaosProxy, origin: Origin) -> None:
    net.cut_answer(times=1)
    with pytest.raises(CUT):
        client.put("/done", content=BODY)
    assert origin.got == [("/done", BODY, len(BODY))]
    assert net.seen()[0].status is None


def test_an_answer_can_be_cut_in_its_middle(client: httpx.Client, net: ChaosProxy) -> None:
    net.cut_answer(after=500, clean=True)
    with pytest.raises(httpx.RemoteProtocolError, match="without sending complete"):
        client.put("/", content=BODY)
    assert net.seen()[0].down == 500


def test_a_server_has_acted_when_its_answer_is_swallowed(client: httpx.Client, net: ChaosProxy, origin: Origin) -> None:
    net.hang_answer(times=1)
    with pytest.raises(httpx.ReadTimeout):
        client.put("/done", content=BODY)
    assert origin.got == [("/done", BODY, len(BODY))]


async def test_a_continue_can_be_withheld(net: ChaosProxy, origin: Origin) -> None:
    async def ask() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", net.port)
        writer.write(b"PUT /c HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\nexpect: 100-continue\r\n\r\n")
        return reader, writer

    reader, writer = await ask()
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100")
    writer.write(b"abc")
    assert b" 200 " in await reader.readuntil(b"\r\n\r\n")
    writer.close()
    fault = net.withhold_continue()
    reader, writer = await ask()

    async def held() -> bool:
        return bool(net._held)

    await eventually(held, what="the continue to be withheld")
    assert fault.hits == 1
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.read(1), 0.1)
    writer.close()
    assert [path for path, *_ in origin.got] == ["/c"]


async def test_a_body_that_waits_to_be_asked_for_is_cut_in_its_middle_too(net: ChaosProxy, origin: Origin) -> None:
    net.cut_request(after=1000)
    reader, writer = await asyncio.open_connection("127.0.0.1", net.port)
    writer.write(b"PUT /c HTTP/1.1\r\nhost: x\r\ncontent-length: 5000\r\nexpect: 100-continue\r\n\r\n")
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100")
    writer.write(bytes(2000))
    with pytest.raises(ConnectionResetError):
        await reader.read()
    writer.close()

    async def noticed() -> bool:
        return bool(origin.got)

    await eventually(noticed, what="the server to notice")
    assert origin.got == [("/c", bytes(1000), 5000)]


def test_a_slow_network_is_as_slow_as_it_is_told(client: httpx.Client, net: ChaosProxy) -> None:
    net.slow(100_000)
    with httpx.Client(timeout=60, trust_env=False) as patient:
        answer = patient.put(f"{net.url}/", content=BODY * 5)
    assert answer.content == BODY * 5
    seen = net.seen()[0]
    assert seen.ended
    assert seen.ended - seen.began > 0.8 * (seen.up + seen.down) / 100_000
    net.heal()
    assert client.put("/", content=BODY * 50).is_success


CANNED: list[tuple[str, int, str]] = [
    ("bad_gateway", 502, "<html>"), ("portal", 200, "<html>"), ("redirect", 302, ""), ("too_many", 429, "Too many"),
    ("truncated_json", 200, '[{"id"'), ("jwt_expired", 401, "PGRST303"), ("bad_api_key", 401, "Invalid API key"),
    ("denied", 403, "42501"), ("s3_expired", 403, "<Code>ExpiredToken"), ("s3_denied", 403, "<Code>AccessDenied"),
    ("s3_bad_key", 403, "<Code>InvalidAccessKeyId"),
]


@pytest.mark.parametrize(("name", "status", "text"), CANNED)
def test_an_answer_in_the_servers_place_never_reaches_the_server(
        name: str, status: int, text: str, client: httpx.Client, net: ChaosProxy, origin: Origin) -> None:
    getattr(net, name)(method="PUT")
    answer = client.put("/", content=BODY)
    assert answer.status_code == status
    assert text in answer.text
    assert origin.got == []
    assert net.seen()[0].status == status
    if name == "too_many":
        assert answer.headers["retry-after"] == "1"
    if name == "redirect":
        assert answer.headers["location"]


def test_a_fault_strikes_only_what_matches_and_as_often_as_told(client: httpx.Client, net: ChaosProxy) -> None:
    fault = net.bad_gateway(method="PUT", target=r"^/films/.*part=2", skip=1, times=2)

    def put(target: str) -> int:
        return client.put(target, content=b"x").status_code

    assert client.get("/films/a?part=2").status_code == 200
    assert put("/films/a?part=1") == 200
    assert [put("/films/a?part=2") for _ in range(4)] == [200, 502, 502, 200]
    assert fault.hits == 2
    assert [one.fault for one in net.seen()].count(fault) == 2
    other = net.bad_gateway()
    assert put("/") == 502
    net.forget(other)
    assert put("/") == 200


def test_the_longest_gap_is_that_between_answers_that_were_good(client: httpx.Client, net: ChaosProxy) -> None:
    assert net.longest_gap_s("PUT") == 0
    client.put("/beat")
    net.bad_gateway()
    client.put("/beat")
    net.heal()
    client.put("/beat")
    first, _, last = net.seen("PUT", "beat")
    assert first.ended
    assert last.ended
    assert net.longest_gap_s("PUT", "beat") == last.ended - first.ended


@pytest.mark.parametrize("name", [*SUPABASE_FAULTS, *(f"S3: {name}" for name in S3_FAULTS if name not in CLOUD_FAULTS)])
def test_every_named_fault_does_harm_and_heals(name: str, net: ChaosProxy, client: httpx.Client) -> None:
    faults: dict[str, Callable[[ChaosProxy], object]] = S3_FAULTS if name.startswith("S3: ") else SUPABASE_FAULTS
    net_fault = faults[name.removeprefix("S3: ")]
    net_fault(net)
    try:
        answer = client.put("/", content=BODY * 10, headers={"expect": "100-continue"})
        harmless = answer.status_code == 200 and answer.content == BODY * 10
    except httpx.HTTPError:
        harmless = False
    assert not harmless
    net.heal()
    assert client.put("/", content=BODY).content == BODY


def test_many_requests_at_once_pass_and_the_proxy_ends_with_connections_open(net: ChaosProxy) -> None:
    async def ask() -> None:
        async with httpx.AsyncClient(base_url=net.url, trust_env=False, timeout=60) as client:
            answers = await asyncio.gather(*(client.put(f"/{number}", content=BODY * 20) for number in range(40)))
            assert all(answer.content == BODY * 20 for answer in answers)
            net.end()
            with pytest.raises(httpx.HTTPError):
                await client.get("/")

    asyncio.run(ask())
