#!/usr/bin/env python3
"""`reverie serve` as a service: options, readiness, log-in, foreign pages, limits, TLS, settings that last, the end."""
import base64
import json
import os
import pathlib
import re
import resource
import signal
import socket
import ssl
import stat
import subprocess
import threading
import time

from serve import MODEL, PATIENCE, SANITIZED, Server, eventually, free_port, refused, run_tests
from stall import NotAllowed, Stalled
from ws_client import CLOSE, Closed, WebSocket


def basic(name, password):
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


def test_wrong_usage(folder):
    here = ["--data", folder, "--effect", "invert", "--listen"]
    refused(*here, "0.0.0.0:0", expect=2, word="--token")
    refused(*here, "[::]:0", expect=2, word="--token")
    refused(*here, "nowhere", expect=2)
    refused(*here, "127.0.0.1:99999", expect=2)
    refused("--data", folder, "--effect", "sepia", expect=2)
    refused("--data", folder, "--effect", "invert", "--size", "100x100", expect=2)
    refused("--data", folder, "--effect", "invert", "--size", "64", expect=2)
    refused("--data", folder, "--effect", "invert", "--pace", "sometimes", expect=2)
    refused("--data", folder, "--effect", "invert", "--osc", "many", expect=2)
    refused("--data", folder, "--effect", "invert", "--token", "short", expect=2)
    refused("--data", folder, "--effect", "invert", "--tls-cert", "a.pem", expect=2)
    refused("--data", folder, "--effect", "invert", "--log", "xml", expect=2)
    refused("--data", folder, "--effect", "invert", "superfluous", expect=2)
    refused("--nonsense", expect=2)
    refused("--data", folder, "--model", "no-such-model", expect=3)
    refused("--data", folder, "--effect", "invert", "--users", folder / "none", expect=3)
    refused("--data", folder, "--effect", "invert", "--web", folder / "none", expect=3)
    (folder / "users").write_text("anna:secret\nnobody\n")
    refused("--data", folder, "--effect", "invert", "--users", folder / "users", expect=3, word="users:2")
    (folder / "bad.pem").write_text("nothing")
    refused("--data", folder, "--effect", "invert", "--tls-cert", folder / "bad.pem", "--tls-key", folder / "bad.pem", expect=3)
    (folder / "file").write_text("")
    refused("--data", folder / "file" / "below", "--effect", "invert", expect=1)


def test_occupied_port(folder):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        refused("--data", folder, "--effect", "invert", "--listen", f"127.0.0.1:{other.getsockname()[1]}", expect=1)


def test_environment_and_file(folder):
    config = folder / "reverie.env"
    config.write_text("# a comment\n\nexport REVERIE_SIZE=\"256x128\"\nmax_clients = 3\nlisten=127.0.0.1:1\neffect='invert'\n")
    with Server("--config", config, effect=False) as server:  # the flag --listen wins
        assert (server.state()["width"], server.state()["height"]) == (256, 128)
    with Server("--config", config, effect=False, env={"REVERIE_SIZE": "64x64"}) as server:
        assert server.state()["width"] == 64
    config.write_text("size=64x64\nflavour=vanilla\n")
    refused("--config", config, expect=2, word="reverie.env:2")
    config.write_text("just words\n")
    refused("--config", config, expect=2, word="reverie.env:1")
    refused("--config", folder / "none", expect=3)
    refused("--data", folder, "--effect", "invert", expect=2, env={"REVERIE_UDP_PORT": "x"}, word="REVERIE_UDP_PORT")
    refused("--data", folder, "--effect", "invert", expect=2, env={"REVERIE_INSECURE": "perhaps"}, word="REVERIE_INSECURE")


def test_empty_values_are_not_given(folder):
    """As compose files and systemd units leave them: the default holds, of the environment also the file's value."""
    names = "listen size pace log share device precision osc udp-port max-clients threads token users vae record allowed-hosts".split()
    config = folder / "reverie.env"
    config.write_text("".join(f"{name}=\n" for name in names if name not in ("listen", "size")) + "size=192x64\n")
    empty = {"REVERIE_" + name.upper().replace("-", "_"): "" for name in names}
    with Server("--config", config, env=empty) as server:
        assert server.state()["width"] == 128, "the flag"
        assert server.state()["pace"] == "smooth"
    with Server("--config", config, "--effect", "invert", effect=False, env=empty) as server:
        assert server.state()["width"] == 192, "the file"
    with Server(*(f"--{name}=" for name in names if name not in ("listen", "size"))) as server:
        assert server.state()["pace"] == "smooth"
    (folder / "data").mkdir()
    refused("--data", folder / "data", "--effect", "invert", "--listen=", "--tls-cert", "a.pem", expect=2, word="--tls-key")


