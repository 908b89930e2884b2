"""Downloads from a real server that interrupts, redirects, changes files and sends wrong ones."""

import fcntl
import hashlib
import io
import os
import random
import shutil
import socket
import sys
import time
import urllib.request
from collections import namedtuple

import pytest

from rtvc.errors import RtvcError, UsageError
from rtvc.library import download as module
from rtvc.library import http_request
from rtvc.library.addresses import file_in, file_name, normalize_url, without_query
from rtvc.library.download import discard_download, partial_size
from rtvc.library.home import downloads_folder
from tests.support.file_server import serving

DATA = random.Random(1).randbytes(700_000)
SHA256 = hashlib.sha256(DATA).hexdigest()


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("RTVC_HOME", str(tmp_path / "home"))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "home"


@pytest.fixture
def server():
    with serving() as server:
        yield server


def fetch(url, *, pauses=(0.01, 0.01, 0.01), **known):
    seen = []
    with module.download(url, lambda *at: seen.append(at), retry_delays_s=pauses, **known) as done:
        return done.path.read_bytes(), done.name, seen


def refused(url, error=RtvcError, **known):
    with pytest.raises(error) as caught:
        fetch(url, **known)
    assert type(caught.value) is error
    return str(caught.value)


def left():
    return sorted(path.name for path in downloads_folder().iterdir())


def test_a_file_is_downloaded_with_its_name_and_progress(server):
    data, name, seen = fetch(server.put("/voices/%C3%84nna.zip", DATA))
    assert data == DATA
    assert name == "Änna.zip"
    assert seen[0] == (0, len(DATA))
    assert seen[-1] == (len(DATA), len(DATA))
    assert seen == sorted(seen)
    discard_download(server.url + "/voices/%C3%84nna.zip")
    assert left() == []


def test_the_size_may_be_unknown(server):
    data, _, seen = fetch(server.put("/a", DATA, chunked=True))
    assert data == DATA
    assert {total for _, total in seen} == {None}


def test_an_empty_file_is_refused(server):
    assert "is empty" in refused(server.put("/a", b""))
    assert left() == []


@pytest.mark.parametrize("chunked", [False, True])
def test_after_an_interruption_only_the_rest_is_requested(server, chunked):
    url = server.put("/a", DATA, cuts=[100_000, 200_000], chunked=chunked)
    assert fetch(url)[0] == DATA
    assert server.ranges() == ["", "bytes=100000-", "bytes=300000-"]
    assert {headers.get("If-Range") for _, headers in server.requests[1:]} == {'"one"'}


def test_a_later_call_resumes_an_interrupted_download(server):
    url = server.put("/a", DATA, cuts=[100_000])
    assert "0.1 MB" in refused(url, pauses=())
    assert partial_size(url) == 100_000
    assert fetch(url, pauses=())[0] == DATA
    assert server.ranges() == ["", "bytes=100000-"]


def test_a_complete_file_is_not_downloaded_again(server):
    url = server.put("/a", DATA, disposition='attachment; filename="b.zip"')
    assert fetch(url)[:2] == (DATA, "b.zip")
    assert fetch(url)[:2] == (DATA, "b.zip")
    assert server.ranges()[1] == f"bytes={len(DATA)}-"
    assert fetch(url, size=len(DATA), sha256=SHA256)[0] == DATA
    assert len(server.requests) == 2


def test_a_changed_file_is_downloaded_again(server):
    url = server.put("/a", DATA, cuts=[100_000])
    refused(url, pauses=())
    server.put("/a", DATA[::-1], etag='"two"')
    assert fetch(url)[0] == DATA[::-1]


def test_parts_of_two_versions_are_never_joined(server):
    url = server.put("/a", DATA, cuts=[100_000])
    refused(url, pauses=())
    server.put("/a", DATA[::-1], etag='"two"', conditions=False)
    assert fetch(url)[0] == DATA[::-1]
    assert server.ranges() == ["", "bytes=100000-", ""]


def test_an_answer_without_a_date_can_be_resumed_too(server):
    date = "Sat, 01 Feb 2025 10:00:00 GMT"
    url = server.put("/a", DATA, etag="", modified=date, dated_parts=False, cuts=[10, 10])
    assert fetch(url)[0] == DATA
    assert server.ranges() == ["", "bytes=10-", "bytes=20-"]


