"""A picture of a page, small enough for a README: `python docs/pictures.py PAGE.html PICTURE.png WIDTH HEIGHT`."""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

_COLOURS = 128


def take(page: Path, picture: Path, *, width: int, height: int) -> None:
    """Photographs the top of a page with headless Chromium, at half its size.

    Raises:
        FileNotFoundError: There is no Chromium (Debian's package `chromium`).
    """
    chromium = shutil.which("chromium")
    if chromium is None:
        raise FileNotFoundError("chromium: no such program; apt-get install chromium")
    with tempfile.TemporaryDirectory() as folder:
        shot = Path(folder) / "shot.png"
        flags = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            f"--user-data-dir={folder}/profile",
        ]
        place = [f"--window-size={width},{height}", f"--screenshot={shot}", page.resolve().as_uri()]
        subprocess.run([chromium, *flags, *place], check=True, capture_output=True)
        with Image.open(shot) as image:
            half = image.convert("RGB").resize((width // 2, height // 2), Image.Resampling.LANCZOS)
    picture.parent.mkdir(parents=True, exist_ok=True)
    half.quantize(_COLOURS).save(picture, optimize=True)


if __name__ == "__main__":
    take(Path(sys.argv[1]), Path(sys.argv[2]), width=int(sys.argv[3]), height=int(sys.argv[4]))