def test_help_names_every_option(_):
    text = subprocess.run([os.environ.get("REVERIE", "build/reverie"), "serve", "--help"], capture_output=True, check=True).stdout.decode()
    for name in ("listen data models model device precision size effect users token tls-cert tls-key tls-self-signed udp-port "
                 "osc config pace threads insecure record record-limit").split():
        assert f"--{name}" in text, name
    for line in text.splitlines():
        if re.match(r"  --(listen|data|outputs|record-limit|model|device|precision|vae|size|udp-port|osc|pace|threads|log|share)=", line):
            assert "(default: " in line, line


def test_health_and_pages(_):
    with Server() as server:
        assert server.status("/healthz") == 200 and server.status("/readyz") == 200
        assert server.status("/healthz", method="HEAD") == 200
        for path in ("/mirror", "/view"):
            status, headers, body = server.request(path)
            assert status == 200 and headers["Content-Type"].startswith("text/html") and b"<" in body, path
            assert "default-src 'self'" in headers["Content-Security-Policy"] and headers["X-Content-Type-Options"] == "nosniff"
            assert headers["Cross-Origin-Resource-Policy"] == "same-origin" and headers["Server"] == "reverie"
            again = server.request(path, headers={"If-None-Match": headers["ETag"]})
            assert again[0] == 304 and again[2] == b""
        for path in ("/nothing", "/static/", "/static/nothing.js", "/static/../meson.build", "/static/%2e%2e/meson.build",
                     "/static//etc/passwd", "/static/%2fetc/passwd", "/static/.git", "/static/mirror"):
            assert server.status(path) == 404, path
        status, headers, body = server.request("/ws")
        assert status == 426 and headers["Upgrade"] == "websocket" and json.loads(body)["error"]
        status, headers, _ = server.request("/api/stats", method="DELETE")
        assert status == 405 and headers["Allow"] == "GET"
        routes = server.json("/api/routes")
        assert {"/ws", "/api/state", "/metrics", "/set"} <= {r["path"] for r in routes} and all(r["help"] for r in routes)


def test_every_route_is_guarded(_):
    """Walks the table: without the token nothing but health and the pages' files answers."""
    with Server("--token", "sesame-sesame") as server:
        bearer = {"Authorization": "Bearer sesame-sesame"}
        for route in server.json("/api/routes", headers=bearer):
            path = route["path"].split("{")[0]
            for method in route["methods"].split(","):
                headers = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13",
                           "Sec-WebSocket-Key": "MTIzNDU2Nzg5MDEyMzQ1Ng=="} if route["websocket"] else {}
                status = server.status(path, method=method, headers=headers)
                assert (status == 401) == route["auth"], (route, status)
        assert {r["path"] for r in server.json("/api/routes", headers=bearer) if not r["auth"]} == {
            "/healthz", "/readyz", "/static/{path}", "/api/v1/login", "/api/v1/logout"}


def test_ready_only_when_warm(_):
    with Server("--model", MODEL, "--size", "64x64", "--threads", 1, effect=False, listen=f"127.0.0.1:{(port := free_port())}",
                wait=False) as server:
        server.scheme, server.host, server.port = "http", "127.0.0.1", port

        def alive():
            try:
                return server.status("/healthz") == 200
            except ConnectionError:
                return False
        eventually(alive, "the server listens")
        before = server.status("/readyz")
        server.wait_ready()
        assert server.status("/readyz") == 200
        assert before in (200, 503)
        assert server.metric("reverie_ready") == 1
        assert server.metric('reverie_device_bytes{device="auto"}') > 0


def test_broken_model_ends_the_server(folder):
    (folder / "model").mkdir()
    (folder / "model" / "model_index.json").write_text("{}")
    refused("--data", folder, "--model", folder / "model", "--listen", "127.0.0.1:0", expect=3)


