import pytest

from s2p_lib import carbon


def test_the_cards_inputs_give_0_6144_kg_and_the_calculator_0_61():
    card = (carbon.CARD_HOURS, carbon.CARD_GPU_WATTS, carbon.CARD_FACTOR_KG_PER_KWH)
    assert carbon.co2eq_kg(*card) == pytest.approx(0.6144, abs=1e-12)
    assert carbon.calculator_co2eq_kg(*card) == 0.61


def test_the_hours_behind_the_card_are_those_that_print_as_0_62():
    low, high = carbon.hours_behind_card()
    for hours, printed in ((low, 0.62), (high, 0.62), (low - 0.01, 0.61), (high + 0.01, 0.63)):
        assert carbon.calculator_co2eq_kg(hours, carbon.CARD_GPU_WATTS, carbon.CARD_FACTOR_KG_PER_KWH) == printed
    assert (low, high) == pytest.approx((8.03, 8.13), abs=0.011)  # found independently, to two digits


def test_without_a_counter_the_declared_power_is_used_and_named(monkeypatch):
    monkeypatch.setattr(carbon, "energy_counters", lambda: [])
    with carbon.measure_energy() as measured:
        sum(range(10_000))
    assert measured["energy_kwh"] == pytest.approx(measured["duration_s"] / 3600 * carbon.DECLARED_POWER_W / 1000)
    assert measured["energy_kwh"] > 0
    assert "declared 65 W (no counter)" in measured["energy_source"]


@pytest.mark.parametrize("given", [None, 0.0])
def test_a_tracker_that_gives_nothing_is_not_a_silent_zero(monkeypatch, given):
    monkeypatch.setattr(carbon, "energy_counters", lambda: ["NVML"])
    monkeypatch.setattr(carbon, "_started_tracker", object)
    monkeypatch.setattr(carbon, "_stopped", lambda tracker: given)
    with carbon.measure_energy() as measured:
        sum(range(10_000))
    assert measured["energy_kwh"] > 0
    assert "codecarbon gave nothing" in measured["energy_source"]


def test_a_measured_energy_is_taken_as_it_is(monkeypatch):
    monkeypatch.setattr(carbon, "energy_counters", lambda: ["RAPL", "NVML"])
    monkeypatch.setattr(carbon, "_started_tracker", object)
    monkeypatch.setattr(carbon, "_stopped", lambda tracker: 0.125)
    with carbon.measure_energy() as measured:
        pass
    assert measured["energy_kwh"] == 0.125
    assert measured["energy_source"].startswith("codecarbon: RAPL and NVML")


def test_codecarbon_itself_can_be_started_and_stopped_offline():
    energy_kwh = carbon._stopped(carbon._started_tracker())
    assert energy_kwh is None or energy_kwh >= 0


def test_an_error_in_the_measured_block_comes_through():
    with pytest.raises(KeyError), carbon.measure_energy():
        raise KeyError("x")


def test_emissions_are_energy_times_the_countrys_factor():
    stages = {"train": {"duration_s": 10.0, "energy_kwh": 0.5, "energy_source": "RAPL", "peak_memory_bytes": 1}}
    table = carbon.emissions_table(stages, "GBR")
    assert table["co2eq_kg"].tolist() == [0.5 * carbon.grid_factor_kg_per_kwh("GBR")]
    assert 0.05 < carbon.grid_factor_kg_per_kwh("GBR") < 0.5  # kg/kWh: Britain's grid of this decade


def test_an_unknown_country_names_the_known_ones():
    with pytest.raises(ValueError, match=r"'UK' is unknown.*GBR"):
        carbon.grid_factor_kg_per_kwh("UK")
