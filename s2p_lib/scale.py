"""What the scene logits of many photos take: arithmetic from stated rates, for BEYOND_ONE_MACHINE.md."""

import math
from dataclasses import dataclass

import pandas as pd

PHOTO_COUNTS = (10**6, 10**8, 10**10)  # 1, 100 and 10,000 million
SECONDS_PER_HOUR, HOURS_PER_DAY = 3600, 24
LOGITS_BYTES, HASH_BYTES = 365 * 4, 32  # of one photo in a shard; headers add less than a thousandth
PIXELS_BYTES = 448 * 448 * 3  # of one photo between decoder and worker
PHOTO_BYTES = 2_242_000  # the mean of VISPR's photos, 49.7 GB / 22,167


@dataclass(frozen=True)
class Device:
    """``photos_per_s`` through ResNet-50 at 448 pixels; ``is_measured`` by ``s2p bench``, else an assumption."""

    name: str
    photos_per_s: float
    usd_per_hour: float  # always an assumption: prices differ by place and day
    is_measured: bool


@dataclass(frozen=True)
class Surroundings:
    """What feeds the devices. The defaults are assumptions, of the order of a large cloud's."""

    decoded_per_s_and_core: float = 25.0  # photos of 2.2 MB, 2048 x 1536 pixels or so, decoded and resized
    store_bytes_per_s: float = 10e9  # what a store of photos gives one cluster in all
    usd_per_core_hour: float = 0.05


def scale_table(device: Device, around: Surroundings = Surroundings()) -> pd.DataFrame:
    """One row for each of ``PHOTO_COUNTS``.

    Columns: ``photos``; ``device_hours``; ``devices_for_one_day`` (rounded up); ``decoding_cores_for_one_day``
    (rounded up); ``read_bytes`` (of photos); ``read_bytes_per_s`` (within one day); ``days_to_read`` at the store's
    rate; ``written_bytes`` (logits and hashes); ``written_per_s`` (photos) and ``written_bytes_per_s`` (within one
    day, by the one process that writes); ``devices_usd`` and ``decoding_usd`` (of the cores that decode).
    """
    table = pd.DataFrame({"photos": PHOTO_COUNTS})
    per_day = HOURS_PER_DAY * SECONDS_PER_HOUR
    table["device_hours"] = table["photos"] / device.photos_per_s / SECONDS_PER_HOUR
    table["devices_for_one_day"] = [math.ceil(hours / HOURS_PER_DAY) for hours in table["device_hours"]]
    table["decoding_cores_for_one_day"] = [
        math.ceil(n / around.decoded_per_s_and_core / per_day) for n in table["photos"]
    ]
    table["read_bytes"] = table["photos"] * PHOTO_BYTES
    table["read_bytes_per_s"] = table["read_bytes"] / per_day
    table["days_to_read"] = table["read_bytes"] / around.store_bytes_per_s / per_day
    table["written_bytes"] = table["photos"] * (LOGITS_BYTES + HASH_BYTES)
    table["written_per_s"] = table["photos"] / per_day
    table["written_bytes_per_s"] = table["written_bytes"] / per_day
    table["devices_usd"] = table["device_hours"] * device.usd_per_hour
    core_hours = table["photos"] / around.decoded_per_s_and_core / SECONDS_PER_HOUR
    table["decoding_usd"] = core_hours * around.usd_per_core_hour
    return table


@dataclass(frozen=True)
class Feeding:
    """What one device needs so that it never waits, and how many of them the store can feed."""

    decoding_cores: float
    bytes_per_s_read: float
    bytes_per_s_of_pixels: float
    devices_that_the_store_feeds: float


def feeding(device: Device, around: Surroundings = Surroundings()) -> Feeding:
    """Where the bottleneck is: decoding beyond so many cores a device, the store beyond so many devices."""
    return Feeding(
        decoding_cores=device.photos_per_s / around.decoded_per_s_and_core,
        bytes_per_s_read=device.photos_per_s * PHOTO_BYTES,
        bytes_per_s_of_pixels=device.photos_per_s * PIXELS_BYTES,
        devices_that_the_store_feeds=around.store_bytes_per_s / PHOTO_BYTES / device.photos_per_s,
    )


# Of the card's network: a GPU that sustains 50 of its nominal hundreds of TFLOP/s. An assumption, not measured.
GFLOP_PER_PHOTO, ASSUMED_GPU_TFLOPS = 32.7, 50.0
ASSUMED_GPU_USD_PER_HOUR = 4.00


def assumed_gpu() -> Device:
    photos_per_s = ASSUMED_GPU_TFLOPS * 1e12 / (GFLOP_PER_PHOTO * 1e9)
    return Device("one data-centre GPU", photos_per_s, ASSUMED_GPU_USD_PER_HOUR, is_measured=False)


def measured_cpu(photos_per_s: float, cores: int) -> Device:
    usd_per_hour = cores * Surroundings().usd_per_core_hour
    return Device(f"{cores} processor cores", photos_per_s, usd_per_hour, is_measured=True)
