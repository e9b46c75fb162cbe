"""Published files -> the data folder: archives, weights and demo photos, each held to its checksum."""

import json
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath

import pandas as pd
import pooch
import urllib3

from s2p_lib.archives import unpack
from s2p_lib.datasets import SOURCES
from s2p_lib.decoding import TO_ONE_PIXEL, DecodingProcess
from s2p_lib.downloads import (
    TIMEOUTS,
    NotFetched,
    copy_file,
    discard,
    download,
    must_be_photo,
    must_be_there,
    new_session,
    plain,
)
from s2p_lib.photos import file_sha256
from s2p_lib.run_folder import RunFolder

ZENODO = "https://zenodo.org"
DATA_RECORD, MODEL_RECORD = "15348506", "15349470"
AUTHORS_SITE = "http://www.eecs.qmul.ac.uk/~ax300/privacy-from-visual-entities"  # older copies of the data record
PLACES365 = "http://places2.csail.mit.edu/models_places365/resnet50_places365.pth.tar"
SCENE_NAMES = "https://raw.githubusercontent.com/CSAILVision/places365/master/categories_places365.txt"
FLICKR = "https://live.staticflickr.com"
DEMO_PHOTOS = (
    *("65535/50039888078_88fb5d4722_c", "65535/50252178257_4e69f47eac_c", "65535/50789435118_4c012e37c1_c"),
    *("65535/50583669162_77829f45af_c", "65535/49196229738_3aa9ea88f8_c", "65535/47705667841_00724f3a60_c"),
    *("1887/43830339314_f317a8e1c9_c", "4305/35886895852_c4f26ed6f9_c", "65535/49834471323_2a4fd949b1_c"),
)

CHECKSUMS = "checksums.json"  # in the data folder: sha256 of each file at its first download, and what was unpacked
FIRST_SEEN = "recorded at first download"
TRIES_OF_RECORD = 2  # without an answer of the record, the kit's own checksums serve
RECORD_BYTES = 2_000_000  # a larger answer is refused


@dataclass(frozen=True)
class Published:
    """A published file, its place in the data folder, and its size in bytes (about; twice as much is refused)."""

    place: str
    size: int
    record: str | None = None  # of Zenodo
    sha256: str | None = None
    url: str | None = None
    advice: str = ""

    @property
    def name(self) -> str:
        return PurePosixPath(self.place).name

    def addresses(self) -> list[str]:
        """Where the file lies, best first."""
        if self.url:
            return [self.url]
        older = [f"{AUTHORS_SITE}/{self.name}"] if self.record == DATA_RECORD else []
        return [f"{ZENODO}/records/{self.record}/files/{self.name}?download=1", *older]


# Both were seen in a third party's pointers to the files, so the record's own checksum wins.
LABELS_SHA256 = "f8299b266089d31f90eab8c43bb040152f062813e5e8279a752b3b34c0fc515a"
PRIVACYALERT_SCENES_SHA256 = "c943e8a85bd700cec5d58afdffa2e13c7525a51df8b07dd655a525b205cf32d9"
WITHOUT_PLACES365 = (
    "The Places365 site is often down. Predictions do not need it: a released checkpoint (s2p fetch checkpoints) holds "
    "a whole ResNet-50, and the kit brings the scene names."
)
FILES = {
    "labels": (Published("curated_imageprivacy_datasets.zip", 30_929_930, DATA_RECORD, LABELS_SHA256),),
    "scenes": (
        Published("scenes_picalert.zip", 105_000_000, DATA_RECORD),
        Published("scenes_VISPR.zip", 82_000_000, DATA_RECORD),
        Published("scenes_privacyalert.zip", 26_411_325, DATA_RECORD, PRIVACYALERT_SCENES_SHA256),
    ),
    "checkpoints": (
        Published("s2p_IPD_v1.0.0.zip", 90_600_000, MODEL_RECORD),
        Published("s2p_PrivacyAlert_v1.0.0.zip", 90_500_000, MODEL_RECORD),
    ),
    "places365": (
        Published("weights/resnet50_places365.pth.tar", 97_100_000, url=PLACES365, advice=WITHOUT_PLACES365),
        Published("weights/categories_places365.txt", 10_000, url=SCENE_NAMES, advice=WITHOUT_PLACES365),
    ),
    "demo-photos": tuple(
        Published(f"demo_photos/{photo.split('/')[1].split('_')[0]}.jpg", 2_000_000, url=f"{FLICKR}/{photo}.jpg")
        for photo in DEMO_PHOTOS
    ),
}
KNOWN = (*FILES, "photos")


def check_wanted(what: Sequence[str], dataset: str | None = None, url_list: str | Path | None = None) -> None:
    """Raise ValueError, before anything is fetched, for an unknown name or photos of an unknown dataset."""
    if unknown := [name for name in what if name not in KNOWN]:
        raise ValueError(f"{unknown[0]!r} is nothing that can be fetched; allowed: {', '.join(KNOWN)}")
    known = dataset in SOURCES if dataset else url_list and re.fullmatch(r"\w[\w.-]*", Path(url_list).stem)
    if "photos" in what and not known:
        raise ValueError(
            f"photos needs --dataset with one of {', '.join(SOURCES)} (ipd is made of picalert and vispr), not "
            f"{dataset!r}; or --list FILE with one address a line, whose plain name then stands for the dataset's"
        )


