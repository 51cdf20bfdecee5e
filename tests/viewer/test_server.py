"""The server against foreign pages, prying paths, crowds, and clients that never read or never finish."""

import http.client
import json
import socket
import threading
import time

import psutil
import pytest
import viewer_logs

from nanopilot.viewer import server as server_module
from nanopilot.viewer.index import Index
from nanopilot.viewer.server import CONNECTIONS, STATIC, TIMEOUT, Server


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    index = Index(viewer_logs.write(tmp_path_factory.mktemp("log") / "a.mcap", 3))
    while index.grow():
        pass
    return index


@pytest.fixture
def server(index):
    with Server("127.0.0.1", 0, index) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def ask(server, path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
    client = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=5)
    client.request(method, path, headers=headers)
    answer = client.getresponse()
    body = answer.read()
    client.close()
    return answer.status, dict(answer.getheaders()), body


def raw(server, text: bytes) -> bytes:
    """What comes back for exactly these bytes."""
    with socket.create_connection(server.server_address, timeout=5) as client:
        client.sendall(text)
        client.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: client.recv(65536), b""))


def test_every_file_of_the_page_is_served_with_its_type_and_may_load_nothing_foreign(server):
    for path in STATIC.iterdir():
        status, headers, body = ask(server, f"/{path.name}")
        assert status == 200 and body == path.read_bytes()
        assert headers["Content-Type"].startswith(server_module.TYPES[path.suffix])
        assert "default-src 'none'" in headers["Content-Security-Policy"] and headers["X-Content-Type-Options"] == "nosniff"
    assert ask(server, "/")[2] == (STATIC / "index.html").read_bytes()
    assert not [p for p in STATIC.iterdir() if "://" in p.read_text().replace("http://www.w3.org/2000/svg", "")]


def test_the_api_tells_the_log(server):
    summary = json.loads(ask(server, "/api/log")[2])
    assert (summary["name"], summary["state"], len(summary["times"])) == ("a.mcap", "whole", 60)
    assert [e["text"] for e in summary["events"] if e["source"] == "warning"] == ["forward collision: 1.9 s to the car ahead"]
    assert len(json.loads(ask(server, "/api/log?since=2.0")[2])["times"]) == 19
    step = json.loads(ask(server, "/api/step?t=2.2")[2])
    assert step["/car"]["t"] == 2.2 and step["/warning"]["kind"] == "forward_collision"
    status, headers, jpeg = ask(server, "/api/picture?t=2.2&camera=/camera/front")
    assert (status, headers["Content-Type"], jpeg[:3]) == (200, "image/jpeg", b"\xff\xd8\xff")


NONSENSE = ["step?t=nan", "step?t=inf", "step", "step?t=1e999", "step?t=x", "picture?t=", "log?since=-1e300", "log?" + "a=1&" * 50]


@pytest.mark.parametrize("query", NONSENSE)
def test_a_query_that_makes_no_sense_is_a_bad_request(server, query):
    assert ask(server, f"/api/{query}")[0] == 400


@pytest.mark.parametrize("path", ["/api/step?t=-5", "/api/picture?t=99", "/api/picture?t=1&camera=/etc/passwd", "/api", "/nothing"])
def test_what_is_not_there_is_not_found(server, path):
    assert ask(server, path)[0] == 404


