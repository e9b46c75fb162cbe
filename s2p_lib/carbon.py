"""The card's carbon estimate, recomputed; the energy of a run's own stages."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import pandas as pd

# The card: "~8" hours on one GPU of 250 W (board power of a GTX 1080 Ti), UK grid factor of 2018; it prints 0.62.
CARD_HOURS, CARD_GPU_WATTS, CARD_FACTOR_KG_PER_KWH, CARD_CO2EQ = 8.0, 250.0, 0.3072, 0.62
CARD_EPOCHS = 117

# What each input of the card's estimate can have been: low, high, and where the range comes from. PUE is the energy of
# the whole building over that of the computers; the card's estimate has none.
RANGES = {
    "hours": (7.5, 8.5, 'the card says "~8": what rounds to 8'),
    "GPU power, W": (125.0, 250.0, "an assumption: 50 to 100 % of the board power of 250 W, which is a limit"),
    "PUE": (1.0, 1.58, "a computer at a desk; industry average of the Uptime Institute's survey of 2023"),
}

# kg CO2eq per kWh of electricity generated in the UK: the government's conversion factors for company reporting, by
# the year for which they were published (the power stations are those of two years before). The losses on the way to
# the socket are published apart (2022: 0.01769) and not in here; the card's factor is higher than that of its year by
# about as much. Read from reports on the yearly publication: camdencca.org (2018 to 2021), itpenergised.com (2022 and
# 2023), entrnce.com (2024).
UK_FACTORS_KG_PER_KWH = {
    2018: 0.28307,
    2019: 0.2556,
    2020: 0.23314,
    2021: 0.21233,
    2022: 0.19338,
    2023: 0.20707,
    2024: 0.20705,
}

# Used where the machine has no energy counter: a declared constant, about what a desktop processor draws at work.
DECLARED_POWER_W = 65.0


def co2eq_kg(hours: float, watts: float, factor_kg_per_kwh: float, pue: float = 1.0) -> float:
    """Energy in kWh (of the whole building, if ``pue`` is above 1) times the grid's factor."""
    return hours * watts / 1000 * pue * factor_kg_per_kwh


def calculator_co2eq_kg(hours: float, watts: float, factor_kg_per_kwh: float) -> float:
    """As the ML CO2 Impact calculator rounds: the energy to two decimals, then the product to two decimals."""
    return round(round(watts * hours / 1000, 2) * factor_kg_per_kwh, 2)


def hours_behind_card() -> tuple[float, float]:
    """First and last hours, in steps of 0.01 h, for which the calculator gives the card's 0.62."""
    about = round(100 * CARD_CO2EQ / co2eq_kg(1, CARD_GPU_WATTS, CARD_FACTOR_KG_PER_KWH))
    hours = [h / 100 for h in range(about - 50, about + 51)]
    fitting = [h for h in hours if calculator_co2eq_kg(h, CARD_GPU_WATTS, CARD_FACTOR_KG_PER_KWH) == CARD_CO2EQ]
    return fitting[0], fitting[-1]


def card_rounding() -> pd.DataFrame:
    """How the card's 0.62 can come about, step by step: step, calculation (text) and result (kWh or kg).

    The calculator that the card cites rounds the energy, then the product; from the card's inputs it gives 0.61.
    """
    hours, watts, factor = CARD_HOURS, CARD_GPU_WATTS, CARD_FACTOR_KG_PER_KWH
    inputs = f"{hours:g} h x {watts:g} W / 1000"
    energy_kwh = round(watts * hours / 1000, 2)
    rows = [
        ("without rounding, kg", f"{inputs} x {factor:g} kg/kWh", co2eq_kg(hours, watts, factor)),
        ("energy to two decimals, kWh", inputs, energy_kwh),
        (
            "product to two decimals, kg: the calculator's answer",
            f"{energy_kwh:.2f} kWh x {factor:g} kg/kWh = {energy_kwh * factor:.4f} kg",
            calculator_co2eq_kg(hours, watts, factor),
        ),
        ("printed on the card, without a unit", "", CARD_CO2EQ),
    ]
    for which, h in zip(("fewest", "most"), hours_behind_card()):
        kwh = round(watts * h / 1000, 2)
        calculation = f"{h:g} h x {watts:g} W / 1000 = {kwh:.2f} kWh; x {factor:g} kg/kWh = {kwh * factor:.4f} kg"
        rows.append((f"{which} hours that give {CARD_CO2EQ:g}", calculation, calculator_co2eq_kg(h, watts, factor)))
    typed = round(factor, 2)
    calculation = f"{energy_kwh:.2f} kWh x {typed:g} kg/kWh"
    rows.append((f"the factor typed as {typed:g}", calculation, calculator_co2eq_kg(hours, watts, typed)))
    return pd.DataFrame(rows, columns=["step", "calculation", "result"])


