"""The photos of a run in a notebook: filter, sort, look at one with its explanation, mark, export and import.

Pictures never enter a widget's state, which notebooks save and kernels keep: the buttons that stand for photos have a
class each, and one output of the cell gives these classes their pictures by a style sheet. It holds the page that is
seen and the photo that is open, and is replaced with each page.
"""

import base64
import html
import os
import secrets
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import ipywidgets as widgets
import numpy as np
import pandas as pd
from IPython.display import display, update_display

from s2p_lib.failures import flip_words, flips, signed
from s2p_lib.marks import MARKS, Marks, read_salt
from s2p_lib.plots import COLOURS
from s2p_lib.samples import examples
from s2p_lib.thumbnails import Thumbnails, photo_jpeg

CHOICES = ("outcome", "source", "split", "label", "prediction", "top_scene", "mark")  # filters by one value
SORTS = ("loss", "confidence", "margin")
NEEDED = ("image", "path", *CHOICES[:-1], "p_private", *SORTS, "top_scenes", "top_scene_p")
NO_MARK = "no mark"
ANY = object()  # a filter that is off; not None, by which a Dropdown means that nothing is chosen
PAGE, FULL_SIZE, N_BARS = 24, 420, 10
GRID_HEIGHT = "520px"  # scrolls within: the open photo below stays in sight

# Of the widgets alone. Photos are buttons with the picture above three lines of text, four if marked.
STYLE = """<style>
.s2p-photo.jupyter-button {width: 166px; height: 230px; margin: 3px; padding: 160px 2px 4px; line-height: 1.3;
  white-space: pre-line; overflow: hidden; overflow-wrap: anywhere; font-size: 12px; background: no-repeat 7px 5px;
  background-color: var(--jp-layout-color2, #eee); color: var(--jp-ui-font-color1, #111)}
.s2p-photo.jupyter-button.s2p-words {height: 116px; padding-top: 6px}
.s2p-photo.jupyter-button:focus-visible {outline: 3px solid var(--jp-brand-color1, #1976d2)}
.s2p-confidence .widget-readout {min-width: 86px}
.s2p-full {width: 420px; max-width: 100%; aspect-ratio: 1; background: no-repeat center / contain}
.s2p-explained {line-height: 1.4; overflow-wrap: anywhere; padding-left: 6px}
.s2p-explained td, .s2p-explained th {padding: 1px 4px; text-align: left}
.s2p-explained :is(td, th):last-child {white-space: nowrap; text-align: right}
</style>"""


def filter_photos(photos: pd.DataFrame, criteria: Mapping) -> pd.DataFrame:
    """The rows of a photo table that fit all ``criteria``.

    A key of ``CHOICES`` asks for one value of that column, ``confidence`` for a range (low, high) with both ends in it.
    ValueError for another key, or a column that the table lacks.
    """
    fits = np.ones(len(photos), dtype=bool)
    for name, wanted in criteria.items():
        if name not in (*CHOICES, "confidence") or name not in photos:
            raise ValueError(f"photos cannot be filtered by {name!r}; allowed: {', '.join(CHOICES)}, confidence")
        fits &= photos[name].between(*wanted) if name == "confidence" else (photos[name] == wanted)
    return photos[fits]


def sort_photos(photos: pd.DataFrame, by: str = "loss", ascending: bool = False) -> pd.DataFrame:
    """The rows of a photo table by ``confidence``, ``loss`` or ``margin``, equal ones by image name."""
    if by not in SORTS:
        raise ValueError(f"photos cannot be sorted by {by!r}; allowed: {', '.join(SORTS)}")
    return photos.sort_values([by, "image"], ascending=[ascending, True])


def bars_html(names, values, n: int = N_BARS) -> str:
    """A table of signed bars, the first ``n`` of ``values`` (log-odds of private): private to the right, public left.

    Names are escaped; the numbers are there as text, so that nothing hangs on seeing the bars.
    """
    names, values = list(names)[:n], [float(value) for value in list(values)[:n]]
    widest = max(map(abs, values), default=0) or 1
    rows = "".join(
        f"<tr><th scope='row'>{html.escape(str(name))}</th><td>{_bar(value / widest)}</td><td>{signed(value)}</td></tr>"
        for name, value in zip(names, values)
    )
    head = "<tr><th>scene</th><th>towards public | towards private</th><th>log-odds</th></tr>"
    return f"<table class='s2p-explained'>{head}{rows}</table>"


