"""Published files, from a server on this machine that serves corrupt and changed ones too."""

import hashlib
import json
import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from server import BODY, archive, everything, photo, running_site, send

from s2p_lib import archives, downloads, fetch
from s2p_lib.__main__ import main
from s2p_lib.downloads import NotFetched
from s2p_lib.fetch import Published

FILE = Published("a.bin", len(BODY), record="1")


@pytest.fixture
def site(monkeypatch):
    with running_site(monkeypatch) as site:
        monkeypatch.setattr(fetch, "ZENODO", f"{site.url}/zenodo")
        monkeypatch.setattr(fetch, "AUTHORS_SITE", f"{site.url}/authors")
        monkeypatch.setattr(fetch, "FILES", {})
        yield site


@pytest.fixture
def data(tmp_path) -> Path:
    return tmp_path / "data"


def md5(body: bytes) -> str:
    return "md5:" + hashlib.md5(body).hexdigest()


def sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def at_zenodo(site, body: bytes, name: str = "a.bin", stated: str | None = None) -> None:
    site.serve(f"/zenodo/records/1/files/{name}", body)
    record = {"files": [{"key": name, "checksum": stated or md5(body)}]}
    site.serve("/zenodo/api/records/1", json.dumps(record).encode())


def without_record(site, *answers, sha: str | None = None) -> Published:
    """A file at an address of its own: no record states its checksum."""
    return Published("w.tar", len(BODY), url=site.serve("/w.tar", *answers), sha256=sha, advice="Do without.")


def test_archives_lie_at_zenodo_and_the_data_also_at_the_authors_site():
    first, second = fetch.FILES["labels"][0].addresses()
    assert first == "https://zenodo.org/records/15348506/files/curated_imageprivacy_datasets.zip?download=1"
    folder = "http://www.eecs.qmul.ac.uk/~ax300/privacy-from-visual-entities"
    assert second == f"{folder}/curated_imageprivacy_datasets.zip"
    for file in fetch.FILES["checkpoints"]:
        assert file.addresses() == [f"https://zenodo.org/records/15349470/files/{file.name}?download=1"]


def test_the_nine_demo_photos_are_named_after_their_numbers():
    photos = fetch.FILES["demo-photos"]
    assert len(photos) == 9
    assert photos[0].place == "demo_photos/50039888078.jpg"
    assert photos[6].url == "https://live.staticflickr.com/1887/43830339314_f317a8e1c9_c.jpg"


def test_the_way_around_the_places365_site_is_known():
    assert all("released checkpoint" in file.advice for file in fetch.FILES["places365"])


def test_no_two_files_share_a_place():
    places = [file.place for files in fetch.FILES.values() for file in files]
    assert len(set(places)) == len(places) == 17


def test_a_file_is_held_to_the_checksum_of_its_record(site, data):
    at_zenodo(site, BODY)
    row = fetch.Fetcher(data).fetch(FILE)
    assert row == {"status": "fetched", "size": len(BODY), "checksum": "md5 of the record"}
    assert everything(data) == {"a.bin": BODY}
    entry = json.loads((data / fetch.CHECKSUMS).read_text())["a.bin"]
    assert entry["sha256"] == sha256(BODY)


def test_without_an_answer_of_the_record_the_kits_checksum_decides(site, data):
    at_zenodo(site, BODY)
    site.serve("/zenodo/api/records/1", send(status=503))
    good = Published("a.bin", len(BODY), "1", sha256(BODY))
    assert fetch.Fetcher(data).fetch(good)["checksum"] == "sha256 known"
    with pytest.raises(NotFetched, match=sha256(b"else")):
        fetch.Fetcher(data / "2").fetch(Published("a.bin", len(BODY), "1", sha256(b"else")))


@pytest.mark.parametrize(
    "answer", [b"<html>", b"[" * 100_000, b'{"files": 3}', b'{"files": [{"key": "a.bin"}]}', b"[]"]
)
def test_a_record_that_makes_no_sense_is_as_good_as_none(site, data, answer, capsys):
    at_zenodo(site, BODY)
    site.serve("/zenodo/api/records/1", answer)
    assert fetch.Fetcher(data).fetch(FILE)["checksum"] == "recorded at first download"
    assert "states no checksums" in capsys.readouterr().out