def test_token(_):
    with Server("--token", "open sesame") as server:
        status, headers, _ = server.request("/api/state")
        assert status == 401 and "Basic" in headers["WWW-Authenticate"]
        assert server.status("/api/state", headers={"Authorization": "Bearer open sesame"}) == 200
        assert server.status("/api/state", headers=basic("anybody", "open sesame")) == 200
        assert server.status("/api/state?token=open%20sesame") == 200
        status, headers, _ = server.request("/mirror?token=open+sesame&debug=true", headers={"Accept": "text/html"})
        assert status == 303 and headers["Location"] == "/mirror?debug=true", dict(headers)
        cookie = headers["Set-Cookie"]
        assert "HttpOnly" in cookie and "SameSite=Lax" in cookie and "sesame" not in cookie
        value = cookie.split(";")[0]
        assert server.status("/api/state", headers={"Cookie": "other=1; " + value}) == 200
        assert server.status("/api/state", headers={"Cookie": value[:-1] + ("0" if value[-1] != "0" else "1")}) == 401
        socket_ = WebSocket(server.port, "/ws?token=open%20sesame")
        assert socket_.status == 101
        socket_.close()
        assert WebSocket(server.port, "/ws").status == 401
        assert "sesame" not in server.logs()


def test_users_and_guessing(folder):
    (folder / "users").write_text("# who\nanna:pass:word\nbert:schön\n")
    with Server("--users", folder / "users") as server:
        assert server.status("/api/state", headers=basic("anna", "pass:word")) == 200
        assert server.status("/api/state", headers=basic("bert", "schön")) == 200
        good = server.request("/mirror", headers={**basic("anna", "pass:word"), "Accept": "text/html"})[1]["Set-Cookie"].split(";")[0]
        assert server.status("/api/state", headers=basic("anna", "schön")) == 401
        assert server.status("/api/state", headers=basic("carl", "no such user")) == 401
        for _ in range(8):
            assert server.status("/api/state", headers={"Authorization": "Basic ???"}) == 401
        assert server.status("/api/state", headers=basic("anna", "pass:word")) == 429
        assert server.status("/api/state", headers={"Cookie": good}) == 200, "a visitor who is in already stays in"
        assert server.status("/api/state", headers=basic("anna", "pass:word"), source="127.0.0.2") == 200, "others are not shut out"
        assert server.status("/healthz") == 200
        assert server.metric_with({"Cookie": good}, "reverie_login_failures_total") == 10
        assert server.logs().count("login-failed") == 10, "what is refused unread fills no log"
        spoofed = {**basic("anna", "pass:word"), "X-Forwarded-For": "10.0.0.1", "Forwarded": "for=10.0.0.1"}
        assert server.status("/api/state", headers=spoofed) == 429, "who asks is not what they say"
        (folder / "users").write_text("anna has gone\n")  # not a line of a user: nothing changes, and it is said
        eventually(lambda: server.status("/api/state", headers={"Cookie": good}) == 200 and "users-not-changed" in server.logs(), "it is said")
        (folder / "users").write_text("bert:schön\n")
        eventually(lambda: server.status("/api/state", headers={"Cookie": good}) == 401, "who was removed is out")


