"""Makes `mirp.json`: what MIRP says of a made-up volume, `python make_mirp.py` with `mirp==2.5.0` and scipy installed.

MIRP is licensed under the EUPL-1.2 and is no dependency; its figures are facts. Names are mapped to ours by hand.
"""

import json

import numpy as np
from mirp import extract_features  # type: ignore[import-not-found, unused-ignore]
from scipy import ndimage

rng = np.random.default_rng(5)
smooth = ndimage.gaussian_filter(rng.normal(size=(3, 9, 8)), (0, 1, 1))
levels = np.digitize(smooth, np.quantile(smooth, np.linspace(0, 1, 9)[1:-1])) + 1
mask = np.zeros(levels.shape, dtype=bool)
mask[0, 2:7, 1:7] = mask[1, 1:8, 2:8] = mask[2, 3:6, 0:4] = True
mask[1, 4, 4] = False
figures: dict[str, float] = {}
for family, method in (("glcm", "2.5d_volume_merge"), ("glrlm", "2.5d_direction_merge")):
    (table,) = extract_features(
        image=levels.astype(float),
        mask=mask.astype(int),
        image_modality="ct",
        base_feature_families=[family],
        base_discretisation_method="fixed_bin_size",
        base_discretisation_bin_width=1.0,
        resegmentation_intensity_range=[1.0, 8.0],
        by_slice=False,
        **{f"{family}_spatial_method": method},
    )
    figures |= {name: float(table[name].iloc[0]) for name in table.columns if name.startswith(("cm_", "rlm_"))}
print(json.dumps({"levels": levels.tolist(), "mask": mask.astype(int).tolist(), "figures": figures}))
