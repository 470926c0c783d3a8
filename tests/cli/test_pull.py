"""`reverie models pull` against servers that drop connections, lie and refuse: what arrives is right or not there."""
import hashlib
import http.server
import json
import pathlib
import re
import resource
import signal
import struct
import subprocess
import threading
import time

from common import BINARY, ERROR_LINE, MODEL, environment, run_tests, tree
from terminal import run_in_terminal

FILE = "big.safetensors"
PART, MARK = FILE + ".part", FILE + ".part.etag"
PULL = f"/some/repo/resolve/main/{FILE}"


def weights(numbers, fill=1):
    header = json.dumps({"w": {"dtype": "U8", "shape": [numbers], "data_offsets": [0, numbers]}}).encode()
    return struct.pack("<Q", len(header)) + header + bytes((fill + i * 7) & 255 for i in range(numbers))


BODY = weights(300_000)
SUM = hashlib.sha256(BODY).hexdigest()


class Server:
    """Files by path, each with manners; `log` holds (path, headers) of every request."""

    def __init__(self):
        self.files, self.log, self.acts = {}, [], {}
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_GET(self):
                outer.log.append((self.path, {k.lower(): v for k, v in self.headers.items()}))
                acts = outer.acts.get(self.path)
                try:
                    if acts:
                        return (acts.pop(0) if len(acts) > 1 else acts[0])(self)
                    self.plain()
                except OSError:
                    self.close_connection = True

            def answer(self, status, body=b"", length=None, **headers):
                self.send_response(status)
                self.send_header("Content-Length", str(len(body) if length is None else length))
                for key, value in headers.items():
                    self.send_header(key.replace("_", "-"), str(value))
                self.end_headers()
                self.wfile.write(body)
                if length is not None and length != len(body):
                    self.close_connection = True

            def first(self):
                match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
                return int(match[1]) if match else 0

            def plain(self, etag='"v1"', cut=None):
                """As a good server does; `cut`: the connection ends after so many bytes of this answer."""
                body = outer.files.get(self.path)
                if body is None:
                    return self.answer(404)
                start, extra = self.first(), {"ETag": etag} if etag else {}
                if self.headers.get("If-Range") not in (None, etag):
                    start = 0
                if start >= len(body) and start:
                    return self.answer(416, Content_Range=f"bytes */{len(body)}")
                if start:
                    extra["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
                piece = body[start:]
                self.answer(206 if start else 200, piece[:cut], len(piece), **extra)

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.handle_error = lambda *_: None  # clients that leave are part of the tests
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def ranges(self, path=PULL):
        return [headers.get("range") for where, headers in self.log if where == path]


def big(*acts, body=BODY):
    server = Server()
    server.files[PULL] = body
    if acts:
        server.acts[PULL] = list(acts)
    return server


def cut(size, **options):
    return lambda handler: handler.plain(cut=size, **options)


def good(handler):
    handler.plain()


def command(folder, server, what=f"hf:some/repo:{FILE}", *options):
    return [BINARY, "models", "pull", what, "--models", str(folder), "--mirror", server.url, "--retry-wait", "0.01",
            *map(str, options)]


def pull(folder, server, *options, what=f"hf:some/repo:{FILE}", expect=0, says=(), env=None, **more):
    clean = {"HF_TOKEN": "", "HF_ENDPOINT": "", "REVERIE_MIRROR": "", "no_proxy": "*", **(env or {})}
    result = subprocess.run(command(folder, server, what, *options), capture_output=True, timeout=60, env=environment(clean), **more)
    result.error = result.stderr.decode()
    assert result.returncode == expect, (result.returncode, result.error)
    if expect not in (0, 5):
        assert ERROR_LINE.fullmatch(result.error.splitlines()[-1]), result.error
    for words in [says] if isinstance(says, str) else says:
        assert words in result.error, (words, result.error)
    return result


def whole(folder, body=BODY):
    assert (folder / FILE).read_bytes() == body
    assert tree(folder) == {FILE}, tree(folder)


def test_file(folder):
    server = big()
    line = json.loads(pull(folder, server, "--json", "--sha256", SUM.upper(), says="licence").stdout)
    whole(folder)
    assert line["path"] == str(folder / FILE) and line["bytes"] == len(BODY) and line["files"][0]["sha256"] == SUM, line
    assert pull(folder, server, "--json", "--sha256", SUM).stdout and len(server.log) == 1, "what is there is not fetched again"
    (folder / FILE).write_bytes(b"damaged")
    pull(folder, server, "--sha256", SUM)
    whole(folder)


def test_dropped_connections(folder):
    server = big(cut(100_000), cut(50_000), cut(0), good)
    result = pull(folder, server, "--json")
    whole(folder)
    assert server.ranges() == [None, "bytes=100000-", "bytes=150000-", "bytes=150000-"], server.ranges()
    assert server.log[1][1]["if-range"] == '"v1"' and "again in" in result.error
    dead = big(cut(1000), cut(0))
    pull(folder / "dead", dead, "--retries", 2, expect=1, says="is kept")
    assert (folder / "dead" / PART).stat().st_size == 1000 and len(dead.log) == 3, len(dead.log)


def test_resume_after_the_process_ended(folder):
    server = big(cut(120_000))
    pull(folder, server, "--retries", 0, expect=1)
    assert tree(folder) == {PART, MARK} and (folder / PART).read_bytes() == BODY[:120_000]
    server.acts.clear()
    line = json.loads(pull(folder, server, "--json").stdout)
    whole(folder)
    assert server.ranges()[-1] == "bytes=120000-" and line["files"][0]["resumed"] == 120_000


def test_changed_file_starts_anew(folder):
    server = big(cut(120_000))
    pull(folder, server, "--retries", 0, expect=1)
    other = server.files[PULL] = weights(200_000, 9)
    server.acts[PULL] = [lambda handler: handler.plain(etag='"v2"')]
    pull(folder, server)
    whole(folder, other)


def test_unknown_version_starts_anew(folder):
    server = big(cut(120_000, etag=None), good)
    pull(folder, server)
    whole(folder)
    assert server.ranges() == [None, None], "nothing could tell whether the file is still the same"
    weak = big(cut(120_000, etag='W/"v1"'), good)
    pull(folder / "weak", weak)
    assert weak.ranges() == [None, None]
    known = big(cut(120_000, etag=None), good)
    pull(folder / "known", known, "--sha256", SUM)
    assert known.ranges() == [None, "bytes=120000-"], "a checksum tells"


def test_lies_about_ranges(folder):
    def all_of_it(handler):
        handler.answer(200, BODY, ETag='"v1"')

    def elsewhere(handler):
        start = handler.first() - 1000
        handler.answer(206, BODY[start:], ETag='"v1"', Content_Range=f"bytes {start}-{len(BODY) - 1}/{len(BODY)}")

    def nonsense(handler):
        handler.answer(206, BODY[handler.first():], ETag='"v1"', Content_Range="bytes x-y/z")

    def satisfied(handler):
        handler.answer(416, Content_Range=f"bytes */{len(BODY) - 5}")

    def shorter(handler):
        start = handler.first()
        handler.answer(206, BODY[start:start + 10_000], ETag='"v1"', Content_Range=f"bytes {start}-{start + 9999}/{len(BODY)}")
    for number, lie in enumerate((all_of_it, elsewhere, nonsense, satisfied, shorter)):
        server = big(cut(120_000), lie, good)
        pull(folder / str(number), server)
        whole(folder / str(number))
    unasked = big(lambda handler: handler.answer(206, BODY[5:], Content_Range=f"bytes 5-{len(BODY) - 1}/{len(BODY)}"))
    pull(folder / "unasked", unasked, expect=1, says="ranges")
    assert tree(folder / "unasked") == set() and len(unasked.log) < 10


def test_wrong_lengths(folder):
    other = weights(1000)
    server = repository({"vae/a.txt": b""})
    server.acts["/some/repo/resolve/main/unet/config.json"] = [lambda handler: handler.answer(200, b"{}" * 5000)]
    pull(folder, server, what="hf:some/repo", expect=3, says="announced")
    assert not (folder / "repo" / "model_index.json").exists()

    def chunked(handler):  # more than the range said, without a length
        start = handler.first()
        handler.send_response(206)
        handler.send_header("Content-Range", f"bytes {start}-{len(BODY) - 1}/{len(BODY)}")
        handler.send_header("Connection", "close")
        handler.end_headers()
        handler.wfile.write(BODY[start:] + other)
        handler.close_connection = True
    pull(folder, big(cut(120_000), chunked), expect=3, says="more than")


def test_checksums(folder):
    wrong = "0" * 64
    pull(folder, big(), "--sha256", wrong, expect=3, says=["SHA-256", SUM, wrong])
    assert tree(folder) == set(), "bad bytes are not kept"
    linked = big(lambda handler: handler.answer(200, BODY, X_Linked_Etag=f'"{wrong}"'))
    pull(folder, linked, expect=3, says=SUM)
    pull(folder, big(), "--sha256", "12", expect=2)
    # bytes of an earlier run that turn out wrong are fetched once more
    (folder / PART).write_bytes(b"x" * 1000)
    server = big()
    pull(folder, server, "--sha256", SUM)
    whole(folder)
    assert server.ranges() == ["bytes=1000-", None]


def test_only_real_safetensors(folder):
    pull(folder, big(body=b"<html>please log in</html>" * 10), expect=3)
    assert tree(folder) == set()
    server = Server()
    for name in ("hf:some/repo:model.ckpt", "hf:some/repo:pytorch_model.bin", "https://example.com/a.pt"):
        pull(folder, server, what=name, expect=3, says="only safetensors")
    for name in ("hf:../x", "hf:a/../..", "hf:one", "nonsense", "http://example.com/a.safetensors", "ftp://x/a.safetensors"):
        pull(folder, server, what=name, expect=2)
    for name in ("hf:some/repo:../../a.safetensors", "hf:some/repo:/etc/a.safetensors", "https://x.org/..%2fa.ckpt"):
        pull(folder, server, what=name, expect=3)
    assert server.log == [] and tree(folder) == set()


def test_token_stays_at_its_host(folder):
    other = Server()
    other.files["/cdn"] = BODY
    server = big(lambda handler: handler.answer(302, Location=other.url + "/cdn", X_Linked_Etag=f'"{SUM}"'))
    secret = {"HF_TOKEN": "hf_secret"}
    pull(folder, server, env=secret)
    whole(folder)
    assert server.log[0][1]["authorization"] == "Bearer hf_secret"
    assert other.log and "authorization" not in other.log[0][1], other.log
    # a link to the hub's own page of a file goes to the mirror
    (folder / FILE).unlink()
    pull(folder, server, what=f"https://huggingface.co/some/repo/blob/main/{FILE}")
    whole(folder)


def test_refusals(folder):
    refused = {401: (1, "HF_TOKEN"), 403: (1, "HF_TOKEN"), 404: (3, "no such file"), 400: (1, "HTTP 400")}
    for status, (code, words) in refused.items():
        server = big(lambda handler, status=status: handler.answer(status, b"no"))
        pull(folder, server, expect=code, says=words)
        assert len(server.log) == 1 and tree(folder) == set()
    loop = big(lambda handler: handler.answer(302, Location=PULL))
    pull(folder, loop, expect=1, says="redirects")
    pull(folder, big(lambda handler: handler.answer(302, Location="file:///etc/passwd")), expect=2)
    assert tree(folder) == set()


def test_busy_servers(folder):
    server = big(lambda handler: handler.answer(429, Retry_After=1), lambda handler: handler.answer(503),
                 lambda handler: handler.answer(500), good)
    start = time.monotonic()
    pull(folder, server)
    whole(folder)
    assert time.monotonic() - start >= 1.0, "Retry-After is heeded"
    late = big(lambda handler: handler.answer(429, Retry_After=4000))
    pull(folder / "late", late, expect=1, says="HTTP 429")
    assert len(late.log) == 1, "nobody waits for an hour"


def test_silent_server(folder):
    def silent(handler):
        handler.plain(cut=50_000) if handler.first() else None
        time.sleep(3)
    server = big(silent, good)
    start = time.monotonic()
    pull(folder, server, "--timeout", 1)
    whole(folder)
    assert time.monotonic() - start < 20


def test_progress_in_a_terminal(folder):
    def slow(handler):
        handler.answer(200, BODY[:100_000], len(BODY), ETag='"v1"')
        for start in range(100_000, len(BODY), 50_000):
            time.sleep(0.15)
            handler.wfile.write(BODY[start:start + 50_000])
    code, text = run_in_terminal(command(folder, big(slow)), {"TERM": "xterm"})
    whole(folder)
    text = text.decode() if isinstance(text, bytes) else text
    assert code == 0 and "MB/s" in text and "left" in text and FILE in text, text


def test_full_disk(folder):
    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    server = big()
    pull(folder, server, expect=1, says=["cannot write", "goes on from there"], preexec_fn=limit)
    assert (folder / PART).read_bytes() == BODY[:100_000]
    pull(folder, server)
    whole(folder)
    assert server.ranges()[-1] == "bytes=100000-"
    huge = big(lambda handler: handler.answer(200, b"x", 1 << 60))
    pull(folder / "huge", huge, "--retries", 0, expect=1, says="make room")
    assert tree(folder / "huge") == set()


def start_slow(folder):
    """A pull that has its first bytes and waits for more."""
    gate = threading.Event()

    def slow(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(BODY)))
        handler.send_header("ETag", '"v1"')
        handler.end_headers()
        handler.wfile.write(BODY[:100_000])
        gate.wait(20)
        handler.close_connection = True
    server = big(slow, good)
    process = subprocess.Popen(command(folder, server), stderr=subprocess.PIPE, env=environment({"no_proxy": "*"}))
    deadline = time.monotonic() + 20
    while not ((folder / PART).exists() and (folder / PART).stat().st_size == 100_000):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.01)
    return server, process, gate