def test_a_record_that_is_down_is_not_waited_for_long(site, data):
    at_zenodo(site, BODY)
    site.serve("/zenodo/api/records/1", send(status=503))
    fetch.Fetcher(data).fetch(FILE)
    assert site.asked().count("/zenodo/api/records/1") == fetch.TRIES_OF_RECORD < downloads.TRIES


def test_a_record_without_end_is_not_read(site, data, monkeypatch):
    monkeypatch.setattr(fetch, "RECORD_BYTES", 30)
    at_zenodo(site, BODY)
    assert fetch.Fetcher(data).fetch(FILE)["checksum"] == "recorded at first download"


def test_the_records_checksum_wins_over_the_kits(site, data, capsys):
    at_zenodo(site, BODY)
    fetch.Fetcher(data).fetch(Published("a.bin", len(BODY), "1", sha256(b"older")))
    assert "the record's own checksum wins" in capsys.readouterr().out


def test_a_file_that_fits_the_kits_checksum_but_not_the_records_is_refused(site, data):
    at_zenodo(site, BODY, stated=md5(b"newer"))
    with pytest.raises(NotFetched, match="does not match"):
        fetch.Fetcher(data).fetch(Published("a.bin", len(BODY), "1", sha256(BODY)))


def test_the_record_is_asked_once_for_all_its_files(site, data):
    at_zenodo(site, BODY)
    fetcher = fetch.Fetcher(data)
    fetcher.fetch(FILE)
    site.serve("/zenodo/records/1/files/b.bin", BODY)
    fetcher.fetch(Published("b.bin", len(BODY), "1"))
    assert site.asked().count("/zenodo/api/records/1") == 1


def test_a_file_without_a_published_checksum_is_recorded_and_that_is_said(site, data, capsys):
    row = fetch.Fetcher(data).fetch(without_record(site, BODY))
    assert row["checksum"] == "recorded at first download"
    assert sha256(BODY) in capsys.readouterr().out


def test_a_file_that_changed_on_disk_is_an_error_that_says_what_to_do(site, data):
    file = without_record(site, BODY)
    fetch.Fetcher(data).fetch(file)
    (data / "w.tar").write_bytes(b"changed")
    with pytest.raises(NotFetched, match=f"has sha256 {sha256(b'changed')}; expected {sha256(BODY)}.*Move it away"):
        fetch.Fetcher(data).fetch(file)
    assert (data / "w.tar").read_bytes() == b"changed"


def test_a_file_fetched_again_must_be_that_of_the_first_time(site, data):
    file = without_record(site, BODY)
    fetch.Fetcher(data).fetch(file)
    (data / "w.tar").unlink()
    site.serve("/w.tar", b"another")
    with pytest.raises(NotFetched, match=r"remove its entry from checksums\.json"):
        fetch.Fetcher(data).fetch(file)
    assert everything(data) == {}


def test_a_record_that_states_another_file_now_does_not_replace_the_first_one(site, data):
    at_zenodo(site, BODY)
    fetch.Fetcher(data).fetch(FILE)
    (data / "a.bin").unlink()
    at_zenodo(site, b"another")
    with pytest.raises(NotFetched, match="another file is published now"):
        fetch.Fetcher(data).fetch(FILE)
    assert everything(data) == {}


def test_a_second_call_asks_the_network_nothing(site, data):
    at_zenodo(site, BODY)
    fetch.Fetcher(data).fetch(FILE)
    site.log.clear()
    assert fetch.Fetcher(data).fetch(FILE)["status"] == "there"
    assert site.log == []


def test_a_file_put_there_by_hand_is_checked_and_left_alone(site, data):
    at_zenodo(site, BODY)
    data.mkdir()
    (data / "a.bin").write_bytes(b"wrong")
    with pytest.raises(NotFetched, match=r"md5 of the record\)\. Move it away"):
        fetch.Fetcher(data).fetch(FILE)
    assert everything(data) == {"a.bin": b"wrong"}
    (data / "a.bin").write_bytes(BODY)
    assert fetch.Fetcher(data).fetch(FILE)["status"] == "there"


def test_a_damaged_list_of_checksums_is_named(site, data):
    data.mkdir()
    (data / fetch.CHECKSUMS).write_text("{")
    with pytest.raises(NotFetched, match=r"checksums\.json is damaged"):
        fetch.Fetcher(data).fetch(FILE)


def test_a_corrupt_download_is_deleted_and_fetched_anew(site, data):
    at_zenodo(site, BODY)
    site.serve("/zenodo/records/1/files/a.bin", BODY[:-1] + b"x", BODY)
    fetch.Fetcher(data).fetch(FILE)
    assert everything(data) == {"a.bin": BODY}
    assert site.ranges() == [None, None, None]