@pytest.mark.parametrize(
    "path",
    ["/../__init__.py", "/static/../server.py", "/..%2fserver.py", "/%2e%2e/server.py", "//etc/passwd", "/./index.html", "/a.mcap",
     "/index.html/", "/\\..\\server.py", "/index.html%00.js", "/" + "../" * 20 + "etc/passwd", "http://127.0.0.1/../server.py"],
)  # fmt: skip
def test_no_path_leaves_the_pages_own_files(server, path):
    answer = raw(server, f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
    assert answer.split()[1] == b"404"
    assert b"import" not in answer and b"root:" not in answer


@pytest.mark.parametrize(
    "host, status",
    [("127.0.0.1:8770", 200), ("127.0.0.1", 200), ("localhost:1", 200), ("LOCALHOST", 200), ("[::1]:8770", 200),
     ("evil.example", 421), ("evil.example:8770", 421), ("127.0.0.1.evil.example", 421), ("localhost.evil.example", 421),
     ("192.168.1.7", 421), ("0.0.0.0", 421),
     ("", 421), ("127.0.0.1:1:evil", 421), ("[", 421)],
)  # fmt: skip
def test_only_a_host_header_that_names_this_machine_is_answered(server, host, status):
    assert ask(server, "/api/log", Host=host)[0] == status


def test_no_host_header_or_two_of_them_are_refused(server):
    assert raw(server, b"GET / HTTP/1.0\r\n\r\n").split()[1] == b"421"
    assert raw(server, b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\nConnection: close\r\n\r\n").split()[1] == b"421"


def test_a_server_for_others_takes_addresses_and_its_own_name_but_no_foreign_name(index):
    with Server("0.0.0.0", 0, index) as server:
        assert server.knows("192.168.1.7:8770") and server.knows("localhost") and server.knows("[fe80::1]:8770")
        assert not server.knows("evil.example") and not server.knows("")


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"])
def test_other_methods_are_refused(server, method):
    status, headers, _ = ask(server, "/api/log", method)
    assert status == 405 and headers["Allow"] == "GET, HEAD"


def test_head_is_get_without_the_body(server):
    whole, head = ask(server, "/api/step?t=1"), ask(server, "/api/step?t=1", "HEAD")
    assert head[0] == 200 and head[2] == b"" and head[1]["Content-Length"] == str(len(whole[2]))


@pytest.mark.parametrize(
    "junk", [b"\x16\x03\x01\x02\x00\x01\x00", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"A" * 70_000, b"\r\n" * 3, b""]
)
def test_junk_is_survived(server, junk):
    raw(server, junk)
    assert ask(server, "/")[0] == 200


def test_a_thousand_page_loads_leave_nothing_behind(server):
    process = psutil.Process()
    for k in range(1000):
        if k == 100:  # after the first ones everything is loaded
            threads, files, memory = threading.active_count(), process.num_fds(), process.memory_info().rss
        client = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=5)
        for path in ("/", "/main.js", "/api/log?since=2.5"):
            client.request("GET", path)
            answer = client.getresponse()
            assert answer.status == 200 and answer.read()
        client.close()
    time.sleep(0.2)
    assert threading.active_count() <= threads + 2 and process.num_fds() <= files + 4
    assert process.memory_info().rss < memory + 20e6


def flood(server, count: int, request: bytes) -> list[socket.socket]:
    clients = []
    for _ in range(count):
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(server.server_address)
        client.sendall(request)
        clients.append(client)
    return clients


NEVER_READ = b"GET /main.js HTTP/1.1\r\nHost: localhost\r\n\r\n" * 200  # some megabytes of answers


@pytest.mark.parametrize("request_", [NEVER_READ, b"GET / HT", b""], ids=["never reads", "never finishes", "never speaks"])
def test_a_crowd_of_stuck_clients_keeps_nobody_out(server, request_):
    clients = flood(server, CONNECTIONS + 30, request_)
    start = time.monotonic()
    assert ask(server, "/api/step?t=1")[0] == 200
    assert time.monotonic() - start < TIMEOUT  # it did not wait for the stuck ones to be given up
    assert len(server._open) <= CONNECTIONS
    for client in clients:
        client.close()


@pytest.mark.parametrize("request_", [NEVER_READ, b"GET / HT"], ids=["never reads", "never finishes"])
def test_a_stuck_client_is_dropped_after_a_while(server, request_, monkeypatch):
    monkeypatch.setattr(server_module.Handler, "timeout", 0.2)
    (client,) = flood(server, 1, request_)
    deadline = time.monotonic() + 5
    while not server._open:
        time.sleep(0.01)
    while server._open and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not server._open
    client.close()