def fetch_files(
    what: Iterable[str], into: str | Path, from_dir: str | Path | None = None, mirrors: Sequence[str] = ()
) -> pd.DataFrame:
    """Fetch (and unpack) all files of ``what``, keys of ``FILES``, into the folder ``into``.

    One row a file: file, status, size (bytes), checksum (which one it was held to), problem (None if all is well).
    Files in ``from_dir`` come first, then ``mirrors`` (the file lies at MIRROR/NAME), then the published addresses.
    """
    fetcher = Fetcher(into, from_dir, mirrors)
    rows = []
    for file in [file for name in dict.fromkeys(what) for file in FILES[name]]:
        try:
            rows.append({"file": file.place, **fetcher.fetch(file), "problem": None})
        except (NotFetched, OSError) as error:
            rows.append({"file": file.place, "status": "missing", "problem": plain(error)})
    return pd.DataFrame(rows, columns=["file", "status", "size", "checksum", "problem"])


def files_text(table: pd.DataFrame) -> str:
    """The table of ``fetch_files`` for a terminal, and its problems in full below."""
    size = [f"{size / 1e6:,.2f} MB" if size > 0 else "-" for size in table["size"].astype(float)]
    shown = table.assign(size=size).drop(columns="problem").fillna("-").to_string(index=False)
    return "\n\n".join([shown, *table["problem"].dropna()])


