"""One file from a server on this machine that is slow, breaks off, refuses and lies."""

import gzip
import json
import threading

import pytest
import requests
from server import BODY, everything, no_sleep, ranged, running_site, send

from s2p_lib import downloads
from s2p_lib.downloads import Gone, NotFetched


@pytest.fixture
def site(monkeypatch):
    with running_site(monkeypatch) as site:
        yield site


@pytest.fixture
def naps(monkeypatch) -> list[float]:
    return no_sleep(monkeypatch)


def get(site, tmp_path, *answers, limit: int = 10**6) -> bytes:
    part = tmp_path / "f.part"
    downloads.download(downloads.new_session(), site.serve("/f", *answers), part, limit)
    assert not downloads._note(part).exists()
    return part.read_bytes()


def test_a_download_that_breaks_off_goes_on(site, tmp_path):
    assert get(site, tmp_path, send(BODY, send_bytes=6000, ETag='"v1"'), ranged(BODY)) == BODY
    assert site.ranges() == [None, "bytes=6000-"]
    assert site.log[1][1]["If-Range"] == '"v1"'


def test_a_download_of_unknown_length_that_breaks_off_goes_on(site, tmp_path):
    begun = b"1388\r\n" + BODY[:5000] + b"\r\n"  # a chunk of 5,000 bytes, and none that says that it was the last
    first = send(begun, Content_Length=None, Transfer_Encoding="chunked", ETag='"v1"')
    assert get(site, tmp_path, first, ranged(BODY)) == BODY
    assert site.ranges() == [None, "bytes=5000-"]


def test_a_download_that_broke_off_in_an_earlier_call_goes_on(site, tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, "TRIES", 1)
    with pytest.raises(NotFetched, match="broke off"):
        get(site, tmp_path, send(BODY, send_bytes=6000, ETag='"v1"'))
    assert get(site, tmp_path, ranged(BODY)) == BODY
    assert site.ranges() == [None, "bytes=6000-"]


def test_the_date_of_a_file_serves_where_its_tag_is_weak(site, tmp_path):
    first = send(BODY, send_bytes=6000, ETag='W/"v1"', Last_Modified="Mon, 03 Mar 2025 10:00:00 GMT")
    get(site, tmp_path, first, BODY)
    assert site.log[1][1]["If-Range"] == "Mon, 03 Mar 2025 10:00:00 GMT"


def test_a_server_that_ignores_the_range_is_read_from_the_start(site, tmp_path):
    assert get(site, tmp_path, send(BODY, send_bytes=6000), BODY) == BODY
    assert site.ranges() == [None, "bytes=6000-"]


@pytest.mark.parametrize("heeds_if_range", [True, False])
def test_a_file_that_changed_meanwhile_is_read_from_the_start(site, tmp_path, heeds_if_range):
    new = BODY[::-1]
    first = send(BODY, send_bytes=6000, ETag='"v1"')
    assert get(site, tmp_path, first, ranged(new, '"v2"', heeds_if_range)) == new


@pytest.mark.parametrize(
    "odd",
    [
        send(status=416),
        send(BODY[6000:], 206, Content_Range=f"bytes 5000-{len(BODY) - 1}/{len(BODY)}"),
        send(BODY[6000:], 206, Content_Range=f"bytes 6000-{len(BODY)}/{len(BODY) + 1}"),
        send(BODY[6000:], 206),
    ],
)
def test_an_odd_answer_to_a_range_starts_the_file_anew(site, tmp_path, odd):
    assert get(site, tmp_path, send(BODY, send_bytes=6000), odd, BODY) == BODY
    assert site.ranges() == [None, "bytes=6000-", None]


def test_a_part_that_nobody_asked_for_is_no_file(site, tmp_path):
    with pytest.raises(NotFetched, match="broke off"):
        get(site, tmp_path, send(BODY[:50], 206, Content_Range=f"bytes 0-49/{len(BODY)}"))


def test_what_another_address_sent_is_not_gone_on_with(site, tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, "TRIES", 1)
    with pytest.raises(NotFetched):
        get(site, tmp_path, send(BODY, send_bytes=6000, ETag='"v1"'))
    other = site.serve("/other", ranged(BODY))
    downloads.download(downloads.new_session(), other, tmp_path / "f.part", 10**6)
    assert site.ranges() == [None, None]


def test_a_whole_file_that_only_lacks_its_name_is_not_asked_for_again(site, tmp_path):
    part = tmp_path / "f.part"
    part.write_bytes(BODY)
    downloads._note(part).write_text(json.dumps({"url": f"{site.url}/f", "validator": None, "total": len(BODY)}))
    assert get(site, tmp_path, b"else") == BODY
    assert site.log == []


