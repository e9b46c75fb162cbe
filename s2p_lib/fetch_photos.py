"""Lists of addresses -> photos in the data folder, fetched politely, with a table of what became of each."""

import os
import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

import pandas as pd
import requests

from s2p_lib.datasets import SOURCES
from s2p_lib.decoding import TO_ONE_PIXEL, DecodingProcess
from s2p_lib.downloads import Gone, NotFetched, discard, download, must_be_photo, new_session, plain
from s2p_lib.progress import progress
from s2p_lib.run_folder import RunFolder

PHOTO_BYTES = 50_000_000  # a larger photo is refused
URL_LISTS = ("scripts/download_images.sh", "imglist.txt")
ADDRESS = re.compile(r"""https?://(?:(?!["'<>,;])[!-~])+""")  # of visible ASCII characters
OUTPUT_OPTION = re.compile(r"""\s-O\s*["']?([^\s"']+)""")  # of wget
PHOTOS_PER_BATCH = 1000  # as published
PHOTOS_PER_SAVE = 100  # a killed call forgets at most so many that are gone
FAILURES_IN_A_ROW = 10  # then the site wants to be left alone, or the network is down
NOT_TRIED = "not tried yet"
PHOTO_COLUMNS = ["image", "url", "status", "reason"]
PHOTO_NAME = re.compile(r"\w[\w.-]{0,150}\.(jpe?g|png|webp|gif|bmp|tiff?)", re.ASCII | re.IGNORECASE)
PHOTO_NOTICE = "Photos may show people and have licences of their own: do not share them."


def fetch_photos(
    into: str | Path,
    dataset: str | None = None,
    url_list: str | Path | None = None,
    per_second: float = 1.0,
    again: bool = False,
) -> pd.DataFrame:
    """Fetch the photos of a URL list, at most ``per_second`` of them, into ``curated_<dataset>/imgs/batch<k>/``.

    Columns image, url, status (there, fetched, gone, failed), reason; kept as ``photos_<dataset>.csv``. Another call
    goes on where this one stopped, and asks for those that are gone only with ``again``. Without ``url_list`` it is
    the published one in the dataset's folder. Raises FileNotFoundError or ValueError if there is none.
    """
    report = RunFolder(Path(into).resolve())
    report.dir.mkdir(parents=True, exist_ok=True)
    dataset = dataset or Path(url_list).stem
    folder, listed = _find_photos(report.dir, dataset, url_list)
    name = f"photos_{dataset}.csv"
    before = report.read_table(name) if report.path(name).is_file() else pd.DataFrame(columns=PHOTO_COLUMNS)
    if not set(PHOTO_COLUMNS) <= set(before.columns):
        raise ValueError(f"{report.path(name)} is not the table of an earlier call; move it away and call again")
    gone = {} if again else before[before["status"] == "gone"].set_index("url")["reason"].to_dict()
    table = _plan_photos(listed, folder / "imgs", gone)
    todo = progress(table.index[table["reason"] == NOT_TRIED], desc=f"photos of {dataset}", unit="photo")
    session, failures = new_session(), 0
    try:
        with DecodingProcess(TO_ONE_PIXEL) as decoder:
            for n, i in enumerate(_paced(todo, per_second)):
                status, reason = fetch_photo(session, decoder, table.loc[i, "url"], table.loc[i, "target"])
                table.loc[i, ["status", "reason"]] = [status, reason]
                failures = failures + 1 if status == "failed" else 0
                if failures == FAILURES_IN_A_ROW:
                    print(f"{failures} photos in a row failed, so the rest is left alone; call again later")
                    break
                if n % PHOTOS_PER_SAVE == PHOTOS_PER_SAVE - 1:
                    report.write_table(name, table[PHOTO_COLUMNS])
    finally:  # after Ctrl-C too
        report.write_table(name, table[PHOTO_COLUMNS])
        print(f"every photo's status and reason: {report.path(name)}")
    return table[PHOTO_COLUMNS]


def photos_text(table: pd.DataFrame, examples: int = 10) -> str:
    """Counts of a table of ``fetch_photos`` by status, and the first of those that are gone or failed."""
    counts = table["status"].value_counts().rename_axis("status").rename("photos").reset_index().to_string(index=False)
    missing = table[table["status"].isin(["gone", "failed"])].groupby("status").head(examples)
    shown = f"\n\nThe first that are gone or failed:\n{missing.to_string(index=False)}" if len(missing) else ""
    return plain(f"{counts}{shown}\n\n{PHOTO_NOTICE}")


