"""Zip archives -> files in a folder.

An archive is taken for hostile: it is checked before a byte of it is unpacked, and a name before it becomes a path.
"""

import lzma
import os
import shutil
import stat
import zipfile
import zlib
from collections import Counter
from collections.abc import Collection
from pathlib import Path, PurePosixPath, PureWindowsPath

from s2p_lib.downloads import CHUNK, NotFetched
from s2p_lib.progress import progress

UNPACKED_FILES, UNPACKED_BYTES, UNPACKED_RATIO = 200_000, 4_000_000_000, 100  # of one archive, at most
TOP_FOLDER = "curated_imageprivacy_datasets"  # stripped, so that curated_ipd lies in the data folder itself
# What zipfile raises for damaged files; RuntimeError for passwords and unknown ways of packing.
BAD_ARCHIVE = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, RuntimeError, ValueError)


def unpack(archive: Path, into: Path, own: Collection[str] = ()) -> dict[str, int]:
    """Unpack a zip file into a folder, merging file by file; number of files by their first folder.

    Nothing lands outside ``into``, or on one of the places ``own`` in it. All is unpacked aside first, so that an
    archive that is refused, damaged or killed half-way changes nothing. Raises NotFetched.
    """
    aside = into / f".unpacking-{archive.name}"
    shutil.rmtree(aside, ignore_errors=True)  # of a killed call
    try:
        with zipfile.ZipFile(archive) as content:
            left = min(UNPACKED_BYTES, UNPACKED_RATIO * archive.stat().st_size)
            members = _checked_members(content, into, own, left)
            for place, member in progress(members.items(), desc=f"unpacking {archive.name}", unit="file"):
                left = _unpack_member(content, member, aside / place, left)
        for place in members:
            (into / place).parent.mkdir(parents=True, exist_ok=True)
            os.replace(aside / place, into / place)
    except BAD_ARCHIVE as error:
        raise NotFetched(
            f"{archive} was not unpacked: {error}. Remove it and call again; if the published archive is like that, "
            "look into it before you unpack it by hand."
        ) from None
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return dict(Counter(place.parts[0] for place in members))


def _checked_members(
    content: zipfile.ZipFile, into: Path, own: Collection[str], limit: int
) -> dict[PurePosixPath, zipfile.ZipInfo]:
    """Place -> member of all files in the archive. ValueError for whatever a published archive does not need."""
    infos = content.infolist()
    if len(infos) > UNPACKED_FILES:
        raise ValueError(f"it holds {len(infos):,} files; at most {UNPACKED_FILES:,} are allowed")
    if (size := sum(info.file_size for info in infos)) > limit:
        raise ValueError(f"it unpacks to {size:,} bytes; at most {limit:,} are allowed for an archive of its size")
    members = {}
    for info in infos:
        place = _safe_place(info)
        if info.is_dir():
            continue
        if place in members or str(place) in own or (into / place).is_dir():
            raise ValueError(f"its member {info.filename!r} comes twice or would replace something else; refused")
        members[place] = info
    for folder in {place.parent for place in members}:
        if not (into / folder).resolve().is_relative_to(into.resolve()):
            raise ValueError(f"{into / folder} is a link to elsewhere; nothing is unpacked through it")
    return members


def _safe_place(info: zipfile.ZipInfo) -> PurePosixPath:
    """Where a member goes, relative to the target; ValueError unless it is a plain file or folder inside."""
    path = PureWindowsPath(info.orig_filename)  # splits at / and \\, knows drive letters
    if path.anchor or ".." in path.parts or not info.orig_filename.isprintable():
        raise ValueError(f"its member {info.orig_filename!r} leaves the target folder or has an odd name; refused")
    if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise ValueError(f"its member {info.filename!r} is a link or a device; refused")
    return PurePosixPath(*(path.parts[1:] if path.parts[:1] == (TOP_FOLDER,) else path.parts))


def _unpack_member(content: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path, left: int) -> int:
    """Write one member; the number of bytes that the rest of the archive may still unpack to."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with content.open(member) as source, open(target, "xb") as file:
        while chunk := source.read(CHUNK):
            left -= len(chunk)
            if left < 0:
                raise ValueError("it unpacks to more bytes than are allowed for an archive of its size")
            file.write(chunk)
    return left