def test_a_shorter_file_is_downloaded_again(server):
    url = server.put("/a", DATA, cuts=[100_000])
    refused(url, pauses=())
    server.put("/a", DATA[:50_000])
    assert fetch(url)[0] == DATA[:50_000]
    assert server.ranges() == ["", "bytes=100000-", ""]


def test_a_server_without_ranges_sends_the_whole_file_again(server):
    assert fetch(server.put("/a", DATA, cuts=[100_000], ranges=False))[0] == DATA


def test_without_a_validator_only_a_known_checksum_allows_resuming(server):
    url = server.put("/a", DATA, etag="", cuts=[100_000, 10])
    assert fetch(url)[0] == DATA
    assert server.ranges() == ["", "", ""]
    discard_download(url)
    url = server.put("/a", DATA, etag="", cuts=[100_000])
    assert fetch(url, sha256=SHA256)[0] == DATA
    assert server.ranges()[3:] == ["", "bytes=100000-"]


def test_the_date_replaces_a_weak_entity_tag(server):
    date = "Sat, 01 Feb 2025 10:00:00 GMT"
    assert fetch(server.put("/a", DATA, etag='W/"one"', modified=date, cuts=[10]))[0] == DATA
    assert server.requests[1][1]["If-Range"] == date


def test_a_busy_server_is_retried(server):
    url = server.put("/a", DATA, statuses=[503, 429, 500], retry_after="0")
    assert fetch(url)[0] == DATA
    assert len(server.requests) == 4


def test_a_longer_retry_after_is_respected(server):
    url = server.put("/a", DATA, statuses=[503], retry_after="1")
    began = time.monotonic()
    fetch(url)
    assert 0.95 < time.monotonic() - began < 5


def test_the_attempts_are_limited_without_progress(server):
    url = server.put("/a", DATA, statuses=[500] * 9)
    assert "out of service (HTTP 500)" in refused(url)
    assert len(server.requests) == 4
    assert left() == []


def test_the_attempts_are_not_limited_while_there_is_progress(server):
    url = server.put("/a", DATA, cuts=[70_000] * 9)
    assert fetch(url, pauses=(0.01,))[0] == DATA


def test_a_known_checksum_is_verified_and_a_wrong_file_removed(server):
    url = server.put("/a", DATA)
    assert "SHA-256" in refused(url, sha256="0" * 64)
    assert left() == []
    assert len(server.requests) == 1


def test_a_wrong_part_of_an_earlier_call_is_discarded(server):
    url = server.put("/a", DATA[::-1], etag="", cuts=[100_000])
    refused(url, pauses=(), sha256=SHA256)
    server.put("/a", DATA, etag="")
    assert fetch(url, sha256=SHA256)[0] == DATA
    assert server.ranges() == ["", "bytes=100000-", ""]


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("size", [len(DATA) - 1, len(DATA) + 1])
def test_a_known_size_is_verified(server, size, chunked):
    url = server.put("/a", DATA, chunked=chunked)
    assert "700" in refused(url, size=size, sha256=SHA256).replace("0.7 MB", "700")
    assert left() == []


def test_a_web_page_is_recognised(server):
    page = b"\n<!DOCTYPE html><html>Please sign in</html>"
    url = server.put("/Anna.zip", page, kind="text/html; charset=utf-8")
    assert "leads to a web page" in refused(url)
    assert left() == []
    # Some servers send every file as text/html.
    assert fetch(server.put("/b.zip", DATA, kind="text/html"))[0] == DATA


@pytest.mark.parametrize(
    ("status", "message"),
    [(404, "no file"), (403, "signing in"), (401, "signing in"), (400, "HTTP 400"), (204, "204")],
)
def test_a_refusal_is_final(server, status, message):
    assert message in refused(server.put("/a", DATA, statuses=[status]))
    assert len(server.requests) == 1
    assert left() == []


def test_redirects_are_followed_with_the_range(server):
    server.put("/b/real.zip", DATA, cuts=[100_000])
    data, name, _ = fetch(server.put("/a/Anna.zip", location=f"{server.url}/b/real.zip?key=1"))
    assert data == DATA
    assert name == "Anna.zip"
    assert server.ranges() == ["", "", "bytes=100000-", "bytes=100000-"]


