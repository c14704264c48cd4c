"""What every patient brings: the series, in the order of the packed array's channels."""

from typing import Literal, get_args

SeriesName = Literal["b0", "b1000", "flair"]
SERIES: tuple[SeriesName, ...] = get_args(SeriesName)
