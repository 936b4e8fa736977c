import pytest
import torch
import torch.nn.functional as F

from gsn.geometry.cameras import Cameras
from gsn.geometry.cell_grid import CellGrid
from gsn.geometry.projection import project
from gsn.geometry.rays import Rays
from gsn.model.sources import SourceViews, TeacherMaps, observe, sample_cells

H, W, V, D = 24, 32, 2, 6
GRID = CellGrid.of_patches((4, 8))  # rows, columns: 6 × 4 cells


def cameras():
    intrinsics = torch.tensor([[30.0, 0, W / 2], [0, 30, H / 2], [0, 0, 1]])
    poses = torch.eye(4).repeat(V, 1, 1)
    poses[1, :3, 3] = torch.tensor([0.3, -0.2, 0.1])
    return Cameras(intrinsics.repeat(V, 1, 1), poses, H, W)


def sources(seed=0):
    draw = torch.Generator().manual_seed(seed)
    return SourceViews(
        cameras(),
        torch.rand(V, 3, H, W, generator=draw),
        torch.randn(V, 5, H // 4, W // 4, generator=draw),
        TeacherMaps(F.normalize(torch.randn(V, D, 6, 4, generator=draw), dim=1), GRID),
    )


def samples(spread=2.5):
    """Points before and behind the cameras, in view and out of it."""
    draw = torch.Generator().manual_seed(3)
    points = spread * torch.randn(30, 4, 3, generator=draw)
    points[..., 2] += 2
    return Rays(torch.zeros(30, 3), torch.ones(30, 3)), points


def ramp(height, width, first, step):
    """Map (1, 2, h, w) that holds at each cell the pixel index (u, v) of its centre."""
    u = first[1] + step[1] * torch.arange(float(width))
    v = first[0] + step[0] * torch.arange(float(height))
    return torch.stack([u.expand(height, width), v[:, None].expand(height, width)])[None]


def test_sampling_at_the_centre_of_a_cell_returns_the_cell():
    maps = torch.randn(1, 3, 6, 4, generator=torch.Generator().manual_seed(0))
    for row in range(6):
        for column in range(4):
            pixel = torch.tensor([[[3.5 + 8 * column, 1.5 + 4 * row]]])
            got = sample_cells(maps, pixel, GRID)[0, :, 0]
            torch.testing.assert_close(got, maps[0, :, row, column])


def test_between_cells_sampling_is_linear_and_beyond_them_it_repeats_the_border():
    maps = ramp(6, 4, *((1.5, 3.5), (4, 8)))
    draw = torch.Generator().manual_seed(0)
    pixels = torch.rand(1, 50, 2, generator=draw) * torch.tensor([W - 1, H - 1])
    expected = pixels.clamp(torch.tensor([3.5, 1.5]), torch.tensor([27.5, 21.5]))
    torch.testing.assert_close(sample_cells(maps, pixels, GRID)[0].T, expected[0])


def test_means_of_patches_are_sampled_where_the_patches_lie():
    picture = ramp(H, W, (0, 0), (1, 1))
    maps = F.avg_pool2d(picture, (4, 8))  # what a teacher with patches of 4 × 8 pixels would see
    pixels = torch.tensor([[[9.0, 7.0], [20.25, 13.0], [3.5, 21.5]]])
    torch.testing.assert_close(sample_cells(maps, pixels, GRID)[0].T, pixels[0])


def test_colour_encoder_and_teacher_are_fetched_at_the_pixel_itself():
    picture = ramp(H, W, (0, 0), (1, 1)).expand(V, -1, -1, -1)
    colour = torch.cat([picture, picture[:, :1]], dim=1)
    encoded = ramp(H // 4, W // 4, (0, 0), (4, 4)).expand(V, -1, -1, -1)
    teacher = torch.ones(V, 3, 6, 4)
    teacher[:, :2] = ramp(6, 4, (1.5, 3.5), (4, 8))
    views = SourceViews(cameras(), colour, encoded, TeacherMaps(teacher, GRID))
    rays, points = samples()
    seen = observe(views, rays, points)
    pixels = project(points.flatten(0, 1), cameras()).pixels.permute(1, 0, 2).reshape(30, 4, V, 2)
    u, v = pixels.unbind(-1)
    inner = seen.visible & (u >= 3.5) & (u <= 27.5) & (v >= 1.5) & (v <= 20)
    assert inner.sum() > 20
    torch.testing.assert_close(seen.appearance[..., :2][inner], pixels[inner])
    torch.testing.assert_close(seen.appearance[..., 3:][inner], pixels[inner])
    with_one = torch.cat([pixels, torch.ones(30, 4, V, 1)], dim=-1)
    torch.testing.assert_close(seen.teacher[inner], F.normalize(with_one, dim=-1)[inner])


def test_observations_hold_zeros_where_a_view_sees_nothing_and_unit_vectors_elsewhere():
    rays, points = samples()
    seen = observe(sources(), rays, points)
    assert seen.appearance.shape == (30, 4, V, 3 + 5)
    assert seen.ray_difference.shape == (30, 4, V, 4)
    assert seen.visible.any() and not seen.visible.all()
    assert not seen.appearance[~seen.visible].any()
    assert not seen.teacher[~seen.visible].any()
    lengths = seen.teacher[seen.visible].norm(dim=-1)
    torch.testing.assert_close(lengths, torch.ones_like(lengths))


def test_the_visible_flags_are_those_of_each_sample_and_view():
    rays, points = samples()
    seen = observe(sources(), rays, points)
    for view in range(V):
        for ray in range(30):
            alone = project(points[ray], cameras()[torch.tensor([view])])
            assert seen.visible[ray, :, view].tolist() == alone.visible[0].tolist()


def enlarged_and_fetched(maps, pixels, enlarge):
    """What the published code does: stretch the map over the image, then fetch."""
    if enlarge:
        maps = F.interpolate(maps, size=(H, W), mode="bilinear", align_corners=False)
    grid = 2 * pixels / torch.tensor([W - 1, H - 1]) - 1
    fetched = F.grid_sample(
        maps, grid[:, None], mode="bilinear", padding_mode="zeros", align_corners=True
    )
    return fetched[:, :, 0]


def test_in_parity_mode_fetching_equals_enlarging_and_then_fetching():
    views = sources()
    rays, points = samples()
    seen = observe(views, rays, points, parity=True)
    projected = project(points.flatten(0, 1), cameras(), pixel_centre=0.0)
    maps = [(views.images, False), (views.encoded, False), (views.teacher.values, True)]
    expected = [enlarged_and_fetched(values, projected.pixels, big) for values, big in maps]
    by_sample = torch.cat(expected, dim=1).permute(2, 0, 1).reshape(30, 4, V, 3 + 5 + D)
    got = torch.cat([seen.appearance, seen.teacher], dim=-1)
    torch.testing.assert_close(got, by_sample, atol=1e-4, rtol=1e-4)
    # Some points lie less than a pixel off the image, where the border fades to zero.
    u, v = projected.pixels.unbind(-1)
    assert ((u > -1) & (u < W) & (v > -1) & (v < H) & ~projected.visible).any()


@pytest.mark.parametrize("pixel", [(0, 0), (W - 1, H - 1), (-0.5, 3), (W - 0.25, 7.5), (8, -0.75)])
def test_in_parity_mode_borders_are_those_of_the_enlarged_map(pixel):
    views = sources()
    depth = 3.0
    point = torch.tensor([(pixel[0] - W / 2) / 30 * depth, (pixel[1] - H / 2) / 30 * depth, depth])
    seen = observe(views, Rays(torch.zeros(1, 3), torch.ones(1, 3)), point[None, None], parity=True)
    at = torch.tensor([[list(map(float, pixel))]])
    expected = enlarged_and_fetched(views.teacher.values[:1], at, enlarge=True)[0, :, 0]
    torch.testing.assert_close(seen.teacher[0, 0, 0], expected, atol=1e-4, rtol=1e-4)


def test_coordinates_stay_in_full_precision_under_autocast():
    rays, points = samples()
    plain = observe(sources(), rays, points)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = observe(sources(), rays, points)
    assert torch.equal(plain.visible, mixed.visible)
    assert torch.equal(plain.appearance, mixed.appearance)
    assert torch.equal(plain.teacher, mixed.teacher)


def test_some_of_the_views_keep_their_own_cameras_and_maps():
    whole = sources()
    part = whole[torch.tensor([1])]
    assert torch.equal(part.images, whole.images[1:])
    assert torch.equal(part.encoded, whole.encoded[1:])
    assert torch.equal(part.teacher.values, whole.teacher.values[1:])
    assert torch.equal(part.cameras.centres, whole.cameras.centres[1:])
    without = SourceViews(whole.cameras, whole.images, whole.encoded)
    assert without[torch.tensor([1])].teacher is None


def test_maps_of_another_number_of_views_are_refused():
    good = sources()
    with pytest.raises(ValueError, match=r"encoded: expected shape \(2 _ _ _\)"):
        SourceViews(good.cameras, good.images, good.encoded[:1], good.teacher)
    with pytest.raises(ValueError, match=r"images: expected shape \(2 3 24 32\)"):
        SourceViews(good.cameras, good.images[..., :-1], good.encoded, good.teacher)
    with pytest.raises(ValueError, match=r"teacher: expected shape \(2 _ _ _\)"):
        one = TeacherMaps(good.teacher.values[:1], GRID)
        SourceViews(good.cameras, good.images, good.encoded, one)
