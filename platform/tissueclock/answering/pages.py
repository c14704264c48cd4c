"""The answers as files: `answers.tsv`, an index and a page a patient, which open without a server."""

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import jinja2
import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure
from numpy import ndarray

from tissueclock.answering.answers import Answer, OnsetAnswer
from tissueclock.channels import SERIES
from tissueclock.storage.files import write_text
from tissueclock.storage.tsv import MISSING, write_rows

TABLE, INDEX, PATIENTS = "answers.tsv", "index.html", "patients"
RESEARCH_ONLY = "research only: not a medical device, not for diagnosis or treatment"

_INCHES = (8.4, 3.2)
_DPI = 110


def write_table(path: Path, answers: Sequence[Answer], *, flags: Mapping[str, Sequence[str]]) -> None:
    """Writes one row a patient.

    Args:
        path: The table.
        answers: Of all patients.
        flags: More of them by patient, from the quality page.

    Raises:
        StorageError: The folder cannot be written.
    """
    figures = list(dict.fromkeys(name for answer in answers for name in answer.figures or ()))
    cuts = list(dict.fromkeys(told.onset_before_min for answer in answers for told in answer.onset))
    rows = []
    for answer in answers:
        told = {each.onset_before_min: each for each in answer.onset}
        row = {
            "patient": answer.patient,
            "refused": answer.refusal or MISSING,
            "hemisphere": answer.hemisphere or MISSING,
            "chosen_by": answer.chosen_by or MISSING,
            "hemisphere_probability": _number(answer.side_probability),
        }
        for cut in cuts:
            row |= _onset_cells(cut, told.get(cut))
        row |= {name: _number((answer.figures or {}).get(name)) for name in figures}
        row["flags"] = "; ".join((*answer.flags, *flags.get(answer.patient, ()))) or MISSING
        row["use"] = RESEARCH_ONLY
        rows.append(row)
    write_rows(path, columns=list(rows[0]), rows=rows)


def draw_patient(
    series: Float[ndarray, "series slice height width"], map_: Float[ndarray, "slice height width"] | None, *, kind: str
) -> bytes:
    """The hemisphere's three series, and where the network looked, on the slice that it looked at most: a PNG.

    Args:
        series: 0 outside the brain.
        map_: At least 0, largest 1; None where there is none.
        kind: Of map, for its title.
    """
    plane = int(map_.max(axis=(1, 2)).argmax()) if map_ is not None else series.shape[1] // 2
    figure = Figure(figsize=_INCHES, dpi=_DPI, layout="constrained")
    panels = [*SERIES, *([kind] if map_ is not None else [])]
    for axes, name in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        shown = series[SERIES.index(name) if name in SERIES else SERIES.index("b1000"), plane]
        inside = shown[shown != 0]
        top = float(np.quantile(inside, 0.995)) if inside.size else 1.0
        axes.imshow(shown, cmap="gray", vmin=0, vmax=top, interpolation="nearest")
        if name not in SERIES and map_ is not None:
            axes.imshow(map_[plane], cmap="inferno", alpha=np.clip(map_[plane], 0, 0.7), vmin=0, vmax=1)
        axes.set_title(name, fontsize=10)
        axes.set_axis_off()
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    return stream.getvalue()


def write_pages(
    out: Path,
    answers: Sequence[Answer],
    *,
    flags: Mapping[str, Sequence[str]],
    images: Mapping[str, bytes],
    model: str,
    cohort: Mapping[str, object],
    error_rate: float,
    coverage: Sequence[str],
) -> None:
    """Writes `index.html` and `patients/ID.html`.

    Args:
        out: The folder.
        answers: Of all patients.
        flags: More of them by patient.
        images: A PNG by patient.
        model: What answered.
        cohort: That it was trained on: `name`, `is_phantom`.
        error_rate: At which something was told.
        coverage: How that error rate was met by patients who took no part, a sentence each.

    Raises:
        StorageError: The folder cannot be written.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("tissueclock.answering", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["hours"] = lambda minutes: f"{minutes / 60:g} h"
    said = {
        "model": model,
        "cohort": cohort,
        "error_rate": error_rate,
        "coverage": coverage,
        "research_only": RESEARCH_ONLY,
        "flags": {answer.patient: [*answer.flags, *flags.get(answer.patient, ())] for answer in answers},
    }
    page = environment.get_template("patient.html.j2")
    for stale in set((out / PATIENTS).glob("*.html")) - {out / PATIENTS / f"{a.patient}.html" for a in answers}:
        stale.unlink()  # told by an earlier run
    for answer in answers:
        png = images.get(answer.patient)
        image = f"data:image/png;base64,{base64.b64encode(png).decode()}" if png else ""
        write_text(out / PATIENTS / f"{answer.patient}.html", page.render(answer=answer, image=image, **said))
    write_text(out / INDEX, environment.get_template("index.html.j2").render(answers=answers, **said))


def _onset_cells(cut: float, told: OnsetAnswer | None) -> dict[str, str]:
    name = f"{cut / 60:g}h"
    if told is None:
        values = dict.fromkeys(("probability", "lowest", "highest", "call", "told"), MISSING)
    else:
        values = {
            "probability": _number(told.probability),
            "lowest": _number(told.lowest),
            "highest": _number(told.highest),
            "call": "yes" if told.call else "no",
            "told": told.told,
        }
    return {f"below_{name}_{key}": value for key, value in values.items()}


def _number(value: float | None) -> str:
    return MISSING if value is None else f"{value:.6f}"