def test_a_file_that_stays_corrupt_is_a_clear_error_and_leaves_nothing(site, data):
    at_zenodo(site, b"corrupt", stated=md5(BODY))
    with pytest.raises(NotFetched, match=f"(?s)a.bin was not fetched.*expected {md5(BODY)}.*--mirror URL.*--from DIR"):
        fetch.Fetcher(data).fetch(FILE)
    assert everything(data) == {}


def test_sources_are_tried_in_order_and_all_are_named_when_none_has_the_file(site, data, tmp_path, monkeypatch):
    monkeypatch.setattr(fetch, "DATA_RECORD", "1")
    known = replace(FILE, sha256=hashlib.sha256(BODY).hexdigest())
    with pytest.raises(NotFetched, match=r"doi\.org/10\.5281/zenodo\.1\b") as error:
        fetch.Fetcher(data, tmp_path, [f"{site.url}/m1/", f"{site.url}/m2"]).fetch(known)
    tried = ["/m1/a.bin", "/m2/a.bin", "/zenodo/records/1/files/a.bin", "/authors/a.bin"]
    assert site.asked()[1:] == tried
    assert all(part in str(error.value) for part in [*tried, str(tmp_path / "a.bin")])


def test_without_any_checksum_the_older_copies_over_plain_http_are_not_taken(site, data, monkeypatch):
    monkeypatch.setattr(fetch, "DATA_RECORD", "1")
    site.serve("/authors/a.bin", BODY)
    with pytest.raises(NotFetched):
        fetch.Fetcher(data).fetch(FILE)
    assert "/authors/a.bin" not in site.asked()


def test_a_file_that_was_first_seen_is_held_to_its_record_once_that_answers(site, data):
    site.serve("/zenodo/records/1/files/a.bin", b"what somebody made of it")
    assert fetch.Fetcher(data).fetch(FILE)["checksum"] == fetch.FIRST_SEEN
    at_zenodo(site, BODY)
    with pytest.raises(NotFetched, match=r"md5 of the record\)"):
        fetch.Fetcher(data).fetch(FILE)


@pytest.mark.parametrize("content", ["[]", '{"a.bin": 3}', '{"a.bin": {}}'])
def test_a_list_of_checksums_of_another_make_is_named(site, data, content):
    data.mkdir()
    (data / fetch.CHECKSUMS).write_text(content)
    with pytest.raises(NotFetched, match="not as this kit writes it"):
        fetch.Fetcher(data).fetch(FILE)


def test_a_mirror_that_serves_a_corrupt_file_gives_way_to_the_next(site, data):
    at_zenodo(site, BODY)
    site.serve("/mirror/a.bin", b"corrupt")
    fetch.Fetcher(data, None, [f"{site.url}/mirror"]).fetch(FILE)
    assert site.asked()[1:] == ["/mirror/a.bin", "/mirror/a.bin", "/zenodo/records/1/files/a.bin"]
    assert everything(data) == {"a.bin": BODY}


def test_a_mirror_must_be_an_address(data):
    with pytest.raises(ValueError, match="for a folder use --from"):
        fetch.Fetcher(data, None, ["/somewhere"])


def test_a_file_of_ones_own_is_taken_first_checked_and_never_changed(site, data, tmp_path):
    at_zenodo(site, BODY)
    own = tmp_path / "own"
    own.mkdir()
    (own / "a.bin").write_bytes(BODY)
    before = (own / "a.bin").stat()
    assert fetch.Fetcher(data, own).fetch(FILE)["checksum"] == "md5 of the record"
    assert site.asked() == ["/zenodo/api/records/1"]
    assert everything(own) == {"a.bin": BODY}
    assert (own / "a.bin").stat().st_mtime_ns == before.st_mtime_ns
    assert everything(data) == {"a.bin": BODY}


@pytest.mark.parametrize(("wrong", "why"), [(b"corrupt", "does not match"), (BODY * 3, "at most 20,480 are allowed")])
def test_a_wrong_file_of_ones_own_gives_way_to_the_network(site, data, tmp_path, wrong, why):
    (tmp_path / "a.bin").write_bytes(wrong)
    at_zenodo(site, BODY)
    site.serve("/zenodo/records/1/files/a.bin", send(status=404))
    with pytest.raises(NotFetched, match=why):
        fetch.Fetcher(data, tmp_path).fetch(FILE)
    site.serve("/zenodo/records/1/files/a.bin", BODY)
    fetch.Fetcher(data, tmp_path).fetch(FILE)
    assert (data / "a.bin").read_bytes() == BODY
    assert (tmp_path / "a.bin").read_bytes() == wrong


