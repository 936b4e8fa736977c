"""The two small networks that ship with the package, without their weights."""

from typing import Any

from gsn.teachers.torchvision_ops import import_torchvision

PATCH_PX = 8
TRAINING_SIDE_PX = 112  # of the crops they were trained on; any size can be seen
WIDTH, HEADS = 192, 3
DINO_DEPTH = 6
CLIP_DEPTH, TEXT_WIDTH, TEXT_DEPTH, TEXT_HEADS = 5, 128, 3, 2
JOINT_CHANNELS = 128
CONTEXT = 20  # tokens of a text


def create_dino_demo() -> Any:  # noqa: ANN401  (timm has no types)
    """Make the ViT of `dino-demo`: patch 8, six blocks of width 192, random weights."""
    import_torchvision()
    from timm.models import VisionTransformer

    return VisionTransformer(
        img_size=TRAINING_SIDE_PX,
        patch_size=PATCH_PX,
        embed_dim=WIDTH,
        depth=DINO_DEPTH,
        num_heads=HEADS,
        num_classes=0,
        dynamic_img_size=True,
    )


def create_clip_demo(n_words: int) -> Any:  # noqa: ANN401  (open_clip has no types)
    """Make the image and text towers of `clip-demo` with random weights.

    Args:
        n_words: Size of the vocabulary; the end of a text is its last word.
    """
    import_torchvision()
    from open_clip import CLIP
    from open_clip.model import CLIPTextCfg, CLIPVisionCfg

    return CLIP(
        embed_dim=JOINT_CHANNELS,
        vision_cfg=CLIPVisionCfg(
            layers=CLIP_DEPTH,
            width=WIDTH,
            head_width=WIDTH // HEADS,
            patch_size=PATCH_PX,
            image_size=TRAINING_SIDE_PX,
        ),
        text_cfg=CLIPTextCfg(
            context_length=CONTEXT,
            vocab_size=n_words,
            width=TEXT_WIDTH,
            heads=TEXT_HEADS,
            layers=TEXT_DEPTH,
        ),
    )