def test_interrupt_and_kill_keep_the_part(folder):
    server, process, gate = start_slow(folder)
    pull(folder, server, expect=1, says="another process")
    process.send_signal(signal.SIGINT)
    text = process.communicate(timeout=20)[1].decode()
    gate.set()
    assert process.returncode == 5 and PART in text and "goes on from there" in text, text
    assert (folder / PART).stat().st_size == 100_000
    pull(folder, server)
    whole(folder)
    assert server.ranges()[-1] == "bytes=100000-"
    (folder / FILE).unlink()
    server, process, gate = start_slow(folder)
    process.kill()
    process.communicate()
    gate.set()
    pull(folder, server)
    whole(folder)


def repository(more=None, paths=None):
    """The tiny model as the hub would show it, and what a repository has beside it."""
    server = Server()
    contents = {str(path.relative_to(MODEL)): path.read_bytes() for path in pathlib.Path(MODEL).rglob("*") if path.is_file()}
    contents.update({".gitattributes": b"x", "README.md": b"x", "unet/diffusion_pytorch_model.bin": b"pickle",
                     "unet/diffusion_pytorch_model.non_ema.safetensors": b"x", "unet/model.onnx": b"x",
                     "text_encoder/flax_model.msgpack": b"x", "vae/openvino_model.xml": b"x",
                     "safety_checker/model.safetensors": b"x", "all-in-one.safetensors": b"x", **(more or {})})
    entries = [{"type": "directory", "path": "unet", "size": 0, "oid": "0"}]
    for path, body in contents.items():
        entry = {"type": "file", "path": path, "size": len(body), "oid": "0" * 40}
        if path.endswith(".safetensors"):
            entry["lfs"] = {"oid": hashlib.sha256(body).hexdigest(), "size": len(body), "pointerSize": 134}
        entries.append(entry)
        server.files["/some/repo/resolve/main/" + path] = body
    entries += [{"type": "file", "path": path, "size": 1, "oid": "0"} for path in paths or []]
    tree_path, half = "/api/models/some/repo/tree/main?recursive=true", len(entries) // 2
    server.files[tree_path + "&cursor=2"] = json.dumps(entries[half:]).encode()
    link = f'<{server.url}{tree_path}&cursor=2>; rel="next"'
    server.acts[tree_path] = [lambda handler: handler.answer(200, json.dumps(entries[:half]).encode(), Link=link)]
    return server