def test_half_a_download_is_removed_when_the_file_came_from_elsewhere(site, data, tmp_path):
    at_zenodo(site, BODY)
    site.serve("/zenodo/records/1/files/a.bin", send(BODY, send_bytes=6000))
    with pytest.raises(NotFetched, match="broke off"):
        fetch.Fetcher(data).fetch(FILE)
    assert sorted(everything(data)) == ["a.bin.part", "a.bin.part.json"]
    (tmp_path / "a.bin").write_bytes(BODY)
    fetch.Fetcher(data, tmp_path).fetch(FILE)
    assert everything(data) == {"a.bin": BODY}


def test_where_the_site_is_down_the_error_says_how_to_do_without(site, data):
    with pytest.raises(NotFetched, match="Do without"):
        fetch.Fetcher(data).fetch(without_record(site, send(status=503)))


def test_a_slow_file_has_its_name_only_when_it_is_whole(site, data):
    half_sent, go_on = threading.Event(), threading.Event()

    def pause():
        half_sent.set()
        go_on.wait(10)

    at_zenodo(site, BODY)
    site.serve("/zenodo/records/1/files/a.bin", send(BODY, before=pause))
    thread = threading.Thread(target=fetch.Fetcher(data).fetch, args=[FILE])
    thread.start()
    assert half_sent.wait(10)
    assert not (data / "a.bin").exists()
    go_on.set()
    thread.join(10)
    assert everything(data) == {"a.bin": BODY}


def zenodo_archive(site, members: dict[str, bytes]) -> Published:
    content = archive(members)
    at_zenodo(site, content, "x.zip")
    return Published("x.zip", len(content), "1")


def test_an_archive_is_unpacked_once(site, data, monkeypatch):
    file = zenodo_archive(site, {"d/a": b"1"})
    assert fetch.Fetcher(data).fetch(file)["status"] == "fetched, unpacked"
    (data / "d" / "a").write_bytes(b"edited")
    assert fetch.Fetcher(data).fetch(file)["status"] == "there"
    assert (data / "d" / "a").read_bytes() == b"edited"


def test_an_archive_whose_folder_was_removed_is_unpacked_again(site, data):
    file = zenodo_archive(site, {"d/a": b"1"})
    fetch.Fetcher(data).fetch(file)
    (data / "d" / "a").unlink()
    (data / "d").rmdir()
    assert fetch.Fetcher(data).fetch(file)["status"] == "there, unpacked"
    assert (data / "d" / "a").read_bytes() == b"1"


def test_an_unpacked_archive_may_be_removed(site, data):
    file = zenodo_archive(site, {"d/a": b"1"})
    fetch.Fetcher(data).fetch(file)
    (data / "x.zip").unlink()
    site.log.clear()
    assert fetch.Fetcher(data).fetch(file)["status"] == "unpacked before"
    assert site.log == []


@pytest.mark.parametrize("killed", ["_unpack_member", "replace"])
def test_an_unpacking_that_was_killed_is_done_again(site, data, monkeypatch, killed):
    file = zenodo_archive(site, {f"d/{i}": b"1" for i in range(4)})
    where = archives if killed == "_unpack_member" else os
    calls, real = [], getattr(where, killed)

    def kill_in_the_middle(*args):
        calls.append(args)
        if "unpacking" in str(args) and len([c for c in calls if "unpacking" in str(c)]) == 3:
            raise KeyboardInterrupt
        return real(*args)

    monkeypatch.setattr(where, killed, kill_in_the_middle)
    with pytest.raises(KeyboardInterrupt):
        fetch.Fetcher(data).fetch(file)
    if killed == "_unpack_member":
        assert list(everything(data)) == ["x.zip"]
    monkeypatch.setattr(where, killed, real)
    (data / ".unpacking-x.zip").mkdir()  # what a harder kill leaves
    (data / ".unpacking-x.zip" / "d").write_text("half")
    assert fetch.Fetcher(data).fetch(file)["status"] == "there, unpacked"
    assert list(everything(data)) == ["d/0", "d/1", "d/2", "d/3", "x.zip"]