def test_foreign_pages(_):
    with Server("--allowed-hosts", "stage.example") as server:
        own = f"http://127.0.0.1:{server.port}"
        assert server.status("/set?prompt=a", headers={"Origin": own}) == 200
        for origin in ("http://evil.example", "null", "http://127.0.0.1:1", "https://127.0.0.1", "file://"):
            assert server.status("/set?prompt=evil", headers={"Origin": origin}) == 403, origin
            assert server.status("/api/state", method="POST", body="{}", headers={"Origin": origin}) == 403, origin
            assert WebSocket(server.port, extra=[f"Origin: {origin}"]).status == 403, origin
        for site in ("cross-site", "same-site"):
            assert server.status("/prompt/evil", headers={"Sec-Fetch-Site": site}) == 403
        assert server.state()["prompt"] == "a"
        for host in ("evil.example", "evil.example:80", "127.0.0.1.evil.example"):
            assert server.status("/api/state", headers={"Host": host}) == 403, host
            assert server.status("/healthz", headers={"Host": host}) == 200, "who looks after containers has names for them"
            assert server.status("/api/v1/login", method="POST", body="{}", headers={"Host": host}) == 403, host
        for host in ("localhost", "localhost:7860", "127.0.0.1", "[::1]:1", "192.168.1.5", socket.gethostname(), "STAGE.example:8080"):
            assert server.status("/api/state", headers={"Host": host}) == 200, host
        assert "Access-Control-Allow-Origin" not in server.request("/api/state", headers={"Origin": "http://evil.example"})[1]
        for path in ("/api/state", "/offer", "/sdapi/v1/options", "/sdapi/v1/txt2img", "/api/v1/jobs"):  # what forms can send without asking
            for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=a"):
                assert server.status(path, method="POST", body="{}", headers={"Content-Type": kind}) == 415, (path, kind)
        status, headers, _ = server.request("/set?prompt=b", headers={"Origin": "https://stage.example"})
        assert status == 200 and headers["Access-Control-Allow-Origin"] == "https://stage.example"
        status, headers, _ = server.request("/api/state", "OPTIONS", headers={"Origin": "https://stage.example"})
        assert status == 204 and "POST" in headers["Access-Control-Allow-Methods"]
    with Server("--allowed-hosts", "*") as server:
        for origin in ("http://evil.example", "null", "file://"):
            assert server.status("/set?prompt=a", headers={"Origin": origin, "Host": "any.example"}) == 200, origin
            assert WebSocket(server.port, extra=[f"Origin: {origin}"]).status == 101, origin


def raw(server, data, wait=PATIENCE):
    with socket.create_connection(("127.0.0.1", server.port), timeout=wait) as connection:
        connection.sendall(data)
        reply = b""
        try:
            while chunk := connection.recv(65536):
                reply += chunk
                if b"\r\n\r\n" in reply:
                    break
        except (TimeoutError, ConnectionError):
            pass
        return reply