def test_a_server_that_falls_silent_is_asked_for_the_rest(site, tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, "TIMEOUTS", (5, 0.2))
    silence = threading.Event()
    assert get(site, tmp_path, send(BODY, before=silence.wait), ranged(BODY)) == BODY
    silence.set()
    assert site.ranges() == [None, f"bytes={len(BODY) // 2}-"]


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_busy_server_is_asked_again(site, tmp_path, status):
    assert get(site, tmp_path, send(b"busy", status, Retry_After="0"), send(status=status), BODY) == BODY


def test_the_server_says_how_long_to_wait_up_to_a_limit(site, tmp_path, naps):
    get(site, tmp_path, send(status=429, Retry_After="7"), send(status=429, Retry_After="999999"), BODY)
    assert naps == [7, downloads.RETRY_AFTER_MAX]


def test_waits_double_up_to_a_limit_and_tries_end(site, tmp_path, naps, monkeypatch):
    monkeypatch.setattr(downloads, "BACKOFF", 1)
    monkeypatch.setattr(downloads, "BACKOFF_MAX", 10)
    with pytest.raises(NotFetched, match="HTTP 503 again and again"):
        get(site, tmp_path, send(status=503))
    assert len(site.log) == downloads.TRIES
    assert naps == [1, 2, 4, 8, 10]


def test_waits_double_also_between_broken_downloads(site, tmp_path, naps, monkeypatch):
    monkeypatch.setattr(downloads, "BACKOFF", 1)
    with pytest.raises(NotFetched, match=f"broke off {downloads.TRIES} times"):
        get(site, tmp_path, send(BODY, send_bytes=10))
    assert naps == [1, 2, 4, 8, 16, 32]


def test_a_wait_that_makes_no_sense_is_an_error_like_others(site, tmp_path):
    with pytest.raises(NotFetched, match="Invalid Retry-After"):
        get(site, tmp_path, send(status=429, Retry_After="soon"), BODY)


@pytest.mark.parametrize("status", [404, 410])
def test_what_is_gone_is_not_asked_for_again(site, tmp_path, status):
    with pytest.raises(Gone, match=f"HTTP {status}"):
        get(site, tmp_path, send(status=status))
    assert len(site.log) == 1


def test_what_is_forbidden_is_not_gone(site, tmp_path):
    with pytest.raises(NotFetched, match="HTTP 403") as error:
        get(site, tmp_path, send(status=403))
    assert not isinstance(error.value, Gone)


def test_nobody_there_is_an_error(tmp_path, naps):
    with pytest.raises(NotFetched, match="no answer"):
        downloads.download(downloads.new_session(2), "http://127.0.0.1:9/f", tmp_path / "f.part", 10)


def test_a_file_announced_too_large_is_not_read(site, tmp_path):
    with pytest.raises(NotFetched, match="announces 10,240 bytes; at most 100 are allowed"):
        get(site, tmp_path, BODY, limit=100)
    assert everything(tmp_path) == {}


def test_a_file_that_grows_too_large_is_cut_and_removed(site, tmp_path):
    with pytest.raises(NotFetched, match="more than 100 bytes"):
        get(site, tmp_path, send(BODY, Content_Length=None), limit=100)
    assert everything(tmp_path) == {}


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/f"])
def test_a_redirect_to_anything_but_http_is_refused(site, tmp_path, target):
    with pytest.raises(NotFetched, match="no answer"):
        get(site, tmp_path, send(status=302, Location=target))
    assert everything(tmp_path) == {}


def test_a_packed_answer_is_not_unpacked(site, tmp_path):
    assert get(site, tmp_path, send(gzip.compress(BODY), Content_Encoding="gzip")) == gzip.compress(BODY)
    assert site.log[0][1]["Accept-Encoding"] == "identity"


def answer_after(*addresses: str) -> requests.Response:
    """A good answer at the last of the addresses, after redirects from the others."""
    answers = [requests.Response() for _ in addresses]
    for answer, answer.url in zip(answers, addresses):
        answer.status_code = 200
    answers[-1].history = answers[:-1]
    return answers[-1]


def test_a_redirect_from_https_to_http_is_refused():
    for chain in (["https://x/f", "http://y/f"], ["http://x/f", "https://x/f", "http://y/f", "https://y/f"]):
        with pytest.raises(NotFetched, match="only https may follow https"):
            downloads.must_be_there(answer_after(*chain))


def test_other_redirects_are_followed():
    for chain in (["https://x/f", "https://y/f"], ["http://x/f", "http://y/f", "https://y/f"], ["http://x/f"]):
        downloads.must_be_there(answer_after(*chain))
