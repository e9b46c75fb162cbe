"""The card's carbon estimate, recomputed; the energy of a run's own stages."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pandas as pd

# The card: "~8" hours on one GPU of 250 W (board power of a GTX 1080 Ti), UK grid factor of 2018; it prints 0.62.
CARD_HOURS, CARD_GPU_WATTS, CARD_FACTOR_KG_PER_KWH, CARD_CO2EQ = 8.0, 250.0, 0.3072, 0.62

# Used where the machine has no energy counter: a declared constant, about what a desktop processor draws at work.
DECLARED_POWER_W = 65.0


def co2eq_kg(hours: float, watts: float, factor_kg_per_kwh: float) -> float:
    """Energy in kWh times the grid's factor."""
    return hours * watts / 1000 * factor_kg_per_kwh


def calculator_co2eq_kg(hours: float, watts: float, factor_kg_per_kwh: float) -> float:
    """As the ML CO2 Impact calculator rounds: the energy to two decimals, then the product to two decimals."""
    return round(round(watts * hours / 1000, 2) * factor_kg_per_kwh, 2)


def hours_behind_card() -> tuple[float, float]:
    """First and last hours, in steps of 0.01 h, for which the calculator gives the card's 0.62."""
    about = round(100 * CARD_CO2EQ / co2eq_kg(1, CARD_GPU_WATTS, CARD_FACTOR_KG_PER_KWH))
    hours = [h / 100 for h in range(about - 50, about + 51)]
    fitting = [h for h in hours if calculator_co2eq_kg(h, CARD_GPU_WATTS, CARD_FACTOR_KG_PER_KWH) == CARD_CO2EQ]
    return fitting[0], fitting[-1]


def grid_factor_kg_per_kwh(country: str) -> float:
    """codecarbon's factor for a country (three-letter ISO code), from the table in the package: no network."""
    from codecarbon.input import DataSource

    countries = DataSource().get_global_energy_mix_data()
    if country not in countries:
        raise ValueError(f"country={country!r} is unknown; allowed: {', '.join(sorted(countries))}")
    return countries[country]["carbon_intensity"] / 1000


def energy_counters() -> list[str]:
    """The energy counters that codecarbon can read here: ``RAPL`` (processor), ``NVML`` (NVIDIA GPU), or none."""
    from codecarbon.core import cpu, gpu

    found = {"RAPL": cpu.is_rapl_available(), "NVML": gpu.is_nvidia_system()}
    return [name for name, available in found.items() if available]


@contextmanager
def measure_energy() -> Iterator[dict]:
    """Yields a dict that holds duration_s, energy_kwh and energy_source once the block has ended.

    With a counter, codecarbon measures. Without one, or when codecarbon gives nothing, the energy is the time
    times ``DECLARED_POWER_W``, and energy_source says so. It is never a silent 0.
    """
    counters = energy_counters()
    tracker = _started_tracker() if counters else None
    measured, started = {}, time.monotonic()
    try:
        yield measured
    finally:
        duration_s = time.monotonic() - started
        energy_kwh, source = _stopped(tracker), f"codecarbon: {' and '.join(counters)}, its own estimate for the rest"
        if not energy_kwh:
            energy_kwh = duration_s / 3600 * DECLARED_POWER_W / 1000
            source = (
                f"time x declared {DECLARED_POWER_W:g} W ({'codecarbon gave nothing' if counters else 'no counter'})"
            )
        measured |= {"duration_s": duration_s, "energy_kwh": energy_kwh, "energy_source": source}


def emissions_table(stages: dict[str, dict], country: str) -> pd.DataFrame:
    """One row per stage of the run: stage, duration_s, energy_kwh, co2eq_kg, energy_source, country, factor."""
    columns = ["duration_s", "energy_kwh", "energy_source"]
    table = pd.DataFrame([{"stage": name, **{c: s[c] for c in columns}} for name, s in stages.items()])
    factor = grid_factor_kg_per_kwh(country)
    table.insert(3, "co2eq_kg", table["energy_kwh"] * factor)
    return table.assign(country=country, factor_kg_per_kwh=factor)


def _started_tracker():
    from codecarbon import OfflineEmissionsTracker

    # The country does not change the energy; CO2eq is computed once, in emissions_table.
    tracker = OfflineEmissionsTracker(country_iso_code="GBR", save_to_file=False, log_level="error")
    tracker.start()
    return tracker


def _stopped(tracker) -> float | None:
    """kWh since the tracker started; None or 0 if it failed, which codecarbon does without raising."""
    if tracker is None or tracker.stop() is None:
        return None
    return tracker.final_emissions_data.energy_consumed
