"""Fill the marked blocks of README.md from code and from the last runs: ``make readme``.

A block stands between ``<!-- name -->`` and ``<!-- /name -->``. Figures are never typed by hand.
"""

import json
import re
import subprocess
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable

import matplotlib.pyplot as plt
import pandas as pd

from s2p_lib import plots
from s2p_lib.claims import OPEN_QUESTIONS
from s2p_lib.report import results_table
from s2p_lib.run import Parameters
from s2p_lib.run_folder import ROOT, RunFolder

README = ROOT / "README.md"
PICTURE = ROOT / "notebooks" / "demo_failures.png"


def fill(text: str, blocks: dict[str, Callable[[], str]]) -> str:
    """``text`` with the content of every named block replaced; KeyError for a block that the text lacks."""
    for name, write in blocks.items():
        pattern = rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)"
        if not re.search(pattern, text, re.DOTALL):
            raise KeyError(f"README.md has no block {name!r}")
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
    bench = json.loads((ROOT / "outputs" / "bench" / "bench.json").read_text())
    rows = [(row["what"], f"{row['value']:,.3g}", row["unit"]) for row in bench["figures"]]
    return f"{bench['machine']}:\n\n{markdown_table(['what', 'measured', 'unit'], rows)}"


def markdown_table(header: list[str], rows: list[tuple]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


# What follows from the code alone; a test holds the README to it.
STATIC = {"parameters": parameters_block, "questions": questions_block}
# What was measured.
MEASURED = {"results": results_block, "modes": modes_block, "costs": costs_block, "bench": bench_block}


def main() -> None:
    README.write_text(fill(README.read_text(), STATIC | MEASURED))
    run = RunFolder("outputs/demo")
    failures = pd.concat([t.head(4) for _, t in run.read_table("failures.csv").groupby("outcome", sort=False)])
    figure = plots.plot_gallery(failures, run.data_dir, n=8)
    figure.savefig(PICTURE, dpi=80)
    plt.close(figure)
    print(f"{README} and {PICTURE} written")


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.1f} min"


def _gigabytes(*folders: str) -> float:
    done = subprocess.run(["du", "-sk", *folders], cwd=ROOT, capture_output=True, text=True, check=True)
    return sum(int(line.split()[0]) for line in done.stdout.splitlines()) / 1e6


if __name__ == "__main__":
    main()
