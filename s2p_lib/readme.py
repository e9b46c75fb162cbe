"""Fill the marked blocks of README.md and of the documents beside it from code and from the last runs: ``make readme``.

A block stands between ``<!-- name -->`` and ``<!-- /name -->``. Figures are never typed by hand, and the pictures of
``failures.html`` are taken in a real browser: ``make screenshots``.
"""

import json
import re
import subprocess
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

from s2p_lib import fetch, plots, scale
from s2p_lib.bench import fastest_engine, number_text
from s2p_lib.claims import CLAIMS
from s2p_lib.documents import markdown_table
from s2p_lib.judges import CARD_PHOTOS
from s2p_lib.open_questions import OPEN_QUESTIONS
from s2p_lib.report import results_table
from s2p_lib.run import Parameters
from s2p_lib.run_folder import ROOT, RunFolder

README, APPENDIX = ROOT / "README.md", ROOT / "ARTIFACT-APPENDIX.md"
BEYOND = ROOT / "BEYOND_ONE_MACHINE.md"
PICTURE = ROOT / "notebooks" / "demo_failures.png"
SCREENSHOTS = {name: ROOT / "notebooks" / f"demo_page_{name}.png" for name in ("gallery", "details")}
CHROMIUM = Path("/usr/bin/chromium")  # Debian's; Playwright's own browsers are never downloaded
EXPERIMENT_OF_TIER = {"0": 1, "1": 2, "2": 3, "3": 4}  # in ARTIFACT-APPENDIX.md
PHOTOS_GB = 52  # the photos of the datasets, as published


def fill(text: str, blocks: dict[str, Callable[[], str]]) -> str:
    """``text`` with the content of every named block replaced; KeyError for a block that the text lacks."""
    for name, write in blocks.items():
        pattern = rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)"
        if not re.search(pattern, text, re.DOTALL):
            raise KeyError(f"the text has no block {name!r}: <!-- {name} --> and <!-- /{name} -->")
        content = write()
        text = re.sub(pattern, lambda match: f"{match[1]}{content}\n{match[2]}", text, flags=re.DOTALL)  # noqa: B023
    return text


def parameters_block() -> str:
    rows = [
        (f"`{name}`", f"`{'none' if field.default is None else field.default}`", field.description)
        for name, field in Parameters.model_fields.items()
    ]
    return markdown_table(["name", "default", "meaning"], rows)


def questions_block() -> str:
    rows = [(q.question, q.assumption, f"`{q.place}`") for q in OPEN_QUESTIONS]
    return markdown_table(["what card and code leave open", "what we assume", "where"], rows)


def results_block() -> str:
    run = RunFolder("outputs/demo")
    table = results_table(run.read_json("metrics.json"))
    rows = [
        (r.figure, f"{r.card:.2f}", f"{r.ours:.2f}", f"{r.low:.2f} to {r.high:.2f}")
        for r in table.itertuples(index=False)
    ]
    header = ["percent, test split", "card (IPD)", "this kit's demo (drawn photos)", "95 % interval"]
    return markdown_table(header, rows)


def modes_block() -> str:
    table = RunFolder("outputs/demo").read_table("bn_modes.csv")
    figures = [name for name in table.columns if name.startswith("test_")]
    for name in figures:
        table[name] = table[name].map(lambda share: f"{100 * share:.2f}")
    shown = ["bn_mode", "precision", "epochs", *figures, "batchnorm_buffers_changed", "other_tensors_changed"]
    header = [name.removeprefix("test_").replace("_", " ") for name in shown]
    return markdown_table(header, list(table[shown].itertuples(index=False)))


def costs_block() -> str:
    """Time and disk of the two commands, as measured on the machine that wrote the README."""
    install_s = int((ROOT / ".venv" / ".installed").read_text().split("=")[1])
    run_s = RunFolder("outputs/demo").manifest["run"]["total_s"]
    suite = ElementTree.parse(ROOT / "outputs" / "tests.xml").getroot().find("testsuite")
    rows = [
        ("set-up of `.venv`, by whichever comes first", _minutes(install_s), f"{_gigabytes('.venv'):.1f} GB"),
        (
            "`make reproduce`, once set up",
            _minutes(run_s),
            f"{_gigabytes('outputs/demo', 'outputs/demo_dataset'):.2f} GB",
        ),
        (f"`make test`, once set up ({suite.get('tests')} tests)", _minutes(float(suite.get("time"))), "-"),
    ]
    return markdown_table(["what", "time", "disk"], rows)


def bench_block() -> str:
    bench = _bench()
    rows = [
        (row["what"], *(number_text(row[name]) for name in ("value", "low", "high")), row["unit"])
        for row in bench["figures"]
    ]
    header = ["what", "median", "least", "most", "unit"]
    return f"{bench['machine']}; {bench['runs']} run(s):\n\n{markdown_table(header, rows)}"


