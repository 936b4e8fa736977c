"""Where the cells of a feature map lie in the image it was computed from."""

from dataclasses import dataclass


@dataclass(frozen=True)
class CellGrid:
    """A regular grid of cells, in pixel-index coordinates (an integer is the centre of a pixel).

    Cell (i, j) is centred at row `first_px[0] + i * step_px[0]`, column `first_px[1] + j *
    step_px[1]`. Patches of 8 pixels that start at the corner: first 3.5, step 8.
    """

    first_px: tuple[float, float]  # row, column of the centre of cell (0, 0)
    step_px: tuple[float, float]  # rows, columns from cell to cell

    @staticmethod
    def of_patches(patch_px: tuple[float, float]) -> "CellGrid":
        """Return the grid of patches of this size (rows, columns) that start at the corner."""
        rows, columns = patch_px
        return CellGrid(((rows - 1) / 2, (columns - 1) / 2), (rows, columns))

    def scaled(self, factor: tuple[float, float]) -> "CellGrid":
        """Return the same cells in an image enlarged by these factors (rows, columns).

        Borders of the image stay borders: pixel index x lies x + 1/2 from the border.
        """
        row, column = ((f + 0.5) * s - 0.5 for f, s in zip(self.first_px, factor, strict=True))
        step = (self.step_px[0] * factor[0], self.step_px[1] * factor[1])
        return CellGrid((row, column), step)
