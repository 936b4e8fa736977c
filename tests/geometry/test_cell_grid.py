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


def test_cells_of_an_enlarged_image_are_centred_on_the_mean_of_their_pixels():
    # Two rows of pixels become three each, four columns one: cell (1, 2) of patches of 4×8 pixels.
    grid = CellGrid.of_patches((4, 8)).scaled((1.5, 0.25))
    rows, columns = range(6, 12), range(4, 6)
    assert grid.step_px == (6, 2)
    assert grid.first_px[0] + grid.step_px[0] == sum(rows) / len(rows)
    assert grid.first_px[1] + 2 * grid.step_px[1] == sum(columns) / len(columns)


def test_scaling_there_and_back_changes_nothing():
    grid = CellGrid((3.5, 6.0), (2.0, 5.0))
    back = grid.scaled((4.0, 0.5)).scaled((0.25, 2.0))
    assert back == grid


def test_the_first_pixel_keeps_its_distance_from_the_border():
    # The centre of pixel 0 lies half a pixel from the border: after doubling, one new pixel.
    assert CellGrid((0.0, 0.0), (1.0, 1.0)).scaled((2, 2)).first_px == (0.5, 0.5)