def claims_block() -> str:
    """Every claim with the experiment that can decide it; least needs first."""
    rows = [
        (f"`{claim.id}`", claim.claim, claim.source, claim.published, EXPERIMENT_OF_TIER[claim.tier], claim.tier)
        for claim in sorted(CLAIMS, key=lambda claim: claim.tier)
    ]
    return markdown_table(["id", "claim", "source", "published", "experiment", "tier"], rows)


def machine_block() -> str:
    machine = RunFolder("outputs/demo").manifest["machine"]
    memory_gb = max(stage["peak_memory_bytes"] for stage in RunFolder("outputs/demo").manifest["stages"].values()) / 1e9
    return (
        f"The measured figures below come from a machine with {machine['cpu_cores']} processor cores and "
        f"{machine['gpu'] or 'no GPU'} ({machine['system'].split('-')[0]}, Python {machine['versions']['python']}). "
        f"There a process of experiment 1 took at most {memory_gb:.1f} GB of memory."
    )


def reproduce_block() -> str:
    disk = f"{_gigabytes('outputs/demo', 'outputs/demo_dataset'):.2f} GB"
    return _needs(f"{_demo_time()} once set up (measured)", f"{disk}, without `.venv` (measured)")


def released_block() -> str:
    downloads = f"{_to_download('checkpoints', 'demo-photos')}, and about as much again unpacked (estimated)"
    return _needs(f"the download, then about as long as experiment 1: {_demo_time()} (estimated)", downloads)


def scenes_block() -> str:
    seconds = _benched()[f"all notebooks on made scene files of {sum(CARD_PHOTOS['all'].values()):,} photos"]
    time = f"the download, then {_minutes(seconds)} for IPD (measured on made scene files of as many photos)"
    return _needs(time, f"{_to_download('labels', 'scenes')}, more unpacked (estimated)")


def photos_block() -> str:
    n_photos = sum(CARD_PHOTOS["all"].values())
    hours = n_photos / fastest_engine(_benched()) / 3600
    one_pass = f"{hours:.1f} h for one pass over {n_photos:,} photos without a GPU (estimated from few photos)"
    return _needs(f"the download, then {one_pass}", f"about {PHOTOS_GB} GB of photos (published)")


def scale_block() -> str:
    return scale_text(scale.measured_cpu(fastest_engine(_benched()), _bench()["cores"]))


def scale_text(cpu: scale.Device) -> str:
    """A table for the measured device and one for an assumed GPU, and what they need to be fed and emptied."""
    gpu = scale.assumed_gpu()
    return "\n\n".join([_scale_of(cpu), _scale_of(gpu), _feeding_of(gpu, cpu), _writing()])


def _scale_of(device: scale.Device) -> str:
    source = "measured by `s2p bench`" if device.is_measured else "**assumed, not measured**"
    rate = f"{device.photos_per_s:,.2f}" if device.photos_per_s < 100 else f"{device.photos_per_s:,.0f}"
    header = ["million photos", "device hours", "devices for one day", "cores that decode, for one day"]
    header += ["photos read", "within one day", "days to read", "written", "cost of the devices"]
    header += ["cost of the cores that decode"]
    rows = [
        (
            _millions(row.photos),
            f"{row.device_hours:,.1f}",
            f"{row.devices_for_one_day:,}",
            f"{row.decoding_cores_for_one_day:,}",
            _size(row.read_bytes),
            f"{_size(row.read_bytes_per_s)}/s",
            f"{row.days_to_read:,.2g}" if row.days_to_read < 10 else f"{row.days_to_read:,.0f}",
            _size(row.written_bytes),
            _usd(row.devices_usd),
            _usd(row.decoding_usd),
        )
        for row in scale.scale_table(device).itertuples(index=False)
    ]
    return (
        f"**{device.name[0].upper()}{device.name[1:]}**: {rate} photos per second ({source}) at "
        f"{device.usd_per_hour:.2f} USD an hour (assumed):\n\n{markdown_table(header, rows)}"
    )


def _feeding_of(gpu: scale.Device, cpu: scale.Device) -> str:
    needs, around = scale.feeding(gpu), scale.Surroundings()
    return (
        f"Days to read are those of a store that gives {_size(around.store_bytes_per_s)}/s in all (assumed). "
        f"So that {gpu.name} never waits, {needs.decoding_cores:,.0f} cores decode for it (assumed: "
        f"{around.decoded_per_s_and_core:,.0f} photos per second and core, {around.usd_per_core_hour:.2f} USD a core "
        f"and hour), {_size(needs.bytes_per_s_read)}/s are read and {_size(needs.bytes_per_s_of_pixels)}/s of resized "
        f"pixels reach it. That store feeds {needs.devices_that_the_store_feeds:,.1f} of them, or "
        f"{scale.feeding(cpu).devices_that_the_store_feeds:,.0f} times {cpu.name}."
    )


