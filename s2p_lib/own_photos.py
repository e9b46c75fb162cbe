"""A reader's own photos in a notebook, dropped or from a folder: what each is called, why, and the card's warning."""

import html
import tempfile
from collections.abc import Sequence
from pathlib import Path

import ipywidgets as widgets
import numpy as np
import pandas as pd
from scipy.special import expit

from s2p_lib.decoding import DecoderStartError
from s2p_lib.explorer import OpenOnClick, decision_html
from s2p_lib.failures import explain, margins_private
from s2p_lib.model import S2P
from s2p_lib.predict import N_SCENES, WARNING, find_photos, scene_logits_of
from s2p_lib.samples import CLASSES, bare_name, printable

MOST = 50  # photos at once: a whole folder of holidays would keep the notebook busy
NO_NETWORK = (
    "This run was trained on published scene probabilities: its model has no network to look at photos with, so own "
    "photos cannot be predicted here. <code>s2p predict --help</code> tells how to give it a ResNet-50."
)


class OwnPhotos(OpenOnClick):
    """Upload button and folder for own photos, opened by a click.

    ``mean_logits`` [365] is the mean photo, against which each decision is explained (``failures.explain``).
    ``warning`` (``RunFolder.warning``) is shown above the card's. No pixel of the photos enters the notebook, and
    uploaded files are deleted once they are predicted. With ``transform`` None (a model without a backbone) it says
    that and why.
    """

    def __init__(self, model: S2P, transform, mean_logits: np.ndarray, device: str = "cpu", warning: str = ""):
        self._model, self._transform, self._mean = model, transform, mean_logits
        self._device, self._warning = device, warning
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
        warnings = [widgets.HTML(f"<b>{html.escape(text)}</b>") for text in (self._warning, WARNING) if text]
        return [*warnings, widgets.HBox([self.upload, self.folder, self.predict_button]), self.result]

    def _uploaded(self, files) -> None:
        if not files:
            return
        self.upload.value = ()  # the bytes leave the widget's state
        with tempfile.TemporaryDirectory() as folder:
            paths = []
            for i, file in enumerate(files[:MOST]):
                paths.append(Path(folder) / f"upload-{i}")  # the given name may be too long for a file, or a path
                paths[-1].write_bytes(file["content"])
            self._predict(paths, [file["name"] for file in files[:MOST]], len(files))

    def _of_folder(self) -> None:
        try:
            paths = find_photos([Path(self.folder.value.strip()).expanduser()] if self.folder.value.strip() else [])
        except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: ~ of a user that is not there
            self._tell(error)
            return
        names = [printable(bare_name(path.name)) for path in paths]
        self._predict(paths[:MOST], names[:MOST], len(paths))

    def _predict(self, paths: Sequence[Path], names: Sequence[str], n_given: int) -> None:
        self.result.value = "<span role='status'>Predicting ...</span>"
        head = self._model.scene_to_privacy_layer
        found = scene_logits_of(paths, self._model, self._transform, self._device)
        told = f"<p>The first {len(paths)} of {n_given:,} photos.</p>" if n_given > len(paths) else ""
        try:
            answers = [
                f"<p><b>{html.escape(name)}</b>: not predicted, {html.escape(problem)}</p>"
                if problem
                else prediction_html(name, explain(head, logits, self._mean), float(margins_private(head, logits)))
                for (_, logits, problem), name in zip(found, names)
            ]
        except DecoderStartError as error:
            self._tell(error)
            return
        self.result.value = told + "".join(answers)

    def _tell(self, error: Exception) -> None:
        self.result.value = f"<b role='alert'>{html.escape(str(error))}</b>"


def prediction_html(name: str, explanation: pd.DataFrame, margin_private: float) -> str:
    """What a photo is called, its likeliest scenes, and why: ``failures.explain`` and the log-odds of private."""
    likeliest = explanation.nlargest(N_SCENES, "logit")
    scenes = ", ".join(f"{row.scene} ({expit(row.logit):.2f})" for row in likeliest.itertuples())
    called, p_private = CLASSES[0] if margin_private >= 0 else CLASSES[1], expit(margin_private)
    return (
        f"<div class='s2p-explained'><b>{html.escape(name)}</b>: called {called}, p_private {p_private:.4f}.<br>"
        f"Its likeliest scenes: {html.escape(scenes)}.<br>{decision_html(explanation, margin_private)}</div><br>"
    )