class Fetcher:
    """Fetches published files into one data folder and holds each to what it was at its first download."""

    def __init__(self, into: str | Path, from_dir: str | Path | None = None, mirrors: Sequence[str] = ()):
        self.folder = RunFolder(Path(into).resolve())
        self.folder.dir.mkdir(parents=True, exist_ok=True)
        self.from_dir = Path(from_dir) if from_dir else None
        self.mirrors = [mirror.rstrip("/") for mirror in mirrors]
        for mirror in self.mirrors:
            if not mirror.startswith(("http://", "https://")):
                raise ValueError(f"--mirror {mirror}: allowed are http:// and https://; for a folder use --from")
        self.session = new_session()
        self.stated = cache(stated_checksums)  # asked once a record
        pooch.get_logger().setLevel("WARNING")

    def fetch(self, file: Published) -> dict:
        """Status, size and checksum of a file that is there, right, and unpacked. Raises NotFetched."""
        path, entry = self.folder.path(file.place), self._entries().get(file.place)
        if entry and not path.exists() and self._is_unpacked(entry):
            return {"status": "unpacked before", "size": entry["size"], "checksum": entry["checksum"]}
        status = "there" if path.exists() else "fetched"
        if entry and path.exists():
            what_next = f"Move it away and call again; or, if it is right, remove its entry from {CHECKSUMS}."
            must_match(path, f"sha256:{entry['sha256']}", "when it was first fetched", what_next)
            if entry["checksum"] == FIRST_SEEN and file.record:  # its record did not answer then; it may now
                expected, kind = self._expected(file, None)
                must_match(path, expected, kind, "Move it away, remove its entry, and call again.")
                entry = self._record(file, entry | {"checksum": kind})
        else:
            entry = self._get(file, path, entry)
        if path.suffix == ".zip" and not self._is_unpacked(entry):
            own = {CHECKSUMS, *(file.place for files in FILES.values() for file in files)}
            counts = unpack(path, self.folder.dir, own)
            print(f"{file.name}: unpacked " + ", ".join(f"{top} ({n} files)" for top, n in counts.items()))
            entry = self._record(file, entry | {"unpacked": list(counts)})
            status += ", unpacked"
        return {"status": status, "size": entry["size"], "checksum": entry["checksum"]}

    def _get(self, file: Published, path: Path, old: dict | None) -> dict:
        """Bring the file to ``path`` if it is not there, check it, and write down what it is."""
        expected, kind = self._expected(file, old)
        if path.exists():
            source = "found in the data folder"
            must_match(path, expected, kind, "Move it away and call again.")
        else:
            source = self._download(file, path, expected, old)
        found = file_sha256(path)
        if old and found != old["sha256"]:
            path.unlink()
            raise NotFetched(
                f"{file.name} has sha256 {found}, but had {old['sha256']} when it was first fetched: another file is "
                f"published now. If you want it, remove its entry from {CHECKSUMS} and call again."
            )
        if file.sha256 and file.sha256 != found:
            print(f"{file.name}: its sha256 {found} is not the kit's {file.sha256}; the record's own checksum wins")
        if expected is None:
            why = (
                "the record does not answer, so its checksum is not known"
                if file.record
                else "no checksum is published"
            )
            print(f"{file.name}: {why}; its sha256 {found} is recorded and held from now on")
        new = {"sha256": found, "size": path.stat().st_size, "checksum": kind, "source": source}
        return self._record(file, new)

    def _expected(self, file: Published, old: dict | None) -> tuple[str | None, str]:
        """The checksum to hold a new file to as ``algorithm:hex`` (None if there is none), and its kind."""
        if file.record and (stated := self.stated(file.record).get(file.name)):
            return stated, f"{stated.split(':')[0]} of the record"
        if old:
            return f"sha256:{old['sha256']}", old["checksum"]
        return (f"sha256:{file.sha256}", "sha256 known") if file.sha256 else (None, FIRST_SEEN)

    def _download(self, file: Published, path: Path, expected: str | None, old: dict | None) -> str:
        """The source that gave the right file; all are tried, each twice if what it gave was corrupt."""
        local = [str(self.from_dir / file.name)] if self.from_dir else []
        mirrors = [f"{mirror}/{file.name}" for mirror in self.mirrors]
        problems = []
        # What comes over plain http could be changed on its way, so it must be held to a checksum.
        addresses = [a for a in file.addresses() if expected or not a.startswith(AUTHORS_SITE)]
        for source in [*local, *mirrors, *addresses]:
            for _ in range(1 if source in local else 2):
                try:
                    pooch.retrieve(source, expected, path.name, path.parent, downloader=self._downloader(file, path))
                    discard(path.with_name(f"{path.name}.part"))  # of another source
                    return source
                except ValueError as error:  # pooch: a wrong checksum; it has deleted the file
                    problems.append(f"{source}: {error}")
                except (NotFetched, OSError) as error:
                    problems.append(f"{source}: {error}")
                    break
        tried = "\n".join(f"  - {problem}" for problem in problems)
        held = f"Only the file of the first download will do, or remove its entry from {CHECKSUMS}. " if old else ""
        by_hand = f" (https://doi.org/10.5281/zenodo.{file.record})" if file.record else ""
        raise NotFetched(
            f"{file.name} was not fetched. Tried:\n{tried}\nTry again later: a download that broke off goes on. Or "
            f"name another place with --mirror URL, or get the file by hand{by_hand} and give its folder: --from DIR. "
            f"{held}{file.advice}"
        )

    def _downloader(self, file: Published, path: Path):
        """The callable that pooch hands an address (or a path of ``--from``) and the file to fill."""

        def fill(source: str, output: str, _pooch) -> None:
            if source.startswith(("http://", "https://")):
                part = path.with_name(f"{path.name}.part")
                download(self.session, source, part, 2 * file.size, file.name)
                os.replace(part, output)
            else:
                copy_file(Path(source), Path(output), 2 * file.size)
            if path.suffix == ".jpg":
                with DecodingProcess(TO_ONE_PIXEL) as decoder:
                    must_be_photo(Path(output), decoder)

        return fill

    def _entries(self) -> dict:
        try:
            entries = self.folder.read_json(CHECKSUMS) if self.folder.path(CHECKSUMS).is_file() else {}
        except ValueError as error:
            raise NotFetched(f"{self.folder.path(CHECKSUMS)} is damaged ({error}); mend or remove it") from None
        if not isinstance(entries, dict) or not all(isinstance(e, dict) and "sha256" in e for e in entries.values()):
            raise NotFetched(f"{self.folder.path(CHECKSUMS)} is not as this kit writes it; mend or remove it")
        return entries

    def _record(self, file: Published, entry: dict) -> dict:
        self.folder.write_json(CHECKSUMS, self._entries() | {file.place: entry})
        return entry

    def _is_unpacked(self, entry: dict) -> bool:
        return "unpacked" in entry and all(self.folder.path(top).exists() for top in entry["unpacked"])


def must_match(path: Path, expected: str | None, kind: str, what_next: str) -> None:
    """Raise NotFetched unless the file has the checksum ``algorithm:hex``; None fits every file."""
    if expected is None:
        return
    algorithm, _, wanted = expected.partition(":")
    found = pooch.file_hash(str(path), alg=algorithm)
    if found != wanted:
        raise NotFetched(f"{path} has {algorithm} {found}; expected {wanted} ({kind}). {what_next}")


def stated_checksums(record: str) -> dict[str, str]:
    """File name -> ``algorithm:hex`` as the Zenodo record states it; {} if it does not answer with any."""
    url = f"{ZENODO}/api/records/{record}"
    try:
        with new_session(TRIES_OF_RECORD).get(url, stream=True, timeout=TIMEOUTS) as answer:
            must_be_there(answer)
            files = json.loads(answer.raw.read(RECORD_BYTES, decode_content=True))["files"]
            stated = {str(file["key"]): str(file["checksum"]).lower() for file in files}
    # No answer (OSError: those of requests too), no JSON, or of another shape.
    except (NotFetched, OSError, urllib3.exceptions.HTTPError, ValueError, LookupError, TypeError, RecursionError):
        stated = {}
    good = {name: c for name, c in stated.items() if re.fullmatch(r"md5:[0-9a-f]{32}|sha256:[0-9a-f]{64}", c)}
    if not good:
        print(f"{url} states no checksums now; the kit's own, or those recorded here, are used")
    return good
