"""A reader's own photos in a notebook: dropped or from a folder, with prediction, scenes and the card's warning."""

import html
import tempfile
from pathlib import Path

import ipywidgets as widgets
import pandas as pd

from s2p_lib.explorer import OpenOnClick, bars_html
from s2p_lib.model import S2P
from s2p_lib.predict import N_SCENES, WARNING, find_photos, predict_photos

MOST = 50  # photos at once: a whole folder of holidays would keep the notebook busy
NO_NETWORK = (
    "This run was trained on published scene probabilities: its model has no network to look at photos with, so own "
    "photos cannot be predicted here. <code>s2p predict --help</code> tells how to give it a ResNet-50."
)


class OwnPhotos(OpenOnClick):
    """Upload button and folder for own photos, opened by a click; predictions by ``predict.predict_photos``.

    No pixel of them enters the notebook, and uploaded files are deleted once they are predicted. With ``transform``
    None (a model without a backbone) it says that and why.
    """

    def __init__(self, model: S2P, transform, device: str = "cpu"):
        self._model, self._transform, self._device = model, transform, device
        super().__init__("Try own photos", self._widgets)

    def _widgets(self) -> list[widgets.Widget]:
        if self._transform is None:
            return [widgets.HTML(NO_NETWORK)]
        self.upload = widgets.FileUpload(description="Upload photos", accept="image/*", multiple=True)
        self.upload.observe(lambda change: self._uploaded(change["new"]), "value")
        self.folder = widgets.Text(description="or folder", placeholder="a path on the kernel's machine, then Predict")
        self.predict_button = widgets.Button(description="Predict")
        self.predict_button.on_click(lambda _: self._of_folder())
        self.result = widgets.HTML()
        warning = widgets.HTML(f"<b>{html.escape(WARNING)}</b>")
        return [warning, widgets.HBox([self.upload, self.folder, self.predict_button]), self.result]

    def _uploaded(self, files) -> None:
        if not files:
            return
        self.upload.value = ()  # the bytes leave the widget's state
        with tempfile.TemporaryDirectory() as folder:
            paths = []
            for i, file in enumerate(files[:MOST]):
                paths.append(Path(folder) / f"upload-{i}")  # the given name may be too long for a file, or a path
                paths[-1].write_bytes(file["content"])
            table = self._predict(paths)
        self._show(table.assign(image=[file["name"] for file in files[:MOST]]), len(files))

    def _of_folder(self) -> None:
        try:
            paths = find_photos([Path(self.folder.value.strip()).expanduser()] if self.folder.value.strip() else [])
        except (OSError, ValueError) as error:
            self.result.value = f"<b role='alert'>{html.escape(str(error))}</b>"
            return
        self._show(self._predict(paths[:MOST]), len(paths))

    def _predict(self, paths: list[Path]) -> pd.DataFrame:
        self.result.value = "<span role='status'>Predicting ...</span>"
        return predict_photos(paths, self._model, self._transform, self._device)

    def _show(self, table: pd.DataFrame, n_given: int) -> None:
        told = f"<p>The first {len(table)} of {n_given:,} photos.</p>" if n_given > len(table) else ""
        self.result.value = told + "".join(prediction_html(row) for row in table.to_dict("records"))


def prediction_html(row: dict) -> str:
    """A row of ``predict.predict_photos`` as HTML: prediction, scenes and their log-odds."""
    name = html.escape(str(row["image"]))
    if pd.notna(row["problem"]):
        return f"<p><b>{name}</b>: not predicted, {html.escape(row['problem'])}</p>"
    scenes = [f"{row[f'scene_{k}']} ({row[f'scene_{k}_p']:.2f})" for k in range(1, N_SCENES + 1)]
    log_odds = [row[f"scene_{k}_log_odds"] for k in range(1, N_SCENES + 1)]
    return (
        f"<p class='s2p-explained'><b>{name}</b>: called {row['prediction']}, p_private {row['p_private']:.4f}. Its "
        f"five likeliest scenes, and what each adds to the log-odds of private:</p>{bars_html(scenes, log_odds)}"
    )