def flood(server, head, amount):
    """Sends a body that has no end, and goes away."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as connection:
        try:
            connection.sendall(head)
            for _ in range(amount // 65536):
                connection.sendall(b"x" * 65536)
        except ConnectionError:
            pass


def test_limits(_):
    with Server() as server:
        head = b"POST /api/state HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        huge = head + b"Content-Length: 9999999999\r\n"
        assert b" 413 " in raw(server, huge + b"Expect: 100-continue\r\n\r\n"), "refused before the body is sent"
        assert b" 413 " in raw(server, head + b"Content-Length: 1000000\r\n\r\n" + b"x" * 1000000)
        assert b" 411 " in raw(server, head + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
        for framing, status in ((b"Content-Length: 2\r\nContent-Length: 2", 400), (b"Content-Length: +2", 400), (b"Content-Length: 2, 2", 400),
                                (b"Content-Length: 2\r\nTransfer-Encoding: chunked", 411), (b"Transfer-Encoding: identity", 411),
                                (b"Content-Length: 2\r\nHost: two", 400), (b"Transfer-Encoding: xchunked", 501)):
            if SANITIZED and (b"," in framing or b"xchunked" in framing):
                continue  # libsoup answers by itself and leaks the path
            body = b"2\r\n{}\r\n0\r\n\r\n" if b": chunked" in framing else b"{}"
            reply = raw(server, head + framing + b"\r\n\r\n" + body)
            assert b" %d " % status in reply.split(b"\r\n")[0] and b"frame-ancestors" in reply, (framing, reply)
        smuggled = b"GET /set?prompt=smuggled HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
        raw(server, head + b"Transfer-Encoding: chunked\r\n\r\n" + smuggled * 3, wait=0.5)  # what follows a refused body is no request
        before = server.metric("process_resident_memory_bytes")
        for kind in (huge + b"\r\n", b"GET /nothing HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999999\r\n\r\n",
                     head + b"Transfer-Encoding: chunked\r\n\r\nfffffff0\r\n"):
            flood(server, kind, 96 << 20)
        grown = server.metric("process_resident_memory_bytes") - before
        assert SANITIZED or grown < (48 << 20), "bodies that are refused are not kept"  # a sanitizer keeps what was freed
        assert server.status("/api/state", method="POST", body="[" * 200000) == 400
        assert server.status("/api/state", method="POST", body='{"a":' * 10000) == 400
        for start in ("", '{"sdp":', '/*"*/{"sdp":', '//"\n[', "{'\"':"):  # json-glib reads comments and single quotes, too
            for path in ("/api/state", "/offer"):
                assert server.status(path, method="POST", body=start + "[" * 200000) == 400, (path, start)
        for body in ("", "7", "[]", "{", '{"prompt":', "\xff\xfe", '{"steps":"many"}', '{"prompts":{}}'):
            assert server.status("/api/state", method="POST", body=body.encode("latin-1")) == 400, body
        assert server.status("/prompt/" + "a" * 5000) == 400
        assert server.status("/prompt/" + "a" * 9000) == 414
        assert server.status("/prompt/%ff%fe") == 400 and server.status("/prompt/%00") in (200, 400)
        for data in (b"\x00" * 1000, b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\r\n" * 1000, b"GET /" + b"a" * 200000):
            raw(server, data, wait=0.3)
        assert server.status("/healthz") == 200
        assert server.state()["prompt"] == "a psychedelic landscape"


def test_too_many_clients(_):
    with Server("--max-clients", 2) as server:
        sockets = [WebSocket(server.port) for _ in range(2)]
        eventually(lambda: server.state()["clients"] == 2, "two clients")
        third = WebSocket(server.port)
        try:
            while True:
                third.receive(5)
        except Closed as closed:
            assert closed.code == 1013
        third.send(b"\x03\xf5", CLOSE)
        assert third.socket.recv(100) == b"", "that was its last word: browsers take another for a broken connection"
        third.socket.close()
        refused_here = [WebSocket(server.port) for _ in range(30)]
        silent = WebSocket(server.port)  # does not close, as it should: it is ended
        while b"\x03\xf5" not in silent.buffer:
            more = silent.socket.recv(200)
            assert more, "closed without its reason"
            silent.buffer += more
        begun = time.monotonic()
        while time.monotonic() < begun + 20 and silent.socket.recv(100):
            pass
        try:
            while time.monotonic() < begun + 60:
                silent.send(b"x")
                time.sleep(0.1)
            raise AssertionError("the connection stays")
        except ConnectionError:
            pass
        assert {closed_with(one) for one in refused_here} == {1013}
        status, _, body = server.request("/offer", "POST", json.dumps({"type": "offer", "sdp": "v=0"}))
        assert status == 429 and b"2 mirrors already" in body
        assert server.state()["clients"] == 2
        sockets[0].close()
        eventually(lambda: server.state()["clients"] == 1, "one left")
        sockets.append(WebSocket(server.port))
        eventually(lambda: server.state()["clients"] == 2, "another came")


def test_half_open_connections(_):
    with Server() as server:
        idle = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(50)]
        for connection in idle:
            connection.sendall(b"GET /api/state HTTP/1.1\r\nHost: ")
        assert server.status("/healthz") == 200
        for connection in idle:
            connection.close()


def test_connections_do_not_stay(_):
    """Clients that leave a connection open until they go, as most do, cost nothing afterwards."""
    with Server() as server:
        descriptors = pathlib.Path(f"/proc/{server.process.pid}/fd")
        server.status("/healthz")
        before = len(list(descriptors.iterdir()))
        for _ in range(40):
            assert server.status("/healthz") == 200
        eventually(lambda: len(list(descriptors.iterdir())) <= before + 4, "connections are closed")


def test_connections_leave_no_memory_behind(_):
    """A third of a kilobyte each would be 200 kB: libsoup 3.2 keeps a reference of each socket that it accepts."""
    def visit(i):
        with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as connection:
            if i % 2 == 0:  # the others leave without a word
                connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
                while connection.recv(65536):
                    pass

    def heap():
        time.sleep(0.5)  # asking takes some, too
        text = server.request("/metrics", headers={"Connection": "close"})[2].decode()
        return float(re.search(r"^reverie_heap_bytes (\S+)$", text, re.M)[1])

    with Server(env={"G_SLICE": "always-malloc"}) as server:  # GLib has an allocator of its own else
        for i in range(50):
            visit(i)
        before = heap()
        for i in range(600):
            visit(i)
        eventually(lambda: 0 < heap() < before + 100e3, "their memory is free again")


def test_more_connections_than_there_is_room_for(folder):
    """Those that wait longest make room; and a server that ran out of descriptors accepts again afterwards."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    for options, most in ((), 1040), (("--tls-self-signed",), 50):  # where hands are shaken there is less room
        with Server(*options, data=folder) as server:
            descriptors = pathlib.Path(f"/proc/{server.process.pid}/fd")
            before = len(list(descriptors.iterdir()))
            idle = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(1100)]  # and never say a word
            assert server.status("/healthz") == 200
            eventually(lambda: len(list(descriptors.iterdir())) < before + most, "the first are closed")
            for connection in idle:
                connection.close()
            eventually(lambda: len(list(descriptors.iterdir())) < before + 10, "all are closed")
            own = resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE)
            resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (len(list(descriptors.iterdir())), own[1]))
            waiting = socket.create_connection(("127.0.0.1", server.port))
            time.sleep(0.3)
            resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, own)
            assert server.status("/healthz") == 200
            server.stop()  # whom it waits for does not hold it up
            waiting.close()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_self_signed_tls(folder):
    with Server("--tls-self-signed", data=folder) as server:
        assert server.scheme == "https" and server.status("/healthz") == 200
        key, cert = folder / "self-signed.key", folder / "self-signed.crt"
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
        first = cert.read_bytes()
        context = ssl.create_default_context(cafile=str(cert))  # trusts it and checks its names
        for name in ("localhost", "127.0.0.1", socket.gethostname()):
            with socket.create_connection(("127.0.0.1", server.port)) as plain, context.wrap_socket(plain, server_hostname=name) as tls:
                days = (ssl.cert_time_to_seconds(tls.getpeercert()["notAfter"]) - time.time()) / 86400
                assert 300 < days < 825
    with Server("--tls-self-signed", data=folder) as server:
        assert cert.read_bytes() == first, "it is made once"
    with Server("--tls-cert", cert, "--tls-key", key) as server:
        assert server.scheme == "https" and server.status("/readyz") == 200
    cert.write_text("damaged")
    with Server("--tls-self-signed", data=folder) as server:
        assert cert.read_bytes() != b"damaged" and server.status("/healthz") == 200


