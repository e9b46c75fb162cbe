"""Lists of photos, and photos from a server on this machine that is slow, refuses and lies."""

from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner
from server import BODY, everything, no_sleep, photo, running_site, send

from s2p_lib import fetch, fetch_photos
from s2p_lib.__main__ import main
from s2p_lib.fetch import Published


@pytest.fixture
def site(monkeypatch):
    with running_site(monkeypatch) as site:
        yield site


@pytest.fixture
def naps(monkeypatch) -> list[float]:
    return no_sleep(monkeypatch)


@pytest.fixture
def data(tmp_path) -> Path:
    return tmp_path / "data"


def listed(tmp_path, text: str) -> list[tuple]:
    (tmp_path / "list.txt").write_text(text)
    return [tuple(row) for row in fetch_photos.read_url_list(tmp_path / "list.txt").itertuples(index=False)]


@pytest.mark.parametrize(
    ("line", "file"),
    [
        ("http://x.org/1/a_b.jpg", "a_b.jpg"),
        ("wget https://x.org/1/a_b.jpg -O\t5.jpg", "5.jpg"),
        ('wget -nc -O "imgs/5.jpg" "https://x.org/1/a_b.jpg"', "5.jpg"),
        ("wget https://x.org/1/a_b.png -O ../../5", "5.png"),
        ("12,https://x.org/1/a_b.jpg,public", "a_b.jpg"),
        ("https://x.org/1/a_b.jpg?zz=1", "a_b.jpg"),
    ],
)
def test_a_line_gives_an_address_and_the_bare_name_of_a_file(tmp_path, line, file):
    ((found, url, refusal),) = listed(tmp_path, f"# from https://x.org/c.jpg\nimage,url\n\n{line}\n")
    assert found == file
    assert url.split("//")[1].startswith("x.org/1/a_b.")
    assert refusal is None


@pytest.mark.parametrize(
    "line",
    [
        *("https://x.org/", "https://x.org/train2017.tar.gz", "https://x.org/a%2F..%2Fb.jpg", "https://x.org/.jpg"),
        *("wget https://x.org/a.jpg -O ..", "wget https://x.org/a.jpg -O $i.jpg", "wget https://x.org/a.jpg -O -x.jpg"),
        *(
            "wget https://x.org/a.jpg -O ..\\evil.jpg",
            "https://x.org/" + 300 * "a" + ".jpg",
            "https://x.org/a.jpg.part",
        ),
    ],
)
def test_an_odd_name_is_refused(tmp_path, line):
    ((_, _, refusal),) = listed(tmp_path, line)
    assert "refused" in refusal


def test_an_odd_name_is_told_without_its_control_characters(tmp_path):
    ((file, _, _),) = listed(tmp_path, "wget https://x.org/a.jpg -O a\x1b[2J.jpg")
    assert file == "a?[2J.jpg"


def test_only_http_is_an_address(tmp_path):
    assert listed(tmp_path, "file:///etc/a.jpg\nftp://x.org/a.jpg\na.jpg\n") == []


def test_a_line_that_comes_twice_counts_once_and_a_second_photo_of_a_name_is_refused(tmp_path):
    rows = listed(tmp_path, "http://x.org/a.jpg\nhttp://x.org/a.jpg\nhttp://y.org/a.jpg\n")
    assert [row[2] for row in rows] == [None, "another address has this file name"]


def test_the_published_list_with_most_addresses_is_taken(site, data):
    folder = data / "curated-privacy-alert-dataset"  # the name in older archives
    (folder / "scripts").mkdir(parents=True)
    (folder / "imglist.txt").write_text("http://x.org/1.jpg\n")
    script = folder / "scripts" / "download_images.sh"
    script.write_text("wget http://x.org/1.jpg -O one.jpg\n")
    found, table = fetch_photos._find_photos(data, "privacyalert", None)
    assert found == folder
    assert table["file"].tolist() == ["one.jpg"]
    script.write_text("wget -i imglist.txt\n")
    assert fetch_photos._find_photos(data, "privacyalert", None)[1]["file"].tolist() == ["1.jpg"]


def test_without_a_list_the_error_says_to_fetch_the_labels(site, data):
    with pytest.raises(FileNotFoundError, match="s2p fetch labels"):
        fetch_photos.fetch_photos(data, "picalert")


@pytest.fixture
def photos(site, data, tmp_path):
    """A function: serve these answers under these names and fetch them as picalert; status by image."""

    def run(answers: dict | None = None, **options) -> dict[str, str]:
        if answers is not None:
            lines = [site.serve(f"/p/{name}.jpg", *(a if isinstance(a, list) else [a])) for name, a in answers.items()]
            (tmp_path / "list.txt").write_text("\n".join(lines))
        site.log.clear()
        table = fetch_photos.fetch_photos(data, "picalert", tmp_path / "list.txt", **{"per_second": 1e6} | options)
        stored = pd.read_csv(data / "photos_picalert.csv", dtype=str)
        assert stored["status"].tolist() == table["status"].tolist()
        run.reasons = dict(zip(table["image"], table["reason"]))
        return dict(zip(table["image"], table["status"]))

    return run