def _bar(share: float) -> str:
    """A bar from the middle of 240 pixels, to the right if ``share`` (-1 to 1) is positive."""
    width, colour = round(120 * abs(share)), COLOURS["private" if share > 0 else "public"]
    left = 120 if share > 0 else 120 - width
    return (
        "<div style='width:240px;background:linear-gradient(#8888,#8888) center/1px 100% no-repeat'>"
        f"<div style='margin-left:{left}px;width:{width}px;height:12px;background:{colour}'></div></div>"
    )


class OpenOnClick(widgets.VBox):
    """A button that stands for widgets until it is clicked.

    A notebook that runs without a reader (papermill, nbconvert, nbval) then holds a button and a sentence, and makes no
    thumbnail.
    """

    def __init__(self, label: str, build: Callable[[], list[widgets.Widget]]):
        self._build, self._styles = build, f"s2p-{secrets.token_hex(4)}"
        self.open_button = widgets.Button(description=label, button_style="primary", layout={"width": "auto"})
        self.open_button.on_click(lambda _: self.unfold())
        hint = widgets.HTML("Needs a running kernel: in a saved notebook, run the cell first.")
        super().__init__([widgets.HBox([self.open_button, hint])])

    def unfold(self) -> None:
        self.children = [widgets.HTML(STYLE), *self._build()]

    def _ipython_display_(self) -> None:
        display(self._repr_mimebundle_(), raw=True)
        display(_style_bundle(""), raw=True, display_id=self._styles)