def test_an_archive_cannot_replace_the_kits_own_files(site, data, monkeypatch):
    monkeypatch.setattr(fetch, "FILES", {"x": (FILE,)})
    for name in (fetch.CHECKSUMS, FILE.place):
        with pytest.raises(NotFetched, match="would replace something else"):
            fetch.Fetcher(data).fetch(zenodo_archive(site, {name: b"evil"}))
        assert list(everything(data)) == ["x.zip"]
        (data / "x.zip").unlink()
        (data / fetch.CHECKSUMS).unlink()


def s2p(*arguments: str):
    return CliRunner().invoke(main, ["fetch", *map(str, arguments)])


@pytest.fixture
def two_files(site, monkeypatch):
    at_zenodo(site, BODY)
    gone = Published("gone.bin", 10, url=site.url + "/gone", advice="Do without.")
    monkeypatch.setattr(fetch, "FILES", {"labels": (FILE,), "scenes": (gone,)})


def test_an_unknown_name_is_an_error_that_lists_the_known_ones(data):
    done = s2p("labels", "nonsense", "--into", data)
    assert done.exit_code == 1
    for name in ("'nonsense'", "labels", "scenes", "checkpoints", "places365", "demo-photos", "photos"):
        assert name in done.output
    assert not data.exists()


def test_the_command_ends_with_a_table_and_success(two_files, data):
    done = s2p("labels", "--into", data)
    assert done.exit_code == 0
    assert ["a.bin", "fetched", "0.01", "MB", "md5", "of", "the", "record"] in [
        x.split() for x in done.output.split("\n")
    ]


def test_a_file_that_is_missing_hides_no_other_and_makes_the_command_fail(two_files, data):
    done = s2p("scenes", "labels", "--into", data)
    assert done.exit_code == 1
    assert everything(data) == {"a.bin": BODY}
    lines = [line.split() for line in done.output.split("\n")]
    assert ["gone.bin", "missing", "-", "-"] in lines
    assert "HTTP 404" in done.output
    assert "Do without." in done.output


def test_the_command_takes_files_and_mirrors_of_ones_own(site, two_files, data, tmp_path):
    (tmp_path / "a.bin").write_bytes(BODY)
    site.serve("/mirror/gone.bin", b"found")
    done = s2p("labels", "scenes", "--into", data, "--from", tmp_path, "--mirror", f"{site.url}/mirror")
    assert done.exit_code == 0
    assert everything(data) == {"a.bin": BODY, "gone.bin": b"found"}
    assert site.asked() == ["/zenodo/api/records/1", "/mirror/gone.bin"]
    assert s2p("labels", "--into", data, "--mirror", "/here").exit_code == 1


def test_photos_of_nobody_knows_what_are_refused_before_anything_is_fetched(two_files, site, data):
    for arguments in (["photos", "labels"], ["photos", "labels", "--dataset", "ipd"]):
        done = s2p(*arguments, "--into", data)
        assert done.exit_code == 1
        assert "picalert, vispr, privacyalert" in done.output
    assert site.log == []


def test_photos_without_a_list_do_not_hide_the_files(two_files, data):
    done = s2p("labels", "photos", "--dataset", "vispr", "--into", data)
    assert done.exit_code == 1
    assert "md5 of the record" in done.output
    assert "s2p fetch labels" in done.output


def test_demo_photos_must_be_photos(site, data, monkeypatch):
    wanted = Published("demo_photos/1.jpg", 10**6, url=site.serve("/1.jpg", b"<html>"))
    monkeypatch.setattr(fetch, "FILES", {"demo-photos": (wanted,)})
    assert "what came cannot be used as a photo: not an image" in s2p("demo-photos", "--into", data).output
    site.serve("/1.jpg", photo())
    done = s2p("demo-photos", "--into", data)
    assert done.exit_code == 0
    assert "do not share them" in done.output
    assert everything(data) == {"demo_photos/1.jpg": photo()}


def test_control_characters_of_others_do_not_reach_the_terminal(site, data, monkeypatch):
    def fail(self, file):
        raise NotFetched("\x1b[2Jevil")

    monkeypatch.setattr(fetch.Fetcher, "fetch", fail)
    monkeypatch.setattr(fetch, "FILES", {"labels": (FILE,)})
    assert "?[2Jevil" in s2p("labels", "--into", data).output


def test_the_help_asks_not_to_share_photos():
    assert "do not share them" in s2p("--help").output