def test_photos_go_into_batch_folders_in_the_order_of_the_list(photos, data, monkeypatch):
    monkeypatch.setattr(fetch_photos, "PHOTOS_PER_BATCH", 2)
    photos({name: photo() for name in "cab"})
    assert list(everything(data / "curated_picalert" / "imgs")) == ["batch0/a.jpg", "batch0/c.jpg", "batch1/b.jpg"]


@pytest.mark.parametrize(("n", "last"), [(9, "batch8/8.jpg"), (10, "batch09/9.jpg")])
def test_ten_batches_have_two_digits(photos, data, monkeypatch, n, last):
    monkeypatch.setattr(fetch_photos, "PHOTOS_PER_BATCH", 1)
    photos({str(i): photo() for i in range(n)})
    assert list(everything(data / "curated_picalert" / "imgs"))[-1] == last


def test_every_photo_has_a_status_and_a_reason(photos, site):
    site.serve("/pw/images/photo_unavailable_l.png", photo("white", "PNG"))
    answers = {
        "good": photo(),
        "removed": send(status=404),
        "left": send(status=410),
        "stand_in": send(status=302, Location="/pw/images/photo_unavailable_l.png"),
        "page": b"<html>Sorry</html>",
        "empty": b"",
        "busy": send(status=503),
        "half": send(photo()[:300]),
        "forbidden": send(status=403),
    }
    status = photos(answers)
    assert status == {
        "good": "fetched",
        **dict.fromkeys(["removed", "left", "stand_in", "page", "empty"], "gone"),
        **dict.fromkeys(["busy", "half", "forbidden"], "failed"),
    }
    assert "503" in photos.reasons["busy"]
    assert "stand-in" in photos.reasons["stand_in"]


def test_only_whole_photos_are_left_on_disk(photos, data):
    photos({"good": photo(), "page": b"<html>", "half": photo()[:300], "broken": send(photo(), send_bytes=9)})
    assert list(everything(data / "curated_picalert")) == ["imgs/batch0/good.jpg"]


def test_a_second_call_asks_only_for_those_that_failed(photos, site):
    answers = {"good": photo(), "removed": send(status=404), "busy": [send(status=403), photo()]}
    photos(answers)
    assert photos() == {"good": "there", "removed": "gone", "busy": "fetched"}
    assert site.asked() == ["/p/busy.jpg"]


def test_those_that_are_gone_are_asked_for_again_on_demand(photos, site):
    photos({"removed": [send(status=404), photo()]})
    assert photos(again=True) == {"removed": "fetched"}


def test_a_photo_in_another_batch_folder_is_there(photos, site, data):
    place = data / "curated_picalert" / "imgs" / "batch07" / "a.jpg"
    place.parent.mkdir(parents=True)
    place.write_bytes(photo())
    assert photos({"a": photo()}) == {"a": "there"}
    assert site.log == []


def test_an_empty_file_is_no_photo_and_is_filled_in_its_place(photos, data):
    place = data / "curated_picalert" / "imgs" / "batch07" / "a.jpg"
    place.parent.mkdir(parents=True)
    place.write_bytes(b"")
    assert photos({"a": photo()}) == {"a": "fetched"}
    assert everything(data / "curated_picalert") == {"imgs/batch07/a.jpg": photo()}


def test_a_photo_keeps_its_batch_where_others_need_none(photos, data, monkeypatch):
    monkeypatch.setattr(fetch_photos, "PHOTOS_PER_BATCH", 2)
    elsewhere = data / "curated_picalert" / "imgs" / "batch7" / "a.jpg"
    elsewhere.parent.mkdir(parents=True)
    elsewhere.write_bytes(photo())
    photos({name: photo() for name in "abc"})
    assert list(everything(elsewhere.parent.parent)) == ["batch0/b.jpg", "batch1/c.jpg", "batch7/a.jpg"]


def test_photos_that_no_list_names_take_room_in_a_batch(photos, data, monkeypatch):
    monkeypatch.setattr(fetch_photos, "PHOTOS_PER_BATCH", 2)
    other = data / "curated_picalert" / "imgs" / "batch0" / "other.jpg"
    other.parent.mkdir(parents=True)
    other.write_bytes(photo())
    photos({name: photo() for name in "ab"})
    assert list(everything(other.parent.parent)) == ["batch0/a.jpg", "batch0/other.jpg", "batch1/b.jpg"]


