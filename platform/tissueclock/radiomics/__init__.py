"""The radiomics baseline's measurements: a region of interest in one half of a head, and numbers that describe it.

After Lee et al. 2020, doi:10.1161/STROKEAHA.119.027611, as far as a packed cohort allows; where it does not, the
module says so. Knows arrays, and nothing of learning.
"""

ROI_ML = "roi_ml"
"""The column in which scores tell the volume of the region that was found; 0 where there is none."""