class Explorer(OpenOnClick):
    """The photos of a photo table (``failures.photo_table``) as widgets, opened by a click.

    ``pictures`` says what is shown of photos below ``data_dir`` (see ``pictures.picture``; with ``scenes`` their
    likeliest scenes stand for them), ``explain`` gives the explanation of an image by its name
    (``failures.explain``). Marks are exported to ``marks_file`` and read from it when the explorer is opened;
    thumbnails are kept in ``thumbnails_dir``. ValueError for a table that lacks columns or holds an image twice.
    """

    def __init__(
        self,
        photos: pd.DataFrame,
        data_dir: str | Path,
        pictures: str,
        explain: Callable[[str], pd.DataFrame],
        marks_file: str | Path,
        thumbnails_dir: str | Path,
    ):
        if missing := [name for name in NEEDED if name not in photos]:
            raise ValueError(f"the photo table lacks the columns {', '.join(missing)}; make it by failures.photo_table")
        if photos["image"].duplicated().any():
            twice = photos.loc[photos["image"].duplicated(), "image"]
            raise ValueError(f"{len(twice):,} images are twice in the photo table, such as {examples(twice)}")
        self.photos = photos.reset_index(drop=True).assign(mark=NO_MARK)
        self.data_dir, self.pictures, self.explain = Path(data_dir), pictures, explain
        self.marks, self.marks_file = Marks(), Path(marks_file)
        self._thumbnails = Thumbnails(thumbnails_dir, pictures)
        self._shown, self._page = self.photos, 0
        self._chosen, self._chosen_rule = None, ""
        self._may_export = True
        super().__init__(f"Explore {len(photos):,} photos", self._widgets)

    # -- the widgets

    def _widgets(self) -> list[widgets.Widget]:
        self.filters = {name: self._choice(name) for name in CHOICES}
        if "test" in set(self.photos["split"]):
            self.filters["split"].value = "test"
        self.confidence = widgets.FloatRangeSlider(
            value=(0.5, 1), min=0.5, max=1, step=0.01, description="confidence", continuous_update=False
        )
        self.sort = widgets.Dropdown(options=SORTS, description="sort by")
        self.order = widgets.Dropdown(options=[("highest first", False), ("lowest first", True)], description="order")
        self.confidence.add_class("s2p-confidence")
        for widget in (*self.filters.values(), self.confidence, self.sort, self.order):
            widget.observe(lambda _: self._select(), "value")
        self.previous, self.next = (widgets.Button(description=word) for word in ("Previous page", "Next page"))
        self.previous.on_click(lambda _: self._turn_to(self._page - 1))
        self.next.on_click(lambda _: self._turn_to(self._page + 1))
        self.count = widgets.HTML()
        looks = {"layout": widgets.Layout(), "style": widgets.ButtonStyle()}  # one for all: fewer models to send
        self.buttons = [widgets.Button(**looks) for _ in range(PAGE)]
        for place, button in enumerate(self.buttons):
            button.on_click(lambda _, place=place: self._choose(self._rows_of_page().index[place]))
        self.grid = widgets.HBox(layout={"flex_flow": "row wrap", "max_height": GRID_HEIGHT, "overflow": "auto"})
        self.full = widgets.VBox()
        tools = self._mark_tools()
        self._read_marks_file()
        self._select()
        return [
            widgets.HBox(
                [*self.filters.values(), self.confidence, self.sort, self.order], layout={"flex_flow": "row wrap"}
            ),
            widgets.HBox([self.previous, self.next, self.count]),
            self.grid,
            self.full,
            *tools,
        ]

    def _choice(self, name: str) -> widgets.Dropdown:
        """A filter: any value, or one of those in the table, the most frequent first, with their numbers."""
        counts = self.photos[name].value_counts()
        options = [("any", ANY), *((f"{value} ({n:,})", value) for value, n in counts.items())]
        if name == "mark":
            options = [("any", ANY), *((mark, mark) for mark in (NO_MARK, *MARKS))]
        return widgets.Dropdown(options=options, description=name.replace("_", " "))

    def _mark_tools(self) -> list[widgets.Widget]:
        self.mark = widgets.Dropdown(options=MARKS, description="mark as")
        self.note = widgets.Text(description="note", layout={"width": "300px"})
        self.mark_button = widgets.Button(description="Mark this photo", disabled=True)
        self.unmark_button = widgets.Button(description="Remove its mark", disabled=True)
        self.mark_button.on_click(lambda _: self._try(self._mark))
        self.unmark_button.on_click(lambda _: self._try(self._unmark))
        self.with_names = widgets.Checkbox(description="with image names", indent=False, layout={"width": "auto"})
        self.export_button = widgets.Button(description="Export marks")
        self.export_button.on_click(lambda _: self._try(self.export_marks))
        self.upload = widgets.FileUpload(description="Import marks", accept=".csv")
        self.upload.observe(lambda change: self._uploaded(change["new"]), "value")
        self.status = widgets.HTML()
        return [
            widgets.HBox(
                [self.mark, self.note, self.mark_button, self.unmark_button],
                layout={"flex_flow": "row wrap", "margin": "8px 0 0"},
            ),
            widgets.HBox([self.export_button, self.with_names, self.upload]),
            self.status,
        ]

    # -- filter, sort and page

    def _select(self) -> None:
        """Show the first page of the photos that the filters let through."""
        criteria = {name: widget.value for name, widget in self.filters.items() if widget.value is not ANY}
        if self.confidence.value != (0.5, 1):  # rounding may have put a confidence just below 0.5
            criteria["confidence"] = self.confidence.value
        self._shown = sort_photos(filter_photos(self.photos, criteria), self.sort.value, self.order.value)
        self._turn_to(0)

    def _turn_to(self, page: int) -> None:
        n_pages = max(1, -(-len(self._shown) // PAGE))
        self._page = min(max(page, 0), n_pages - 1)
        self.previous.disabled, self.next.disabled = self._page == 0, self._page == n_pages - 1
        self.count.value = f"{len(self._shown):,} of {len(self.photos):,} photos, page {self._page + 1} of {n_pages:,}"
        self._draw_page()

    def _rows_of_page(self) -> pd.DataFrame:
        return self._shown.iloc[self._page * PAGE : (self._page + 1) * PAGE]

    def _draw_page(self) -> None:
        rows = self._rows_of_page()
        self._send_pictures()
        for button, row in zip(self.buttons, rows.itertuples()):
            with button.hold_sync():
                button.description, button.tooltip = self._caption(row), row.image
                words = ["s2p-words"] if self.pictures == "scenes" else []
                button._dom_classes = ["s2p-photo", *words, self._class_of(row.Index)]
        self.grid.children = self.buttons[: len(rows)]

    def _caption(self, row) -> str:
        mark = "" if row.mark == NO_MARK else f"\u2605 {row.mark}\n"
        text = f"{mark}{row.label}, called {row.prediction}\nconfidence {row.confidence:.2f}"
        if self.pictures != "scenes":
            gone = "" if os.path.isfile(self.data_dir / row.path) else "file is gone: "
            return f"{text}\n{gone}{row.top_scene}"
        scenes = zip(row.top_scenes.split(", "), row.top_scene_p.split(", "))
        return "\n".join([text, *(f"{scene} {p}" for scene, p in scenes)])

    def _class_of(self, index: int) -> str:
        """By photo, not by place on the page: a late style sheet then never shows a photo under another's text."""
        return f"{self._styles}-{index}"

    def _send_pictures(self) -> None:
        """Give the page's buttons, and the open photo, their pictures."""
        if self.pictures == "scenes":
            return
        rows = self._rows_of_page()
        with ThreadPoolExecutor() as pool:  # Pillow decodes outside the interpreter lock
            jpegs = list(pool.map(lambda path: self._thumbnails.jpeg(self.data_dir / path), rows["path"]))
        rules = [_rule(self._class_of(index), jpeg) for index, jpeg in zip(rows.index, jpegs)]
        update_display(_style_bundle("".join([*rules, self._chosen_rule])), raw=True, display_id=self._styles)

    # -- one photo

    def _choose(self, index: int) -> None:
        """Open a photo: the picture, what was decided, and why."""
        self._chosen = index
        row = self.photos.loc[index]
        mark, note = self.marks.get(row["image"])
        self.mark.value, self.note.value = mark or MARKS[0], note
        self.mark_button.disabled, self.unmark_button.disabled = False, not mark
        text = widgets.HTML(self._facts_html(row), layout={"flex": "1 1 480px"})
        if self.pictures == "scenes":
            self.full.children = [text]
            return
        jpeg = photo_jpeg(self.data_dir / row["path"], self.pictures, FULL_SIZE)
        self._chosen_rule = _rule(f"{self._styles}-full", jpeg)  # kept: the photo stays open while pages turn
        self._send_pictures()
        name = html.escape(row["image"], quote=True)
        picture = widgets.HTML(f"<div class='s2p-full {self._styles}-full' role='img' aria-label='{name}'></div>")
        self.full.children = [widgets.HBox([picture, text], layout={"flex_flow": "row wrap"})]

    def _facts_html(self, row: pd.Series) -> str:
        margin_private = row["margin"] if row["label"] == "private" else -row["margin"]
        facts = (
            f"<b>{html.escape(row['image'])}</b><br>{html.escape(str(row['source']))}, {row['split']}. "
            f"Label {row['label']}, called {row['prediction']}: {row['outcome']}.<br>p_private {row['p_private']:.4f}, "
            f"loss {row['loss']:.2f} nats, margin {signed(row['margin'])}."
        )
        if self.pictures != "scenes" and not os.path.isfile(self.data_dir / row["path"]):
            facts += "<br>The file of this photo is gone since the run."
        explanation = self.explain(row["image"])
        return f"<div class='s2p-explained'>{facts}<br>{decision_html(explanation, margin_private)}</div>"

    # -- marks

    def _mark(self) -> str:
        image = self.photos["image"][self._chosen]
        self.marks.add(image, self.mark.value, self.note.value)
        self._marks_changed()
        return f"Marked as {self.mark.value}. Marked photos: {len(self.marks):,}."

    def _unmark(self) -> str:
        self.marks.remove(self.photos["image"][self._chosen])
        self._marks_changed()
        return f"Mark removed. Marked photos: {len(self.marks):,}."

    def _marks_changed(self) -> None:
        """Bring table and captions up to date. The page stays as it was filtered, so that nothing jumps away."""
        marks = {image: self.marks.get(image)[0] or NO_MARK for image in self.photos["image"]}
        for table in (self.photos, self._shown):
            table["mark"] = table["image"].map(marks)
        self.unmark_button.disabled = self._chosen is None or not self.marks.get(self.photos["image"][self._chosen])[0]
        if self.grid.children:
            self._draw_page()

    def export_marks(self) -> str:
        """Write the marked photos to ``marks_file``; image names only if the box is ticked."""
        if not self._may_export:
            raise ValueError(f"{self.marks_file.name} holds marks that could not be read; move it away, then export")
        salt = None if self.with_names.value else self._salt()
        part = self.marks_file.with_suffix(".part")  # a person made these marks: never half a file in their place
        part.write_text(self.marks.to_csv(self.photos, salt), encoding="utf-8", newline="")
        os.replace(part, self.marks_file)
        named = f"with hashes for image names; {self._salt_file.name} beside it is their key: keep that to yourself"
        if self.with_names.value:
            named = "with image names"
        file = f"{self.marks_file.parent.name}/{self.marks_file.name}"
        return f"{file} written, {named}. Marked photos: {len(self.marks):,}."

    def import_marks(self, text: str) -> str:
        """Take over the marks of an exported CSV, which win over those there are; tells what it did not know."""
        marks, unknown = Marks.from_csv(text, self.photos["image"], self._salt() if self._salt_file.is_file() else None)
        self.marks.update(marks)
        self._marks_changed()
        told = (
            f" Not photos of this run: {len(unknown):,}, such as {examples(unknown)}; their marks are kept."
            if unknown
            else ""
        )
        return f"Marks imported: {len(marks):,}.{told}"

    @property
    def _salt_file(self) -> Path:
        return self.marks_file.with_suffix(".salt")

    def _salt(self) -> str:
        return read_salt(self._salt_file)

    def _read_marks_file(self) -> None:
        if self.marks_file.is_file():
            self._may_export = self._try(lambda: self.import_marks(self.marks_file.read_text(encoding="utf-8")))

    def _uploaded(self, files) -> None:
        if files:
            self.upload.value = ()  # the bytes leave the widget's state
            self._try(lambda: self.import_marks(bytes(files[0]["content"]).decode("utf-8-sig")))

    def _try(self, work: Callable[[], str]) -> bool:
        """Do what was asked and say so, or say what was wrong; whether it went well."""
        try:
            self.status.value = f"<span role='status'>{html.escape(work())}</span>"
        except (OSError, ValueError) as error:
            self.status.value = f"<b role='alert'>{html.escape(str(error))}</b>"
            return False
        return True


def decision_html(explanation: pd.DataFrame, margin_private: float) -> str:
    """Why a photo is called what it is called (``explanation_html``), and what would flip it."""
    turned = flips(explanation, margin_private)
    scenes = f" ({', '.join(turned['scene'])})" if 0 < len(turned) <= N_BARS else ""
    flip = html.escape(f"{flip_words(turned, margin_private)}{scenes}")
    return f"{explanation_html(explanation, margin_private)}<b>What would flip it.</b> {flip}"


def explanation_html(explanation: pd.DataFrame, margin_private: float, n: int = N_BARS) -> str:
    """Bars of the ``n`` scenes that moved a decision most, and the sum over all scenes in words.

    ``explanation`` as of ``failures.explain``; ``margin_private`` is the photo's log-odds of private.
    """
    total = explanation["contribution"].sum()
    rest = explanation["contribution"].iloc[n:]
    return (
        f"Log-odds of private: {signed(margin_private - total)} for the mean photo, {signed(total)} from the scenes, "
        f"in sum {signed(margin_private)}. The {len(explanation) - len(rest)} scenes that moved it most (the other "
        f"{len(rest)}: {signed(rest.sum())}):{bars_html(explanation['scene'], explanation['contribution'], n)}"
    )


def _rule(name: str, jpeg: bytes) -> str:
    return f".{name} {{background-image: url(data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}) !important}}\n"


def _style_bundle(rules: str) -> dict[str, str]:
    return {"text/html": f"<style>{rules}</style>" if rules else "", "text/plain": ""}
