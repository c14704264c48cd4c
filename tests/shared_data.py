"""Real MRI, DICOM and stroke masks that lie beside some checkouts; tests skip, saying so, where they do not."""

from pathlib import Path

SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"
