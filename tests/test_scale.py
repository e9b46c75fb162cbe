import pytest

from s2p_lib import readme, scale

TEN_A_SECOND = scale.Device("a device", photos_per_s=10.0, usd_per_hour=2.0, is_measured=True)


def test_a_million_photos_by_hand():
    row = scale.scale_table(TEN_A_SECOND, scale.Surroundings(decoded_per_s_and_core=25.0, store_bytes_per_s=1e9)).iloc[
        0
    ]
    assert row["photos"] == 1_000_000
    assert row["device_hours"] == pytest.approx(27.7778, abs=1e-4)  # 100,000 s
    assert row["devices_for_one_day"] == 2  # 1.157 days
    assert row["decoding_cores_for_one_day"] == 1  # 40,000 s
    assert row["read_bytes"] == 2_242_000_000_000
    assert row["read_bytes_per_s"] == pytest.approx(25_949_074, abs=1)  # / 86,400 s
    assert row["days_to_read"] == pytest.approx(0.025949, abs=1e-6)  # 2,242 s
    assert row["written_bytes"] == 1_492_000_000  # 365 x 4 + 32 bytes a photo
    assert row["written_per_s"] == pytest.approx(11.5741, abs=1e-4)  # 1,000,000 / 86,400 s
    assert row["written_bytes_per_s"] == pytest.approx(17_268.5, abs=0.1)
    assert row["devices_usd"] == pytest.approx(55.5556, abs=1e-4)
    assert row["decoding_usd"] == pytest.approx(0.5556, abs=1e-4)  # 40,000 s of a core at 0.05 USD an hour


def test_all_grows_with_the_number_of_photos():
    table = scale.scale_table(TEN_A_SECOND)
    assert table["photos"].tolist() == [1e6, 1e8, 1e10]
    for name in ("device_hours", "read_bytes", "days_to_read", "written_bytes", "devices_usd", "decoding_usd"):
        assert (table[name] / table[name][0]).tolist() == pytest.approx([1, 100, 10_000])
    assert table["devices_for_one_day"].tolist() == [2, 116, 11_575]  # 1.1574, 115.74, 11,574.1 days


def test_what_feeds_a_device_by_hand():
    needs = scale.feeding(scale.Device("a device", 1000.0, 1.0, False), scale.Surroundings(25.0, 10e9))
    assert needs.decoding_cores == 40
    assert needs.bytes_per_s_read == 2.242e9
    assert needs.bytes_per_s_of_pixels == 602_112_000  # 448 x 448 x 3 bytes
    assert needs.devices_that_the_store_feeds == pytest.approx(4.4603, abs=1e-4)


def test_the_assumed_gpu_is_called_so_and_follows_from_the_networks_operations():
    gpu = scale.assumed_gpu()
    assert gpu.photos_per_s == pytest.approx(1529.05, abs=0.01)  # 50e12 / 32.7e9
    text = readme.scale_text(TEN_A_SECOND)
    assert "10.00 photos per second (measured by `s2p bench`)" in text
    assert "(**assumed, not measured**) at 4.00 USD" in text
    assert "| 1 | 27.8 | 2 | 1 | 2.24 TB | 25.9 MB/s | 0.0026 | 1.49 GB | 56 USD | 0.56 USD |" in text


def test_the_price_of_processor_cores_is_one_for_those_that_compute_and_those_that_decode():
    assert scale.measured_cpu(3.0, cores=2).usd_per_hour == 2 * scale.Surroundings().usd_per_core_hour
    assert scale.measured_cpu(3.0, cores=64).usd_per_hour == 64 * scale.Surroundings().usd_per_core_hour


def test_the_text_names_what_the_store_feeds_and_what_one_process_has_to_write():
    text = readme.scale_text(TEN_A_SECOND)
    assert "feeds 2.9 of them, or 446 times a device." in text  # 10e9 / 2,242,000 / 1,529.05, and / 10
    assert "12 photos or 17.3 kB a second for 1 million" in text
    assert "115,741 photos or 173 MB a second for 10,000 million" in text


def test_the_number_of_cores_is_the_one_that_was_benched(monkeypatch):
    monkeypatch.setattr(readme, "_bench", lambda: {"cores": 7, "machine": "no number here", "figures": []})
    monkeypatch.setattr(readme, "fastest_engine", lambda _: 10.0)
    assert "**7 processor cores**: 10.00 photos per second" in readme.scale_block()