@pytest.mark.parametrize("target", ["file:///etc/hostname", "ftp://127.0.0.1/a", "data:,x"])
def test_redirects_to_other_schemes_are_refused(server, target):
    message = refused(server.put("/a", location=target))
    assert "circles" in message or "not safe to follow" in message
    assert left() == []


@pytest.mark.parametrize(
    "target",
    [
        "http://[/",
        "http://a..example/x",
        f"https://{'a' * 70}.example.com/x",
        "http://127.0.0.1:port/x",
        "http://\u00e9\u00ff.example/a",
    ],
)
def test_a_redirect_to_an_invalid_address_is_final(server, target):
    assert "an address that is not valid" in refused(server.put("/a", location=target))
    assert len(server.requests) == 1
    assert left() == []


def test_redirects_are_limited(server):
    assert "circles" in refused(server.put("/a", location="/a"))
    for i in range(20):
        server.put(f"/{i}", location=f"/{i + 1}")
    assert "circles" in refused(server.url + "/0")


def test_a_redirect_from_https_to_http_is_refused():
    request = urllib.request.Request("https://example.org/a")
    handler = http_request._RedirectHandler()
    with pytest.raises(RtvcError, match="not safe to follow"):
        handler.redirect_request(request, io.BytesIO(), 302, "", {}, "http://example.org/a?key=1")
    followed = handler.redirect_request(request, None, 302, "", {}, "https://example.org/b")
    assert followed is not None
    assert followed.full_url == "https://example.org/b"


def test_encoded_content_is_refused(server):
    assert "encoding 'gzip'" in refused(server.put("/a", DATA, encoding="gzip"))
    assert server.requests[0][1]["Accept-Encoding"] == "identity"


def test_a_server_that_does_not_answer_times_out(server, monkeypatch):
    monkeypatch.setattr(http_request, "_TIMEOUT_S", 0.1)
    assert "no answer within" in refused(server.put("/a", DATA, delay_s=0.4), pauses=())


def test_a_refused_connection_is_reported(server):
    with socket.socket() as deaf:  # it does not listen, and no other program gets its port
        deaf.bind(("127.0.0.1", 0))
        port = deaf.getsockname()[1]
        assert "cannot be reached (Connection refused)" in refused(f"http://127.0.0.1:{port}/a")


def test_a_failed_name_resolution_is_reported_without_retries(monkeypatch):
    def no_network(*_args, **_kwargs):
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    assert "online" in refused("https://huggingface.co/a/b/resolve/main/c.zip", pauses=(60,))


def test_two_processes_cannot_download_the_same_file(server):
    url = server.put("/a", DATA, cuts=[10])
    refused(url, pauses=())
    with module._lock_file(url).open("wb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert "Another rtvc" in refused(url)
    with module.download(url, lambda *at: None):
        assert "Another rtvc" in refused(url)
    assert fetch(url)[0] == DATA


def test_the_lock_of_a_process_that_ends_meanwhile_is_not_used(server, monkeypatch):
    url = server.put("/a", DATA)
    lock, files = fcntl.flock, []

    def lock_late(file, how):
        files.append(os.fstat(file.fileno()))
        if len(files) == 1:
            module._lock_file(url).unlink()
        lock(file, how)

    monkeypatch.setattr(fcntl, "flock", lock_late)
    with module.download(url, lambda *at: None):
        assert len(files) == 2
        assert os.path.samestat(module._lock_file(url).stat(), files[1])


def test_a_full_disk_is_reported(server, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9, 10**5))
    assert "not enough space" in refused(server.put("/a", DATA))
    assert left() == []


@pytest.mark.skipif(sys.platform != "linux", reason="/dev/full is Linux's")
def test_a_disk_that_fills_up_is_reported(server):
    url = server.put("/a", DATA)
    downloads_folder().mkdir(parents=True)
    module._part_file(url).symlink_to("/dev/full")
    assert "no space left" in refused(url)
    assert left() == []


