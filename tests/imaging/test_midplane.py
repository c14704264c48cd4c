import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from tests.imaging.images import toy_head
from tissueclock.imaging.midplane import MidPlane, find_midplane
from tissueclock.imaging.transform import Transform, resample
from tissueclock.imaging.volume import Volume

MIDDLE = np.zeros(3)


def symmetric_head() -> Volume:
    head = toy_head()
    return head.like(head.data + head.data[::-1])


@pytest.mark.parametrize(
    ("roll", "yaw", "shift"), [(0.0, 0.0, 0.0), (6.0, 0.0, 4.0), (-5.0, 8.0, -6.0), (2.0, -9.0, 1.0)]
)
def test_a_plane_is_found_where_it_was_put(roll: float, yaw: float, shift: float) -> None:
    head = symmetric_head()
    put = np.eye(4)  # from a head whose plane is x = 0 to one whose plane is there
    put[:3, :3] = Rotation.from_euler("yz", [roll, yaw], degrees=True).as_matrix()
    put[0, 3] = shift
    shape = (40, 44, 16)
    moved = resample(head, shape=shape, affine=head.affine, transform=Transform(np.linalg.inv(put)))

    found = find_midplane(moved, mask=moved.data > 60, middle_mm=MIDDLE)

    assert (found.roll_deg, found.yaw_deg, found.shift_mm) == pytest.approx((roll, yaw, shift), abs=0.8)


def test_tilt_is_the_angle_between_the_planes() -> None:
    assert MidPlane(3.0, 0.0, 9.0).tilt_deg == pytest.approx(3.0)
    assert MidPlane(3.0, 4.0, 0.0).tilt_deg == pytest.approx(5.0, abs=0.01)