def fetched(server):
    return {path.split("/main/")[1] for path, _ in server.log if "/resolve/main/" in path}


def test_repository(folder):
    server = repository()
    line = json.loads(pull(folder, server, "--json", what="hf:some/repo").stdout)
    names = fetched(server)
    assert names == tree(folder / "repo") - {"unet", "vae", "text_encoder", "tokenizer", "scheduler"}, (names, tree(folder))
    assert {"model_index.json", "unet/config.json", "tokenizer/merges.txt"} <= names
    assert not [name for name in names if "checker" in name or "non_ema" in name or not name.endswith((".json", ".txt", ".safetensors"))]
    assert line["files"][-1]["path"].endswith("model_index.json") and len(line["files"]) == len(names)
    subprocess.run([BINARY, "models", "verify", "repo", "--models", folder], check=True, capture_output=True, env=environment())
    before = len(server.log)
    again = json.loads(pull(folder, server, "--json", what="hf:some/repo").stdout)
    assert all(file["present"] for file in again["files"]) and len(server.log) == before + 3, "only the lists are asked for"


def test_variant(folder):
    unet = (pathlib.Path(MODEL) / "unet" / "diffusion_pytorch_model.safetensors").read_bytes()
    server = repository({"unet/diffusion_pytorch_model.fp16.safetensors": unet})
    pull(folder, server, "--variant", "fp16", what="hf:some/repo")
    names = fetched(server)
    assert "unet/diffusion_pytorch_model.fp16.safetensors" in names and "unet/diffusion_pytorch_model.safetensors" not in names
    assert [name for name in names if name.startswith("vae/") and name.endswith(".safetensors")], "a part without it gives what it has"