def test_settings_last(folder):
    with Server("--pace", "off", data=folder) as server:
        assert server.state()["pace"] == "off"
        status, state = server.post({"prompts": [{"text": "ein Wald", "weight": 1}, {"text": "日本", "weight": 3}], "seed": 2**60,
                                     "steps": 3, "strength": 0.25, "opacity": 0.5, "mirror": True, "ramp_ms": 250})
        assert status == 200
    with Server("--pace", "smooth", data=folder) as server:
        again = server.state()
        for name in ("prompt", "prompts", "seed", "steps", "strength", "opacity", "mirror", "ramp_ms", "pace"):
            assert again[name] == state[name], name
        server.status("/prompt/kept%20without%20a%20goodbye")
        eventually(lambda: "goodbye" in (folder / "mirror.json").read_text(), "the settings are written by themselves")
        server.process.send_signal(signal.SIGKILL)
        server.process.wait()
    with Server(data=folder) as server:
        assert server.state()["prompts"][0]["text"] == "kept without a goodbye"
    assert not [p for p in folder.iterdir() if p.name not in ("mirror.json", "outputs") and not p.name.startswith("reverie.db")], list(folder.iterdir())


def test_damaged_settings(folder):
    for text in ("{", "[]", '{"steps": 1000}', "\0\0", "[" * 100000):
        (folder / "mirror.json").write_text(text)
        with Server(data=folder) as server:
            assert server.state()["prompt"] == "a psychedelic landscape"
            assert "settings-damaged" in server.logs()
        assert (folder / "mirror.json.bad").read_text() == text


def closed_with(client):
    try:
        while True:
            client.receive(5)
    except Closed as closed:
        client.socket.close()
        return closed.code