def test_old_partial_downloads_are_removed(server):
    url = server.put("/a", DATA, cuts=[100_000])
    refused(url, pauses=())
    old = time.time() - 15 * 24 * 3600
    for path in downloads_folder().iterdir():
        os.utime(path, (old, old))
    fetch(server.put("/b", DATA))
    assert partial_size(url) == 0
    assert len(left()) == 2


@pytest.mark.parametrize(
    ("address", "meant"),
    [
        (
            "https://huggingface.co/a/b/blob/main/x/Anna.zip",
            "https://huggingface.co/a/b/resolve/main/x/Anna.zip",
        ),
        (
            "https://huggingface.co/datasets/a/b/blob/main/Anna.zip?download=true",
            "https://huggingface.co/datasets/a/b/resolve/main/Anna.zip?download=true",
        ),
        (
            "https://huggingface.co/a/b/resolve/main/Anna.zip",
            "https://huggingface.co/a/b/resolve/main/Anna.zip",
        ),
        ("https://github.com/a/b/blob/main/A.zip", "https://github.com/a/b/raw/main/A.zip"),
        (
            "https://github.com/a/b/releases/download/1/A.zip",
            "https://github.com/a/b/releases/download/1/A.zip",
        ),
        ("https://example.org/blob/main/ä b.zip#x", "https://example.org/blob/main/%C3%A4%20b.zip"),
        ("HTTPS://bücher.example:8443/a%20b", "https://xn--bcher-kva.example:8443/a%20b"),
    ],
)
def test_urls_of_pages_become_urls_of_files(address, meant):
    assert normalize_url(address) == meant
    assert normalize_url(meant) == meant


@pytest.mark.parametrize(
    "address",
    [
        "ftp://example.org/a.zip",
        "file:///etc/passwd",
        "https://",
        "https://user:secret@example.org/a.zip",
        "https://user:secret@example .org/a.zip",
        "https://example.org:99999/a",
        "https://huggingface.co/a/b",
        "https://huggingface.co/a/b/tree/main",
        "https://[::1/a",
        "https://example .org/a",
        "https://example%00.example/a",
        "https://example\\b/a",
        "https://example.org/\udcff.zip",
        "https://example.org/a?\udcff",
    ],
)
def test_invalid_urls_are_refused(address):
    with pytest.raises(UsageError) as caught:
        normalize_url(address)
    assert "secret" not in str(caught.value)


def test_the_url_of_a_file_in_a_folder():
    hub = "https://huggingface.co/a/b"
    assert file_in(f"{hub}/resolve/main", "c.pt") == f"{hub}/resolve/main/c.pt"
    assert file_in(f"{hub}/blob/main/d/", "c.pt") == f"{hub}/resolve/main/d/c.pt"
    assert file_in("https://a.example/b/?key=1", "c.pt") == "https://a.example/b/c.pt?key=1"
    for page in (hub, f"{hub}/tree/main", "a.example", "https://[/"):
        with pytest.raises(UsageError):
            file_in(page, "c.pt")


def test_the_stored_url_has_no_query():
    assert without_query("https://example.org/a?token=secret#x") == "https://example.org/a"


@pytest.mark.parametrize(
    ("offered", "name"),
    [
        (None, "c d.zip"),
        ("", "c d.zip"),
        ("Anna.zip", "Anna.zip"),
        ("../../etc/passwd", "passwd"),
        ("..\\..\\evil.zip", "evil.zip"),
        ("/", "c d.zip"),
        ("..", "c d.zip"),
        (".hidden.zip", "hidden.zip"),
        ("a\x1b[31m\u202eb.zip", "a[31mb.zip"),
        ("x" * 500 + ".zip", "x" * 80),
    ],
)
def test_the_name_of_a_download_is_safe(offered, name):
    assert file_name(offered, "https://example.org/a/c%20d.zip?x=/y") == name


def test_a_name_from_the_servers_header(server):
    header = "attachment; filename=\"x.zip\"; filename*=UTF-8''%C3%84nna%2F..%2Fb.zip"
    assert fetch(server.put("/a", DATA, disposition=header))[1] == "b.zip"


def test_a_header_that_cannot_be_read_gives_no_name(server):
    header = f"attachment; filename*{'9' * 5000}=x"
    assert fetch(server.put("/Anna.zip", DATA, disposition=header))[:2] == (DATA, "Anna.zip")
