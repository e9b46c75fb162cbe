from types import SimpleNamespace

import matplotlib.pyplot as plt
import pytest

from s2p_lib import carbon, plots


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


def failing(*_):
    raise RuntimeError("no driver")


@pytest.mark.parametrize("broken", ["energy_counters", "_started_tracker", "_stopped"])
def test_a_tracker_that_raises_on_start_or_stop_stops_nothing_and_is_named(monkeypatch, broken):
    monkeypatch.setattr(carbon, "energy_counters", lambda: ["NVML"])
    monkeypatch.setattr(carbon, "_started_tracker", object)
    monkeypatch.setattr(carbon, broken, failing)
    with carbon.measure_energy() as measured:
        done = sum(range(10_000))
    assert done
    assert measured["energy_kwh"] == pytest.approx(measured["duration_s"] / 3600 * carbon.DECLARED_POWER_W / 1000)
    assert measured["energy_source"] == "time x declared 65 W (codecarbon failed: RuntimeError)"


@pytest.mark.parametrize("tracker", [{"stop": failing}, {"stop": lambda: 1.0}, {"stop": lambda: None}])
def test_a_tracker_that_breaks_does_not_hide_the_blocks_own_error(monkeypatch, tracker):
    monkeypatch.setattr(carbon, "energy_counters", lambda: ["NVML"])
    monkeypatch.setattr(carbon, "_started_tracker", lambda: SimpleNamespace(**tracker))
    with pytest.raises(KeyError, match="the block's"), carbon.measure_energy() as measured:
        raise KeyError("the block's")
    assert "time x declared 65 W" in measured["energy_source"]


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


def test_a_given_factor_takes_the_countrys_place_and_the_table_says_which_it_was():
    stages = {"train": {"duration_s": 10.0, "energy_kwh": 0.5, "energy_source": "RAPL"}}
    given = carbon.emissions_table(stages, "GBR", 0.25)
    assert given["co2eq_kg"].tolist() == [0.125]
    assert given["factor_source"].tolist() == ["given"]
    assert carbon.emissions_table(stages, "GBR")["factor_source"].tolist() == ["codecarbon's mix of GBR"]


def test_the_rounding_is_shown_step_by_step():
    steps = carbon.card_rounding().set_index("step")["result"]
    by_hand = [0.6144, 2.0, 0.61, 0.62, 0.62, 0.62, 0.62]  # 8 x 0.25 x 0.3072; 2.00; round(0.6144); printed; 3 ways
    assert steps.tolist() == pytest.approx(by_hand, abs=1e-12)
    table = carbon.card_rounding()
    assert "8.03 h" in table["calculation"].iloc[4]
    assert "2.01 kWh" in table["calculation"].iloc[4]
    assert "0.31" in table["calculation"].iloc[6]


def test_one_input_varied_alone_moves_the_estimate_in_proportion():
    table = carbon.card_range().set_index("input")
    alone = table.drop("all together")
    for end in ("low", "high"):
        expected = 0.6144 * alone[end] / alone["on_card"]
        assert alone[f"co2eq_kg_{end}"].tolist() == pytest.approx(expected.tolist(), rel=1e-12)
    both = 7.5 * 0.125 * 0.19338, 8.5 * 0.25 * 0.3072 * 1.58  # by hand: the lowest factor is that of 2022
    assert tuple(table.loc["all together", ["co2eq_kg_low", "co2eq_kg_high"]]) == pytest.approx(both, rel=1e-12)
    assert table["source"].str.len().min() > 10


def test_the_cards_estimate_lies_in_every_range():
    table = carbon.card_range()
    assert ((table["co2eq_kg_low"] <= 0.6144 + 1e-9) & (table["co2eq_kg_high"] >= 0.6144 - 1e-9)).all()


def test_by_factor_the_card_is_first_and_the_highest():
    table = carbon.card_by_factor()
    assert table["co2eq_kg"].iloc[0] == table["co2eq_kg"].max() == pytest.approx(0.6144)
    assert table.set_index("factor").loc["2022", "co2eq_kg"] == pytest.approx(2 * 0.19338)
    assert table["factor"].iloc[-1].startswith("codecarbon")


def test_protocols_cost_their_hours_times_power_and_factor():
    passes, hours = {"frozen": 30, "released": 2820}, {"frozen": 0.5, "released": 20.0}
    table = carbon.protocol_costs(passes, hours, power_w=100, factor_kg_per_kwh=0.2).set_index("protocol")
    assert table["passes"].to_dict() == passes
    assert table["hours"].to_dict() == hours
    assert table["energy_kwh"].tolist() == pytest.approx([0.05, 2.0])
    assert table["co2eq_kg"].tolist() == pytest.approx([0.01, 0.4])
    assert table["times_frozen"].tolist() == pytest.approx([1, 94])


@pytest.mark.parametrize(("passes", "hours", "power_w"), [(0, 1, 65), (1, 0, 65), (1, 1, 0), (1, 1, float("nan"))])
def test_costs_of_nothing_are_refused(passes, hours, power_w):
    with pytest.raises(ValueError, match="must be positive"):
        carbon.protocol_costs({"frozen": passes}, {"frozen": hours}, power_w, 0.2)


def test_energy_of_1000_photos():
    assert carbon.energy_per_1000_photos(0.5, 250) == 2.0
    with pytest.raises(ValueError, match="n_photos=0"):
        carbon.energy_per_1000_photos(0.5, 0)


def test_the_figure_of_the_range_has_a_bar_for_each_input_from_its_low_to_its_high_end():
    table = carbon.card_range()
    figure = plots.plot_card_range(table, carbon.card_by_factor())
    bars = figure.axes[0].patches
    assert [bar.get_x() for bar in bars] == pytest.approx(table["co2eq_kg_low"].tolist())
    assert [bar.get_x() + bar.get_width() for bar in bars] == pytest.approx(table["co2eq_kg_high"].tolist())
    assert len(figure.axes[1].patches) == len(carbon.card_by_factor())
    plt.close(figure)


def test_the_figure_of_the_protocols_shows_both_energies():
    passes, hours = {"frozen": 35, "released": 3545}, {"frozen": 0.1, "released": 9.0}
    table = carbon.protocol_costs(passes, hours, 65, 0.2).assign(photos="these")
    figure = plots.plot_protocols(table)
    ax = figure.axes[0]
    assert [bar.get_width() for bar in ax.patches] == pytest.approx(table["energy_kwh"].tolist())
    assert ax.get_xscale() == "log"  # the ratio is above 10
    plt.close(figure)


def test_an_unknown_country_names_the_known_ones():
    with pytest.raises(ValueError, match=r"'UK' is unknown.*GBR"):
        carbon.grid_factor_kg_per_kwh("UK")
