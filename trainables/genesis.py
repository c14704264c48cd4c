"""Genesis, the self-supervised phase before the 3D chain: distorted hemispheres are given back.

Its encoder starts detection. Written from the published description of Models Genesis, whose code and weights are
licensed for non-commercial research.
"""

from tissueclock.training.phase import Phase
from tissueclock.training.restoration import Restoration
from tissueclock.training.tunable import PhaseTrainable


class Genesis(PhaseTrainable):
    """Learns the whole U-Net on every hemisphere, without labels."""

    phase = Phase(name="genesis", title="restoration (Models Genesis)", task=Restoration(), kinds=("volume",))
