import pytest

from gsn.geometry.cell_grid import CellGrid


def test_patches_of_eight_are_centred_on_three_and_a_half():
    assert CellGrid.of_patches((8, 8)) == CellGrid((3.5, 3.5), (8, 8))


@pytest.mark.parametrize("patch", [(8, 8), (14, 14), (3, 5), (1, 1)])
def test_the_centre_of_a_cell_is_the_mean_of_the_pixels_of_its_patch(patch):
    grid = CellGrid.of_patches(patch)
    for axis in (0, 1):
        for cell in (0, 1, 7):
            pixels = range(cell * patch[axis], (cell + 1) * patch[axis])
            centre = grid.first_px[axis] + cell * grid.step_px[axis]
            assert centre == sum(pixels) / len(pixels)