def _writing() -> str:
    table = scale.scale_table(scale.assumed_gpu())  # of any device: how much is written within a day is the same
    rates = [
        f"{row.written_per_s:,.0f} photos or {_size(row.written_bytes_per_s)} a second for {_millions(row.photos)} "
        "million"
        for row in table.itertuples(index=False)
    ]
    return f"Within one day, the one process that writes takes {', '.join(rates[:-1])} and {rates[-1]}."


def _millions(photos: float) -> str:
    return f"{photos / 1e6:,.0f}"


def _usd(amount: float) -> str:
    return f"{amount:,.2f} USD" if amount < 10 else f"{amount:,.0f} USD"


def _size(n_bytes: float) -> str:
    units = ((1e15, "PB"), (1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1, "bytes"))
    unit, name = next(pair for pair in units if n_bytes >= pair[0])
    return f"{n_bytes / unit:,.3g} {name}"


def suite_block() -> str:
    suite = ElementTree.parse(ROOT / "outputs" / "tests.xml").getroot().find("testsuite")
    time = f"{_minutes(float(suite.get('time')))} for {suite.get('tests')} tests, once set up (measured)"
    return _needs(time, "less than 1 GB while it runs (estimated)")


# What follows from the code alone; a test holds the documents to it.
STATIC = {
    README: {"parameters": parameters_block, "questions": questions_block},
    APPENDIX: {"claims": claims_block},
    BEYOND: {},
}
# What was measured, or estimated from what was measured.
MEASURED = {
    README: {"results": results_block, "modes": modes_block, "costs": costs_block, "bench": bench_block},
    APPENDIX: {
        "machine": machine_block,
        "costs": costs_block,
        "experiment 1": reproduce_block,
        "experiment 2": released_block,
        "experiment 3": scenes_block,
        "experiment 4": photos_block,
        "experiment 5": suite_block,
    },
    BEYOND: {"scale": scale_block},
}


@contextmanager
def headless_chromium() -> Iterator:
    """Debian's chromium, driven by Playwright (``playwright.sync_api.Browser``)."""
    from playwright.sync_api import sync_playwright  # a test extra: whoever only reads or runs needs no browser

    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )
        yield browser
        browser.close()


def take_screenshots() -> None:
    """Pictures of the demo run's ``failures.html``, 1100 pixels wide: filters and first photos; details of a photo.

    FileNotFoundError without chromium.
    """
    if not CHROMIUM.is_file():
        raise FileNotFoundError(f"chromium is not installed at {CHROMIUM}; on Debian: apt-get install chromium")
    with headless_chromium() as browser:
        page = browser.new_page(viewport={"width": 1100, "height": 680})
        page.goto(RunFolder("outputs/demo").path("failures.html").as_uri())
        page.locator("#filters").evaluate("form => form.scrollIntoView()")
        page.screenshot(path=SCREENSHOTS["gallery"])
        page.locator(".open:visible").first.click()
        page.set_viewport_size({"width": 1100, "height": 1000})  # down to the first bars
        page.screenshot(path=SCREENSHOTS["details"])


def main() -> None:
    for document in STATIC:
        document.write_text(fill(document.read_text(), STATIC[document] | MEASURED[document]))
    run = RunFolder("outputs/demo")
    failures = pd.concat([t.head(4) for _, t in run.read_table("failures.csv").groupby("outcome", sort=False)])
    figure = plots.plot_gallery(failures, run.data_dir, n=8)
    figure.savefig(PICTURE, dpi=80)
    plt.close(figure)
    print(f"{README}, {APPENDIX}, {BEYOND} and {PICTURE} written")


def _needs(time: str, disk: str) -> str:
    """Time and disk of an experiment, in the form that artifact evaluation asks for."""
    return f"- Time: {time}\n- Storage: {disk}"


def _demo_time() -> str:
    return _minutes(RunFolder("outputs/demo").manifest["run"]["total_s"])


def _to_download(*what: str) -> str:
    """Size of published files that ``s2p fetch`` gets."""
    return f"{sum(file.size for name in what for file in fetch.FILES[name]) / 1e9:.2f} GB to download"


def _bench() -> dict:
    return json.loads((ROOT / "outputs" / "bench" / "bench.json").read_text())


def _benched() -> dict[str, float]:
    return {row["what"]: row["value"] for row in _bench()["figures"]}


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.1f} min"


def _gigabytes(*folders: str) -> float:
    done = subprocess.run(["du", "-sk", *folders], cwd=ROOT, capture_output=True, text=True, check=True)
    return sum(int(line.split()[0]) for line in done.stdout.splitlines()) / 1e6


if __name__ == "__main__":
    main()