def test_stops_gracefully(folder):
    with Server(data=folder) as server:
        clients = [WebSocket(server.port) for _ in range(3)]
        events = socket.create_connection(("127.0.0.1", server.port))
        events.sendall(b"GET /api/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        eventually(lambda: server.state()["clients"] == 3, "three clients")
        server.status("/seed/4711")
        server.process.send_signal(signal.SIGTERM)
        assert [closed_with(client) for client in clients] == [1001] * 3
        assert server.process.wait(PATIENCE) == 0
        assert json.loads((folder / "mirror.json").read_text())["seed"] == 4711


def test_stops_while_nobody_listens_to_it(_):
    """A peer that never closes its side cannot hold the server up."""
    with Server() as server:
        stuck = WebSocket(server.port)
        eventually(lambda: server.state()["clients"] == 1, "a client")
        server.stop()
        stuck.socket.close()


class Notifications:
    """What a service manager is told, read all the time as it does."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.messages = []
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        while True:
            self.messages.append(self.socket.recv(1000).decode())

    def wait_for(self, beginning, count=1):
        eventually(lambda: sum(m.startswith(beginning) for m in self.messages) >= count, f"{count} {beginning}")


def test_begins_anew(folder):
    """SIGUSR2: another process in the place of this one, which nobody is turned away from meanwhile."""
    manager = Notifications(folder / "notify")
    with Server("--token", "correct-horse", data=folder, env={"NOTIFY_SOCKET": str(folder / "notify")}) as server:
        entry = {"headers": basic("me", "correct-horse")}
        assert server.status("/seed/4711", **entry) == 200
        for _ in range(2):
            client = WebSocket(server.port, path="/ws?token=correct-horse")
            assert client.status == 101
            server.process.send_signal(signal.SIGUSR2)
            assert closed_with(client) == 1001
            answers = [server.status("/healthz") for _ in range(20)]
            assert set(answers) == {200}, answers
            eventually(lambda: server.status("/readyz") == 200, "ready again")
            assert server.json("/api/state", **entry)["seed"] == 4711
            assert server.process.poll() is None, "for the system it is the same process"
        assert server.logs().count("restarting why=signal") == 2 and server.logs().count(f"listening url=http://127.0.0.1:{server.port}") == 3
        open_files = os.listdir(f"/proc/{server.process.pid}/fd")
        server.process.send_signal(signal.SIGUSR2)
        eventually(lambda: server.logs().count("device-ready") == 4, "ready once more")
        assert len(os.listdir(f"/proc/{server.process.pid}/fd")) <= len(open_files) + 2, "nothing is left open"
        manager.wait_for("READY=1", 4)
        server.stop()
    manager.wait_for("STOPPING=1")
    told = [message.split("\n")[0] for message in manager.messages]
    assert told == ["READY=1"] + ["RELOADING=1", "READY=1"] * 3 + ["STOPPING=1"], told


def test_begins_anew_whatever_hangs(_):
    """The main thread stands still in the middle of it, as in a driver's call that never returns."""
    with Server() as server:
        held = WebSocket(server.port)  # does not close its side, so that closing takes a moment
        eventually(lambda: server.state()["clients"] == 1, "a client")
        server.process.send_signal(signal.SIGUSR2)
        eventually(lambda: "restarting why=signal" in server.logs(), "it begins anew")
        try:
            Stalled(server.process.pid).__enter__()  # for good: that thread ends with its process
        except NotAllowed as error:
            print(f"# not shown: {error}")
            return
        eventually(lambda: "stopped-hard" in server.logs(), "it is left behind")
        assert server.status("/healthz") == 200 and server.process.poll() is None
        held.socket.close()


def test_systemd(folder):
    manager = Notifications(folder / "notify")
    with Server(env={"NOTIFY_SOCKET": str(folder / "notify"), "WATCHDOG_USEC": "200000"}) as server:
        manager.wait_for("READY=1")
        beats = manager.messages.count("WATCHDOG=1")
        manager.wait_for("WATCHDOG=1", beats + 3)
        assert "STOPPING=1" not in manager.messages
        server.stop()
    manager.wait_for("STOPPING=1")


def test_json_logs(_):
    with Server("--log", "json") as server:
        server.status("/healthz")
        client = WebSocket(server.port)
        eventually(lambda: server.state()["clients"] == 1, "a client")
        client.close()
        eventually(lambda: "client-close" in server.logs(), "the log line")
        lines = [json.loads(line) for line in server.logs().splitlines()]
        opened = [line for line in lines if line["event"] == "client-open"]
        assert len(opened) == 1 and opened[0]["transport"] == "ws" and opened[0]["level"] == "info"


def metric_with(self, headers, line):
    text = self.request("/metrics", headers=headers)[2].decode()
    return float(next(row.split()[1] for row in text.splitlines() if row.startswith(line + " ")))


Server.metric_with = metric_with

if __name__ == "__main__":
    run_tests(globals())