def card_range() -> pd.DataFrame:
    """What the card's estimate would be if its inputs were others within their ranges, in kg CO2eq.

    One row per input varied alone, the others as on the card, then one for all together: input, low, on_card, high
    (NaN for all together), co2eq_kg_low, co2eq_kg_high, source (of the range). Nothing is rounded.
    """
    card = {"hours": CARD_HOURS, "GPU power, W": CARD_GPU_WATTS, "grid factor, kg/kWh": CARD_FACTOR_KG_PER_KWH}
    card |= {"PUE": 1.0}
    by_year = card_by_factor()["factor_kg_per_kwh"]
    ranges = RANGES | {"grid factor, kg/kWh": (by_year.min(), by_year.max(), "the card's, the UK's of 2018 to 2024")}
    rows = []
    for name, value in card.items():
        low, high, source = ranges[name]
        low_kg, high_kg = (co2eq_kg(*(card | {name: end}).values()) for end in (low, high))
        rows.append((name, low, value, high, low_kg, high_kg, source))
    lowest, highest = (co2eq_kg(*(ranges[name][end] for name in card)) for end in (0, 1))
    rows.append(("all together", None, None, None, lowest, highest, "all at their low ends, all at their high ends"))
    columns = ["input", "low", "on_card", "high", "co2eq_kg_low", "co2eq_kg_high", "source"]
    return pd.DataFrame(rows, columns=columns).astype({"low": float, "on_card": float, "high": float})


def card_by_factor() -> pd.DataFrame:
    """The card's energy (8 h at 250 W) by other factors for the UK: factor (its name), factor_kg_per_kwh, co2eq_kg,
    source.
    """
    year = _country("GBR")["year"]
    published = "UK government conversion factors, electricity generated"
    rows = [("card", CARD_FACTOR_KG_PER_KWH, "the card, after carbonfootprint.com (August 2018)")]
    rows += [(str(of), factor, published) for of, factor in UK_FACTORS_KG_PER_KWH.items()]
    rows.append((f"codecarbon ({year})", grid_factor_kg_per_kwh("GBR"), f"codecarbon's mix of GBR in {year}"))
    table = pd.DataFrame(rows, columns=["factor", "factor_kg_per_kwh", "source"])
    table.insert(2, "co2eq_kg", co2eq_kg(CARD_HOURS, CARD_GPU_WATTS, table["factor_kg_per_kwh"]))
    return table


def energy_per_1000_photos(energy_kwh: float, n_photos: int) -> float:
    """kWh for 1,000 photos, from the energy that ``n_photos`` took."""
    if n_photos < 1:
        raise ValueError(f"n_photos={n_photos}: the energy of no photo says nothing; give at least 1")
    return 1000 * energy_kwh / n_photos


def protocol_costs(
    passes: Mapping[str, int], hours: Mapping[str, float], power_w: float, factor_kg_per_kwh: float
) -> pd.DataFrame:
    """Energy and CO2eq of training protocols, from the passes of a photo and the hours of each by its name.

    One row per protocol, ``frozen`` among them: protocol, passes, hours, energy_kwh, co2eq_kg, times_frozen (ratio of
    the passes). ValueError unless passes, hours and power are positive.
    """
    if not (power_w > 0 and all(value > 0 for value in (*passes.values(), *hours.values()))):  # NaN too
        raise ValueError(f"passes={dict(passes)}, hours={dict(hours)}, power_w={power_w}: all must be positive")
    table = pd.DataFrame({"protocol": list(passes), "passes": list(passes.values())})
    table["hours"] = table["protocol"].map(hours)
    table["energy_kwh"] = table["hours"] * power_w / 1000
    table["co2eq_kg"] = table["energy_kwh"] * factor_kg_per_kwh
    table["times_frozen"] = table["passes"] / passes["frozen"]
    return table