def test_bad_repositories(folder):
    for path in ("../evil.json", "unet/../../evil.json", "/etc/evil.json", "unet\\..\\evil.json"):
        server = repository(paths=[path])
        pull(folder, server, what="hf:some/repo", expect=3, says="leads out")
        assert tree(folder) == set() and fetched(server) == set()
    pull(folder, Server(), what="hf:some/repo", expect=3)
    server, path = Server(), "/api/models/some/repo/tree/main?recursive=true"
    for answer in (b"[]", b"{}", b"[1]", b"null", b"not json", b'[{"path": 3, "type": "file"}]', b"\xff\xfe", b""):
        server.files[path] = answer
        pull(folder, server, what="hf:some/repo", expect=3)
    for index in (b"[]", b"{", b'{"unet": [null, null]}', b'{"unet": 5}'):
        server = repository({"model_index.json": index})
        pull(folder, server, what="hf:some/repo", expect=3)
    assert tree(folder) == set()
    server = repository()
    wrong = server.files["/some/repo/resolve/main/unet/diffusion_pytorch_model.safetensors"]
    server.files["/some/repo/resolve/main/unet/diffusion_pytorch_model.safetensors"] = wrong[:-1] + bytes([wrong[-1] ^ 1])
    pull(folder, server, what="hf:some/repo", expect=3, says="SHA-256")
    assert not (folder / "repo" / "model_index.json").exists(), "half a model has no index"
    pull(folder, server, "--sha256", SUM, what="hf:some/repo", expect=2)


def test_short_names(folder):
    server = Server()
    pull(folder, server, what="sdxl-turbo", expect=3, says="licence: Stability")
    assert server.log[0][0] == "/api/models/stabilityai/sdxl-turbo/tree/main?recursive=true"
    text = subprocess.run([BINARY, "models", "--help"], capture_output=True, env=environment()).stdout.decode()
    assert "sdxl-turbo" in text and "madebyollin/taesd" in text
    for mirror in ("ftp://x", "x", "http://user:pass@x"):
        pull(folder, server, "--mirror", mirror, what="sdxl-turbo", expect=2)


if __name__ == "__main__":
    run_tests(globals())
