"""Where strokes lie: arterial territories as ellipsoids in MNI space, and how often each is hit.

Shares: 30 % posterior (Frid et al. 2020, PMC7035231), both sides alike; within the anterior circulation 85 % MCA, 10 %
ACA, 5 % border zone, and the shares within those are assumptions. The ellipsoids are coarse: a lesion needs a likely
place, not an atlas.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

Circulation = Literal["anterior", "posterior"]

POSTERIOR_SHARE = 0.30


@dataclass(frozen=True, slots=True)
class Territory:
    """An ellipsoid in either half.

    Attributes:
        name: As it is called in the truth.
        circulation: Anterior or posterior.
        share: Of the circulation's strokes; the shares of each circulation add up to 1.
        centre_mm: MNI z, y and distance from the midline.
        radius_mm: Along the same axes.
    """

    name: str
    circulation: Circulation
    share: float
    centre_mm: tuple[float, float, float]
    radius_mm: tuple[float, float, float]


TERRITORIES = (
    Territory("mca_lenticulostriate", "anterior", 0.85 * 0.22, (8.0, -2.0, 22.0), (12.0, 14.0, 9.0)),
    Territory("mca_insula", "anterior", 0.85 * 0.18, (2.0, 2.0, 37.0), (12.0, 16.0, 8.0)),
    Territory("mca_frontal", "anterior", 0.85 * 0.25, (22.0, 18.0, 42.0), (20.0, 22.0, 15.0)),
    Territory("mca_parietal", "anterior", 0.85 * 0.20, (36.0, -38.0, 47.0), (18.0, 20.0, 15.0)),
    Territory("mca_temporal", "anterior", 0.85 * 0.15, (-8.0, -22.0, 52.0), (14.0, 24.0, 14.0)),
    Territory("aca", "anterior", 0.10, (36.0, 8.0, 9.0), (22.0, 34.0, 8.0)),
    Territory("border_zone", "anterior", 0.05, (34.0, -6.0, 26.0), (10.0, 30.0, 7.0)),
    Territory("pca", "posterior", 0.35, (6.0, -76.0, 18.0), (16.0, 17.0, 14.0)),
    Territory("thalamus", "posterior", 0.25, (6.0, -19.0, 12.0), (8.0, 9.0, 7.0)),
    Territory("cerebellum", "posterior", 0.25, (-34.0, -62.0, 24.0), (11.0, 17.0, 15.0)),
    Territory("brainstem", "posterior", 0.15, (-32.0, -29.0, 6.0), (14.0, 8.0, 6.0)),
)


def draw_territory(rng: np.random.Generator) -> Territory:
    """Draws a territory by circulation and share."""
    circulation: Circulation = "posterior" if rng.uniform() < POSTERIOR_SHARE else "anterior"
    members = [territory for territory in TERRITORIES if territory.circulation == circulation]
    return members[int(rng.choice(len(members), p=[territory.share for territory in members]))]