def fetch_photo(session: requests.Session, decoder: DecodingProcess, url: str, target: Path) -> tuple[str, str | None]:
    """Status and reason of one photo; it appears as ``target`` only when whole and readable."""
    part = target.with_name(f"{target.name}.part")
    try:
        download(session, url, part, PHOTO_BYTES)
        must_be_photo(part, decoder)
        os.replace(part, target)
        return "fetched", None
    except (NotFetched, OSError) as error:
        outcome = ("gone" if isinstance(error, Gone) else "failed"), plain(error)
    discard(part)
    return outcome


def read_url_list(path: str | Path) -> pd.DataFrame:
    """Columns file, url, reason (why it is refused, or None) of a text with an address a line, maybe for wget.

    The file's name is the one after ``-O``, else the last part of the address.
    """
    rows, names = {}, set()
    for line in Path(path).read_text(encoding="utf-8", errors="replace").splitlines():
        found, output = ADDRESS.search(line), OUTPUT_OPTION.search(line)
        if found is None or line.lstrip().startswith("#"):
            continue
        name = photo_name(found[0], output and output[1])
        reason = None if PHOTO_NAME.fullmatch(name) else "its file name is odd or not that of a photo; refused"
        if (name, found[0]) not in rows:
            rows[name, found[0]] = reason or ("another address has this file name" if name in names else None)
        names.add(name)
    table = [(plain(name), url, reason) for (name, url), reason in rows.items()]
    return pd.DataFrame(table, columns=["file", "url", "reason"], dtype=object)


def photo_name(url: str, output: str | None = None) -> str:
    """The bare name of a photo's file: that of ``output`` if given (its suffix may be missing), else of the address."""
    last = PurePosixPath(urlsplit(url).path)
    name = PurePosixPath(output).name if output else last.name
    return name if PurePosixPath(name).suffix else name + last.suffix


def _find_photos(into: Path, dataset: str, url_list: str | Path | None) -> tuple[Path, pd.DataFrame]:
    """The dataset's folder, and its list with the most addresses: published are a list, a script, or both."""
    names = SOURCES[dataset].photo_folders if dataset in SOURCES else (f"curated_{dataset}",)
    folders = [into / name for name in names]
    folder = next((folder for folder in folders if folder.is_dir()), folders[0])
    files = [Path(url_list)] if url_list else [folder / name for name in URL_LISTS]
    lists = [read_url_list(file) for file in files if file.is_file()]
    if not any(map(len, lists)):
        raise FileNotFoundError(
            f"no list of addresses in {', '.join(map(str, files))}. Fetch the published one first (s2p fetch labels), "
            "or give one: --list FILE, with one http or https address a line."
        )
    return folder, max(lists, key=len)


def _plan_photos(listed: pd.DataFrame, imgs: Path, gone: dict[str, str]) -> pd.DataFrame:
    """``PHOTO_COLUMNS`` and ``target``; what has to be fetched is ``failed`` because ``NOT_TRIED``.

    Photos keep the order of the list, and holes stay, so that batches are those of the annotations where possible.
    """
    on_disk = {file.name: file for file in imgs.glob("batch*/*") if PHOTO_NAME.fullmatch(file.name)}
    full = Counter(file.parent.name for file in on_disk.values())
    digits = 1 if len(listed) <= 9 * PHOTOS_PER_BATCH else 2
    rows = []
    for i, (file, url, refused) in enumerate(listed.itertuples(index=False)):
        k = i // PHOTOS_PER_BATCH
        while full[f"batch{k:0{digits}d}"] >= PHOTOS_PER_BATCH:
            k += 1
        target = on_disk.get(file, imgs / f"batch{k:0{digits}d}" / file)
        if refused:
            status, reason = "failed", refused
        elif file in on_disk and target.stat().st_size:  # wget leaves an empty file where a photo is gone
            status, reason = "there", None
        else:
            status, reason = ("gone", gone[url]) if url in gone else ("failed", NOT_TRIED)
            full[target.parent.name] += file not in on_disk
        rows.append((PurePosixPath(file).stem, url, status, reason, target))
    return pd.DataFrame(rows, columns=[*PHOTO_COLUMNS, "target"], dtype=object)


def _paced(items: Iterable, per_second: float) -> Iterator:
    """The items, no faster than ``per_second`` of them."""
    due = time.monotonic()
    for item in items:
        time.sleep(max(0.0, due - time.monotonic()))
        due = time.monotonic() + 1 / per_second
        yield item