def grid_factor_kg_per_kwh(country: str) -> float:
    """codecarbon's factor for a country (three-letter ISO code), from the table in the package: no network."""
    return _country(country)["carbon_intensity"] / 1000


def _country(country: str) -> dict:
    from codecarbon.input import DataSource

    countries = DataSource().get_global_energy_mix_data()
    if country not in countries:
        raise ValueError(f"country={country!r} is unknown; allowed: {', '.join(sorted(countries))}")
    return countries[country]


def energy_counters() -> list[str]:
    """The energy counters that codecarbon can read here: ``RAPL`` (processor), ``NVML`` (NVIDIA GPU), or none."""
    from codecarbon.core import cpu, gpu

    found = {"RAPL": cpu.is_rapl_available(), "NVML": gpu.is_nvidia_system()}
    return [name for name, available in found.items() if available]


@contextmanager
def measure_energy() -> Iterator[dict]:
    """Yields a dict that holds duration_s, energy_kwh and energy_source once the block has ended.

    With a counter, codecarbon measures. Without one, or when codecarbon fails or gives nothing, the energy is the time
    times ``DECLARED_POWER_W``, and energy_source says so and why. It is never a silent 0, and a failure of the
    measuring never stops or hides what the block does.
    """
    tracker, counters, why = _try_to_start()
    measured, started = {}, time.monotonic()
    try:
        yield measured
    finally:
        duration_s = time.monotonic() - started
        energy_kwh, source = None, f"codecarbon: {' and '.join(counters)}, its own estimate for the rest"
        if tracker is not None:
            try:
                energy_kwh, why = _stopped(tracker), "codecarbon gave nothing"
            except Exception as error:
                why = f"codecarbon failed: {type(error).__name__}"
        if energy_kwh is None or not energy_kwh > 0:  # NaN too
            energy_kwh = duration_s / 3600 * DECLARED_POWER_W / 1000
            source = f"time x declared {DECLARED_POWER_W:g} W ({why})"
        measured |= {"duration_s": duration_s, "energy_kwh": energy_kwh, "energy_source": source}


def emissions_table(stages: dict[str, dict], country: str, factor: float | None = None) -> pd.DataFrame:
    """One row per stage of the run: stage, duration_s, energy_kwh, co2eq_kg, energy_source, country,
    factor_kg_per_kwh, factor_source.

    ``factor`` (kg CO2eq per kWh) takes the place of codecarbon's for the country.
    """
    columns = ["duration_s", "energy_kwh", "energy_source"]
    table = pd.DataFrame([{"stage": name, **{c: s[c] for c in columns}} for name, s in stages.items()])
    factor_source = f"codecarbon's mix of {country}" if factor is None else "given"
    factor = grid_factor_kg_per_kwh(country) if factor is None else factor
    table.insert(3, "co2eq_kg", table["energy_kwh"] * factor)
    return table.assign(country=country, factor_kg_per_kwh=factor, factor_source=factor_source)


def _try_to_start() -> tuple[object | None, list[str], str]:
    """A started tracker or None, the counters found, and why there is no tracker."""
    try:
        counters = energy_counters()
        return (_started_tracker(), counters, "") if counters else (None, [], "no counter")
    except Exception as error:  # codecarbon asks drivers and other programs, and its import may fail as well
        return None, [], f"codecarbon failed: {type(error).__name__}"


def _started_tracker():
    from codecarbon import OfflineEmissionsTracker

    # The country does not change the energy; CO2eq is computed once, in emissions_table.
    tracker = OfflineEmissionsTracker(country_iso_code="GBR", save_to_file=False, log_level="error")
    tracker.start()
    return tracker


def _stopped(tracker) -> float | None:
    """kWh since the tracker started; None or 0 if it failed, which codecarbon does without raising."""
    if tracker.stop() is None:
        return None
    return tracker.final_emissions_data.energy_consumed
