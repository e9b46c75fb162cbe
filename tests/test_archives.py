"""Archives as they are published, and as nobody should publish them."""

import io
import stat
import zipfile
from collections.abc import Collection

import pytest
from server import BODY, archive, everything

from s2p_lib import archives
from s2p_lib.downloads import NotFetched


def unpacked(tmp_path, members: dict[str, bytes]) -> dict[str, bytes]:
    """Unpack an archive of these members into ``tmp_path/a/data``; all that is below ``tmp_path`` afterwards."""
    source = tmp_path / "a" / "x.zip"
    source.parent.mkdir(exist_ok=True)
    source.write_bytes(archive(members))
    (tmp_path / "a" / "data").mkdir(exist_ok=True)
    archives.unpack(source, tmp_path / "a" / "data")
    return everything(tmp_path / "a" / "data")


def refused(tmp_path, content: bytes, match: str, own: Collection[str] = ()) -> None:
    """The archive is refused, and nothing but itself is below ``tmp_path`` afterwards."""
    source, data = tmp_path / "x.zip", tmp_path / "in" / "data"
    source.write_bytes(content)
    data.mkdir(parents=True, exist_ok=True)
    before = everything(tmp_path)
    with pytest.raises(NotFetched, match=match):
        archives.unpack(source, data, own)
    assert everything(tmp_path) == before
    assert list(data.glob(".*")) == []


def test_an_archive_keeps_its_folders_but_for_the_one_of_the_labels(tmp_path):
    members = {"curated_imageprivacy_datasets/curated_ipd/a.csv": b"1", "PicAlert/scenes/batch00/b.csv": b"2"}
    assert unpacked(tmp_path, members) == {"curated_ipd/a.csv": b"1", "PicAlert/scenes/batch00/b.csv": b"2"}


def test_an_archive_is_merged_file_by_file(tmp_path):
    unpacked(tmp_path, {"d/a": b"old", "d/b": b"stays"})
    assert unpacked(tmp_path, {"d/": b"", "d/a": b"new", "d/c": b"comes"}) == {
        "d/a": b"new",
        "d/b": b"stays",
        "d/c": b"comes",
    }


def test_the_number_of_files_by_folder_is_told(tmp_path):
    source = tmp_path / "x.zip"
    source.write_bytes(archive({"a/1": b"", "a/b/2": b"", "c/3": b""}))
    assert archives.unpack(source, tmp_path / "data") == {"a": 2, "c": 1}


def test_backslashes_inside_are_folders(tmp_path):
    assert unpacked(tmp_path, {"d\\a.csv": b"1"}) == {"d/a.csv": b"1"}


@pytest.mark.parametrize(
    "name",
    [
        *("../evil", "d/../../evil", "/tmp/s2p_evil", "C:\\evil", "C:evil", "..\\evil", "d\\..\\..\\evil"),
        *("\\\\server\\share\\evil", "\\evil", "d/\x1b[2Jevil", "curated_imageprivacy_datasets/../../evil"),
    ],
)
def test_a_member_that_leaves_the_folder_is_refused(tmp_path, name):
    refused(tmp_path, archive({"good": b"1", name: b"evil"}), "leaves the target folder or has an odd name")


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_links_and_devices_are_refused(tmp_path, kind):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as content:
        info = zipfile.ZipInfo("link")
        info.external_attr = (kind | 0o777) << 16
        content.writestr(info, "/etc")
        content.writestr("link/passwd", "evil")
    refused(tmp_path, file.getvalue(), "is a link or a device")


def test_an_encrypted_member_is_refused(tmp_path):
    content = bytearray(archive({"a": b"1"}))
    content[content.index(b"PK\x01\x02") + 8] |= 1
    refused(tmp_path, bytes(content), "is encrypted")


def test_too_many_files_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "UNPACKED_FILES", 3)
    refused(tmp_path, archive({str(i): b"" for i in range(4)}), "holds 4 files; at most 3")


def test_a_bomb_is_refused(tmp_path):
    refused(tmp_path, archive({"bomb": bytes(10**6)}), "unpacks to 1,000,000 bytes; at most")


def test_too_many_bytes_are_refused_whatever_the_ratio(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "UNPACKED_BYTES", 100)
    refused(tmp_path, archive({"a": BODY}), "unpacks to 10,240 bytes; at most 100")


def test_an_archive_that_lies_about_its_sizes_is_refused(tmp_path):
    content = archive({"bomb": bytes(10**6)})
    lie = content.replace((10**6).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    assert lie != content
    refused(tmp_path, lie, "was not unpacked")


def test_bytes_are_counted_while_they_are_written_too(tmp_path):
    with zipfile.ZipFile(io.BytesIO(archive({"a": BODY}))) as content:
        assert archives._unpack_member(content, content.infolist()[0], tmp_path / "a", len(BODY) + 5) == 5
        with pytest.raises(ValueError, match="more bytes than are allowed"):
            archives._unpack_member(content, content.infolist()[0], tmp_path / "b", len(BODY) - 1)


@pytest.mark.parametrize(
    "content", [b"", b"no archive", archive({"a": BODY})[:-40], archive({"a": BODY, "b": BODY})[9:]]
)
def test_a_damaged_archive_is_refused(tmp_path, content):
    refused(tmp_path, content, "was not unpacked.*Remove it and call again")


def test_a_damaged_member_is_refused(tmp_path):
    content = bytearray(archive({"good": b"1", "bad": bytes(range(200))}))
    content[content.index(b"bad") + 100] ^= 0xFF
    refused(tmp_path, bytes(content), "was not unpacked")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_member_that_comes_twice_is_refused(tmp_path):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as content:
        content.writestr("a", "1")
        content.writestr("./a", "2")
    refused(tmp_path, file.getvalue(), "comes twice")


def test_nothing_is_unpacked_through_a_link_to_elsewhere(tmp_path):
    (tmp_path / "in" / "data").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "in" / "data" / "d").symlink_to(tmp_path / "elsewhere")
    refused(tmp_path, archive({"d/a": b"evil"}), "is a link to elsewhere")
    refused(tmp_path, archive({"d/e/a": b"evil"}), "is a link to elsewhere")


def test_an_archive_cannot_replace_what_is_protected_or_a_folder(tmp_path):
    (tmp_path / "in" / "data" / "folder").mkdir(parents=True)
    for name in ("own", "./d/own", "folder"):
        refused(tmp_path, archive({name: b"evil"}), "would replace something else", own={"own", "d/own"})
