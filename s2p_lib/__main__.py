"""The ``s2p`` command."""

from pathlib import Path

import click

from s2p_lib import run as runs
from s2p_lib.run_folder import RunFolder


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Reproduce S2P, a model that tells private photos from public ones by their scene."""


@main.command()
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), default=Path("outputs/demo"), show_default=True
)
@click.option("-p", "parameters", nargs=2, multiple=True, metavar="NAME VALUE", help="A parameter of the notebooks.")
@click.option("--summary/--no-summary", default=True, help="Print the result table at the end.")
def run(out: Path, parameters: tuple[tuple[str, str], ...], summary: bool) -> None:
    """Run the six notebooks in order into the folder OUT."""
    given = {name: _from_here(name, value) for name, value in parameters}
    try:
        runs.run_notebooks(out, given)
    except (ValueError, FileNotFoundError, runs.NotebookFailed) as error:
        raise click.ClickException(str(error)) from None
    if summary:
        _show(out)


@main.command()
@click.argument("run_dir", type=click.Path(exists=True, file_okay=False, path_type=Path))
def show(run_dir: Path) -> None:
    """Print the result table of a finished run and the place of its report."""
    _show(run_dir)


@main.command()
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), default=Path("outputs/bench"), show_default=True
)
def bench(out: Path) -> None:
    """Measure speed and memory on this machine."""
    from s2p_lib.bench import run_bench

    click.echo(run_bench(out))


def _from_here(name: str, value: str) -> str | None:
    """Parameters arrive as text; a path means relative to where the command was typed."""
    if value.lower() == "none":
        return None
    return str(Path(value).resolve()) if name in ("data_dir", "weights", "init_checkpoint", "config") else value


def _show(run_dir: Path) -> None:
    from s2p_lib.report import result_text

    folder = RunFolder(run_dir.resolve())
    try:
        text = result_text(folder)
    except FileNotFoundError as error:
        raise click.ClickException(str(error)) from None
    if changed := runs.changed_inputs(folder, "06_report"):
        click.echo(f"report.html is older than {', '.join(changed)}: run notebook 06_report again")
    for name, value in folder.manifest["parameters"].items():
        if value != runs.Parameters.model_fields[name].default:
            click.echo(f"parameter {name} = {value}")
    click.echo(f"\n{text}\n\nReport: {folder.path('report.html')}")


if __name__ == "__main__":
    main()
