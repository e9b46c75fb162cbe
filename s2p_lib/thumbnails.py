"""Small pictures of photos as JPEG bytes, made once and kept on disk."""

import hashlib
import os
import secrets
import shutil
from pathlib import Path

from s2p_lib.pictures import as_jpeg, picture


class Thumbnails:
    """Square thumbnails of ``size`` pixels in ``folder``, shown as ``how`` says (see ``pictures.picture``).

    A file's name is a hash of the photo's path, length and time of change, so that a changed photo gets a new
    thumbnail and no name of a photo is readable in the folder. The folder is made with the first thumbnail. Where
    photos are not to be shown as they are, thumbnails that show them so, from another time, are removed.
    """

    def __init__(self, folder: str | Path, how: str, size: int = 150):
        self.folder, self.how, self.size = Path(folder) / how, how, size
        if how != "photos":
            shutil.rmtree(Path(folder) / "photos", ignore_errors=True)

    def jpeg(self, path: str | Path) -> bytes | None:
        """The thumbnail's bytes; a grey square if the photo is gone or damaged, None if ``how`` is ``scenes``."""
        if self.how == "scenes":
            return None
        try:
            state = Path(path).stat()
        except (OSError, ValueError):  # gone, or a name that no file can have; not kept, it may come back
            return photo_jpeg(path, self.how, self.size)
        key = f"{Path(path).resolve()}\0{state.st_size}\0{state.st_mtime_ns}\0{self.size}"
        kept = self.folder / f"{hashlib.sha256(os.fsencode(key)).hexdigest()[:32]}.jpg"
        try:
            return kept.read_bytes()
        except FileNotFoundError:
            made = photo_jpeg(path, self.how, self.size)
            self._keep(kept, made)
            return made

    def _keep(self, file: Path, content: bytes) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        part = file.with_suffix(f".{secrets.token_hex(4)}.part")  # two threads may make the same one
        part.write_bytes(content)
        os.replace(part, file)


def photo_jpeg(path: str | Path, how: str, size: int) -> bytes | None:
    """``pictures.picture`` as the bytes of a JPEG, without the photo's metadata; None if ``how`` is ``scenes``."""
    image = picture(path, how, size)
    return None if image is None else as_jpeg(image)
