"""One file from one address, gone on with where it broke off.

Whatever comes over the network is taken for hostile: sizes are limited, and nothing is unpacked on the way.
"""

import json
import re
import shutil
import time
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from s2p_lib.decoding import DecodingProcess
from s2p_lib.photos import UNIDENTIFIED_KINDS
from s2p_lib.progress import progress

TIMEOUTS = (10, 60)  # seconds: to connect, and without a byte
TRIES = 6
BACKOFF, BACKOFF_MAX, RETRY_AFTER_MAX = 1.0, 60, 300  # seconds; the first is doubled after each try
RETRIED = (429, 500, 502, 503, 504)
CHUNK = 1 << 18  # bytes


class NotFetched(Exception):
    """What was wanted, what came, and what to do next."""


class Gone(NotFetched):
    """The server says that it has no such file (any more)."""


def plain(text: object) -> str:
    """Text from outside without control characters (line breaks stay), which could rewrite a terminal."""
    return "".join(c if c.isprintable() or c == "\n" else "?" for c in str(text))


class PatientRetry(Retry):
    """As urllib3's, but it waits before the second try too."""

    def get_backoff_time(self) -> float:
        return min(BACKOFF * 2 ** (len(self.history) - 1), BACKOFF_MAX)


def new_session(tries: int | None = None) -> requests.Session:
    """A session that tries again after 429, 5xx and failed connections, later each time or when the server says."""
    session = requests.Session()
    # Packed answers could not be continued, and could be bombs.
    session.headers.update({"User-Agent": "s2p-repro (reproduction kit)", "Accept-Encoding": "identity"})
    limits = {"total": (tries or TRIES) - 1, "retry_after_max": RETRY_AFTER_MAX, "raise_on_status": False}
    for scheme in ("http://", "https://"):
        session.mount(scheme, HTTPAdapter(max_retries=PatientRetry(status_forcelist=RETRIED, **limits)))
    return session


def must_be_there(answer: requests.Response) -> None:
    """Raise Gone for 404, 410 and Flickr's stand-in for a removed photo, NotFetched for all else but a good file."""
    if "photo_unavailable" in urlsplit(answer.url).path:
        raise Gone("Flickr answers with its stand-in for an unavailable photo")
    if ("https", "http") in pairwise(urlsplit(hop.url).scheme for hop in [*answer.history, answer]):
        raise NotFetched(
            f"https leads to {answer.url}; only https may follow https, as http can be changed on its way. Get it from "
            "another address, or by hand"
        )
    if answer.status_code in (404, 410):
        raise Gone(f"HTTP {answer.status_code}")
    if answer.status_code not in (200, 206):
        raise NotFetched(f"HTTP {answer.status_code}" + (" again and again" if answer.status_code in RETRIED else ""))


def download(session: requests.Session, url: str, part: Path, limit: int, label: str | None = None) -> None:
    """Bring ``url`` into the file ``part``, going on where it broke off, now or in an earlier call.

    ``limit`` is the largest size in bytes. With a ``label`` there is a progress bar. Raises NotFetched.
    """
    for attempt in range(TRIES):
        try:
            _receive(session, url, part, limit, label)
            _note(part).unlink(missing_ok=True)
            return
        except urllib3.exceptions.HTTPError as error:  # in the middle of the body; what came stays
            problem = error
        except requests.RequestException as error:
            raise NotFetched(f"no answer: {error}") from None
        time.sleep(min(BACKOFF * 2**attempt, BACKOFF_MAX))
    raise NotFetched(f"broke off {TRIES} times, the last time with {problem}")


def _receive(session: requests.Session, url: str, part: Path, limit: int, label: str | None) -> None:
    """One request: the rest of the file if the server can go on, else the whole of it."""
    begun = _begun(part, url)
    have = part.stat().st_size if begun else 0
    if have and have == begun["total"]:
        return  # killed between the last byte and the file's new name
    headers = {"Range": f"bytes={have}-"} if have else {}
    if have and begun["validator"]:
        headers["If-Range"] = begun["validator"]
    with session.get(url, headers=headers, stream=True, timeout=TIMEOUTS) as answer:
        if answer.status_code == 416 or (answer.status_code == 206 and not _goes_on(answer, have, begun)):
            part.unlink(missing_ok=True)
            raise urllib3.exceptions.ProtocolError("the server cannot go on with what it has sent")
        must_be_there(answer)
        have = have if answer.status_code == 206 else 0
        length = answer.headers.get("Content-Length", "")
        total = have + int(length) if re.fullmatch(r"\d{1,15}", length) else None
        if total and total > limit:
            raise NotFetched(f"the server announces {total:,} bytes; at most {limit:,} are allowed")
        part.parent.mkdir(parents=True, exist_ok=True)
        with open(part, "ab" if have else "wb") as file:
            _note(part).write_text(json.dumps({"url": url, "validator": _validator(answer), "total": total}))
            with progress(total=total, initial=have, desc=label, unit="B", unit_scale=True, disable=not label) as bar:
                while chunk := answer.raw.read1(CHUNK, decode_content=False):  # read1 keeps what came before a break
                    have += len(chunk)
                    if have > limit:
                        discard(part)
                        raise NotFetched(f"more than {limit:,} bytes came; refused")
                    file.write(chunk)
                    bar.update(len(chunk))


def discard(part: Path) -> None:
    """Forget a download that broke off."""
    for path in (part, _note(part)):
        path.unlink(missing_ok=True)


def _note(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")  # what is known of the file that is being received


def _begun(part: Path, url: str) -> dict | None:
    """The note of a download that can go on: of the same address, and with a means to see a change of the file."""
    try:
        note = json.loads(_note(part).read_text())
    except (OSError, ValueError):
        return None
    return note if part.exists() and note["url"] == url and (note["validator"] or note["total"]) else None


def _validator(answer: requests.Response) -> str | None:
    etag = answer.headers.get("ETag")
    return etag if etag and not etag.startswith("W/") else answer.headers.get("Last-Modified")


def _goes_on(answer: requests.Response, have: int, begun: dict | None) -> bool:
    """Whether an answer 206 starts at byte ``have`` of the same file: of the same size, and not changed since."""
    sent = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", answer.headers.get("Content-Range", ""))
    if begun is None or sent is None or int(sent[1]) != have:
        return False
    same_size = begun["total"] is None or sent[2] in ("*", str(begun["total"]))
    return same_size and (begun["validator"] is None or _validator(answer) in (None, begun["validator"]))


def copy_file(source: Path, target: Path, limit: int) -> None:
    """Copy a file of ``--from``, at most ``limit`` bytes. Raises NotFetched."""
    if not source.is_file():
        raise NotFetched("no such file in the folder of --from")
    if source.stat().st_size > limit:
        raise NotFetched(f"the file has {source.stat().st_size:,} bytes; at most {limit:,} are allowed")
    shutil.copyfile(source, target)


def must_be_photo(path: Path, decoder: DecodingProcess) -> None:
    """Raise Gone if the file is no photo at all, NotFetched if it cannot be used; either way it is removed.

    ``decoder`` opens it, as it may be made to crash whoever does. DecoderStartError as ``DecodingProcess.decode``.
    """
    problem = decoder.decode_file(path)
    if not isinstance(problem, str):
        return
    path.unlink()
    kind = Gone if problem.startswith((*UNIDENTIFIED_KINDS, "empty file")) else NotFetched
    raise kind(f"what came cannot be used as a photo: {problem}")