def test_no_batch_folder_gets_too_full(photos, data, monkeypatch):
    monkeypatch.setattr(fetch_photos, "PHOTOS_PER_BATCH", 2)
    folder = data / "curated_picalert" / "imgs" / "batch0"
    folder.mkdir(parents=True)
    for name in "cd":
        (folder / f"{name}.jpg").write_bytes(photo())
    photos({name: photo() for name in "abcd"})
    assert list(everything(folder.parent)) == ["batch0/c.jpg", "batch0/d.jpg", "batch1/a.jpg", "batch1/b.jpg"]


def test_a_stopped_call_keeps_what_it_knows_and_the_next_goes_on(photos, site, data, monkeypatch):
    real = fetch_photos.fetch_photo

    def stop_at_c(session, decoder, url, target):
        if target.stem == "c":
            raise KeyboardInterrupt
        return real(session, decoder, url, target)

    monkeypatch.setattr(fetch_photos, "fetch_photo", stop_at_c)
    with pytest.raises(KeyboardInterrupt):
        photos({"a": photo(), "b": send(status=404), "c": photo()})
    assert pd.read_csv(data / "photos_picalert.csv")["status"].tolist() == ["fetched", "gone", "failed"]
    monkeypatch.setattr(fetch_photos, "fetch_photo", real)
    assert photos() == {"a": "there", "b": "gone", "c": "fetched"}
    assert site.asked() == ["/p/c.jpg"]


def test_what_is_known_is_saved_now_and_then(photos, data, monkeypatch):
    monkeypatch.setattr(fetch_photos, "PHOTOS_PER_SAVE", 2)
    saved, real = [], fetch_photos.RunFolder.write_table

    def write(folder, name, table):
        saved.append(table["status"].tolist())
        real(folder, name, table)

    monkeypatch.setattr(fetch_photos.RunFolder, "write_table", write)
    photos({"a": photo(), "b": photo(), "c": photo()})
    assert saved[0] == ["fetched", "fetched", "failed"]


def test_photos_are_asked_for_at_a_polite_rate(photos, naps):
    photos({name: photo() for name in "abc"}, per_second=0.1)
    assert naps == pytest.approx([10, 10], abs=1)


def test_a_site_that_asks_for_patience_gets_it(photos, naps):
    assert photos({"a": [send(status=429, Retry_After="30"), photo()]}) == {"a": "fetched"}
    assert 30 in naps


def test_a_site_that_refuses_photo_after_photo_is_left_alone(photos, site, monkeypatch, capsys):
    monkeypatch.setattr(fetch_photos, "FAILURES_IN_A_ROW", 2)
    answers = {"a": send(status=403), "b": photo(), **{name: send(status=403) for name in "cde"}}
    status = photos(answers)
    assert len(site.log) == 4
    assert status["e"] == "failed"
    assert photos.reasons["e"] == fetch_photos.NOT_TRIED
    assert "left alone" in capsys.readouterr().out


def test_a_photo_too_large_is_not_read(photos, monkeypatch):
    monkeypatch.setattr(fetch_photos, "PHOTO_BYTES", 100)
    assert photos({"a": photo()}) == {"a": "failed"}
    assert "at most 100" in photos.reasons["a"]


def test_the_closing_text_counts_names_the_gone_and_asks_not_to_share():
    rows = [("a", "u", "gone", "HTTP 404"), ("b\x1b[2J", "u", "failed", "x"), ("c", "u", "there", None)]
    text = fetch_photos.photos_text(pd.DataFrame(rows, columns=fetch_photos.PHOTO_COLUMNS))
    assert "HTTP 404" in text
    assert "\x1b" not in text
    assert text.endswith("do not share them.")


def s2p(*arguments: str):
    return CliRunner().invoke(main, ["fetch", *map(str, arguments)])


def test_the_command_fetches_photos_after_the_files(site, data, tmp_path, naps, monkeypatch):
    file = Published("a.bin", len(BODY), url=site.serve("/a.bin", BODY))
    monkeypatch.setattr(fetch, "FILES", {"labels": (file,)})
    (tmp_path / "own.csv").write_text(f"url\n{site.serve('/p/a.jpg', photo())}\n{site.url}/p/b.jpg\n")
    done = s2p("photos", "labels", "--list", tmp_path / "own.csv", "--into", data, "--per-second", "1000")
    assert done.exit_code == 0
    assert (data / "curated_own" / "imgs" / "batch0" / "a.jpg").read_bytes() == photo()
    assert (data / "photos_own.csv").is_file()
    assert done.output.index("a.bin") < done.output.index("HTTP 404")
    assert max(naps, default=0) < 0.1
    assert "do not share" in done.output


def test_a_photo_that_failed_makes_the_command_fail(site, data, tmp_path):
    (tmp_path / "own.csv").write_text(site.serve("/p/a.jpg", send(status=403)))
    arguments = ("photos", "--list", tmp_path / "own.csv", "--into", data, "--per-second", "1000")
    assert s2p(*arguments).exit_code == 1
