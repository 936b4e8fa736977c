import inspect
import logging

import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional

from gsn.fingerprint import sha256_of_settings
from gsn.teachers import clip as clip_module
from gsn.teachers.clip import CLIP, CLIP_VARIANTS, build_clip
from gsn.teachers.clip_teacher import import_open_clip, joint_dimension
from gsn.teachers.teacher import Teacher, TeacherCard, TextTeacher

CPU = torch.device("cpu")
SMALL = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 16, "patch_size": 8, "layers": 2, "width": 32, "head_width": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}


@pytest.fixture
def small(monkeypatch):
    """Let the names of the registry stand for a network of few weights, CLIP's tokenizer kept."""
    monkeypatch.setattr(import_open_clip(), "get_model_config", lambda name: dict(SMALL))


@pytest.fixture(scope="module")
def clip(make_clip):
    return make_clip()


def noise(*size, seed=0):
    draw = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (*size, 3), dtype=torch.uint8, generator=draw)


@pytest.mark.parametrize("name", CLIP_VARIANTS)
def test_cards_say_what_the_networks_are(name):
    open_clip = import_open_clip()
    variant, card = CLIP_VARIANTS[name], CLIP[name].card
    settings = open_clip.get_model_config(variant.architecture)
    custom_text = settings.pop("custom_text", False)
    with torch.device("meta"):
        network = (open_clip.CustomTextCLIP if custom_text else open_clip.CLIP)(**settings)
    assert card.channels == joint_dimension(network) == settings["embed_dim"]
    assert card.parameters == sum(p.numel() for p in network.visual.parameters())
    tower = network.visual
    patch = tower.trunk.patch_embed.patch_size if custom_text else tower.patch_size
    assert (card.patch_px, card.patch_px) == tuple(patch)
    trained = open_clip.get_pretrained_cfg(variant.architecture, variant.tag)
    assert trained["hf_hub"].strip("/") == variant.repository
    assert card.weights_from.endswith(variant.repository)


def test_the_published_teacher_is_in_the_registry():
    variant = CLIP_VARIANTS["clip_vitb16"]
    assert (variant.architecture, variant.tag) == ("ViT-B-16", "laion2b_s34b_b88k")
    assert CLIP["clip_vitb16"].card == TeacherCard(
        "CLIP",
        512,
        16,
        86_192_640,
        "MIT",
        "huggingface.co/laion/CLIP-ViT-B-16-laion2B-s34B-b88K",
    )


def test_a_full_network_makes_maps_and_reads_texts(teacher_config):
    teacher: Teacher = CLIP["clip_vitb32"].build(teacher_config("clip_vitb32"), CPU)
    maps = teacher(noise(1, 64, 96))
    assert maps.shape == (1, 2, 3, 512) == (1, *teacher.grid_size(64, 96), teacher.channels)
    torch.testing.assert_close(maps.norm(dim=-1), torch.ones(1, 2, 3))
    assert isinstance(teacher, TextTeacher)
    vectors = teacher.embed_texts(["a cup", "a jar"])
    assert vectors.shape == (2, 512)
    assert not teacher.trained


def test_colours_are_normalised_as_the_weights_were_trained(small, teacher_config):
    found = {
        name: build_clip(teacher_config(name), CPU).fingerprint["preprocessing"]
        for name in ("clip_vitb16", "clip_vitl14")
    }
    assert found["clip_vitb16"]["mean"] == [0.48145466, 0.4578275, 0.40821073]
    assert found["clip_vitb16"]["std"] == [0.26862954, 0.26130258, 0.27577711]
    assert found["clip_vitl14"]["mean"] == found["clip_vitl14"]["std"] == [0.5] * 3


def test_openai_weights_go_with_their_own_activation(small):
    open_clip = import_open_clip()
    activations = {
        name: type(
            clip_module._create(
                CLIP_VARIANTS[name],
                bool(open_clip.get_pretrained_cfg("ViT-B-16", tag).get("quick_gelu")),
                False,
            )
            .visual.transformer.resblocks[0]
            .mlp.gelu
        ).__name__
        for name, tag in {
            "clip_vitb16": "laion2b_s34b_b88k",
            "clip_vitb16_openai": "openai",
        }.items()
    }
    assert activations == {"clip_vitb16": "GELU", "clip_vitb16_openai": "QuickGELU"}


def test_seeded_weights_depend_on_the_seed_alone_and_leave_no_trace(small, teacher_config):
    images = noise(1, 24, 32)
    one = build_clip(teacher_config("clip_vitb16"), CPU)
    before = torch.get_rng_state()
    again = build_clip(teacher_config("clip_vitb16"), CPU)
    other = build_clip(teacher_config("clip_vitb16", seed=1), CPU)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(one(images), again(images))
    assert not torch.allclose(one(images), other(images), atol=0.1)
    assert one.fingerprint == again.fingerprint
    assert sha256_of_settings(one.fingerprint) != sha256_of_settings(other.fingerprint)


@pytest.mark.parametrize("suffix", [".safetensors", ".bin"])
def test_weights_of_a_file_are_those_of_the_maps(small, teacher_config, tmp_path, suffix):
    source = build_clip(teacher_config("clip_vitb16", seed=5), CPU)
    weights = source._network.state_dict()
    older = {f"module.{name}": value.half() for name, value in weights.items()}
    older["module.logit_scale"] = older["module.logit_scale"].reshape(1)
    older["module.text.transformer.embeddings.position_ids"] = torch.arange(77)[None]
    older["module.context_length"] = torch.tensor(77)
    path = tmp_path / f"weights{suffix}"
    if suffix == ".bin":
        torch.save(older, path)
    else:
        save_file({name: value.contiguous() for name, value in older.items()}, path)
    teacher = build_clip(teacher_config("clip_vitb16", weights=str(path)), CPU)
    images = noise(1, 24, 32)
    torch.testing.assert_close(teacher(images), source(images), atol=5e-3, rtol=0)
    assert teacher.trained
    assert teacher.fingerprint["weights"]["source"] == "file"


def test_a_file_of_another_network_is_refused(small, teacher_config, tmp_path):
    weights = build_clip(teacher_config("clip_vitb16"), CPU)._network.state_dict()
    weights["visual.proj"] = torch.zeros(32, 8)
    torch.save(weights | {"visual.extra": torch.zeros(1)}, tmp_path / "weights.pt")
    config = teacher_config("clip_vitb16", weights=str(tmp_path / "weights.pt"))
    with pytest.raises(ValueError, match=r"weights\.pt: .*visual\.extra.*visual\.proj \(32, 8\) i"):
        build_clip(config, CPU)


class Scripted(torch.nn.Module):
    def forward(self, x):
        return x + 1


@pytest.mark.filterwarnings("ignore:'torch.load' received a zip file")
def test_an_archive_with_code_is_refused(small, teacher_config, tmp_path):
    path = tmp_path / "ViT-B-16.pt"
    torch.jit.script(Scripted()).save(str(path))
    config = teacher_config("clip_vitb16_openai", weights=str(path))
    with pytest.raises(ValueError, match=r"ViT-B-16\.pt: .*tensors and plain settings only"):
        build_clip(config, CPU)


def refuse(*args, **kwargs):
    raise OSError("no network")


def test_without_network_the_message_names_file_and_place(teacher_config, monkeypatch):
    open_clip = import_open_clip()
    monkeypatch.setattr(open_clip.pretrained, "hf_hub_download", refuse)
    with pytest.raises(
        FileNotFoundError,
        match=r"'clip_vitb16': .*open_clip_model.safetensors from huggingface.co/laion/CLIP-ViT-B-1"
        r".*put it into data/weights/",
    ):
        build_clip(teacher_config("clip_vitb16", weights="hub"), CPU)


def test_a_tokenizer_is_asked_for_only_when_needed(small, teacher_config, monkeypatch):
    open_clip = import_open_clip()
    monkeypatch.setattr(open_clip, "get_tokenizer", refuse)
    teacher = build_clip(teacher_config("siglip_vitb16"), CPU)
    assert teacher(noise(1, 16, 16)).shape == (1, 2, 2, 16)
    assert teacher.embed_texts([]).shape == (0, 16)
    with pytest.raises(
        FileNotFoundError, match=r"'siglip_vitb16': the hub gave no tokenizer \(OSE"
    ):
        teacher.embed_texts(["a cup"])

    def lack(name):
        raise ModuleNotFoundError("No module named 'transformers'")

    monkeypatch.setattr(open_clip, "get_tokenizer", lack)
    with pytest.raises(ValueError, match=r"'siglip_vitb16': .* needs the package transformers"):
        teacher.embed_texts(["a cup"])


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_texts_are_those_of_the_network_at_unit_length(kind, make_clip, make_siglip, wrap_clip):
    network = make_clip() if kind == "clip" else make_siglip()
    teacher = wrap_clip(network)
    texts = ["a cup", "a jar", "jar"]
    got = teacher.embed_texts(texts)
    tokenize = inspect.signature(wrap_clip).parameters["tokenize"].default
    for text, vector in zip(texts, got, strict=True):
        expected = functional.normalize(network.encode_text(tokenize([text]))[0], dim=0)
        torch.testing.assert_close(vector, expected, atol=1e-6, rtol=0)
    assert got.dtype == torch.float32
    assert not torch.allclose(got[1], got[2], atol=1e-2)


def test_clips_own_tokenizer_works_offline(small, teacher_config):
    teacher = build_clip(teacher_config("clip_vitb16"), CPU)
    tokens = import_open_clip().get_tokenizer("ViT-B-16")(["a red striped sphere"])
    expected = functional.normalize(teacher._network.encode_text(tokens), dim=-1)
    torch.testing.assert_close(teacher.embed_texts(["a red striped sphere"]), expected)


def test_the_fingerprint_holds_what_counts_and_nothing_else(clip, wrap_clip):
    def key(code=(("clip", "1"),), **settings):
        return sha256_of_settings(wrap_clip(clip, code=code, **settings).fingerprint)

    windows = {"mode": "windows", "window_px": [24, 32], "window_stride_px": 8}
    different = [
        {},
        {"long_side_px": 64},
        {"code": (("clip", "2"),)},
        windows,
        windows | {"window_px": [24]},
        windows | {"window_px": [24, 40]},
        windows | {"window_stride_px": 16},
        windows | {"merge": "concat"},
        windows | {"long_side_px": 64},
    ]
    assert len({key(**settings) for settings in different}) == len(different)
    assert key() == key(layers=(0, 1), facet="key", stride_px=4)
    assert key() == key(window_px=[24], window_stride_px=8, merge="concat")  # of no use to dense
    assert key() == key(prompts=["a cup"], seed=3)
    one = {**windows, "window_px": [24]}
    assert key(**one) == key(**one, merge="concat")
    assert key(**windows) == key(**{**windows, "window_px": [32, 24]})


def test_the_libraries_of_the_network_count(clip, make_siglip, wrap_clip, monkeypatch):
    import timm

    towers = {"clip": clip, "siglip": make_siglip()}
    before = {name: wrap_clip(network).fingerprint for name, network in towers.items()}
    monkeypatch.setattr(timm, "__version__", "9.9")
    assert wrap_clip(clip).fingerprint == before["clip"]  # which is open_clip's alone
    assert wrap_clip(towers["siglip"]).fingerprint != before["siglip"]
    monkeypatch.setattr(import_open_clip(), "__version__", "9.9")
    assert wrap_clip(clip).fingerprint != before["clip"]


def test_images_that_are_not_bytes_are_refused(clip, wrap_clip):
    with pytest.raises(ValueError, match="expected uint8"):
        wrap_clip(clip)(torch.zeros(1, 32, 32, 3))
    with pytest.raises(ValueError, match="expected shape"):
        wrap_clip(clip)(torch.zeros(1, 3, 32, 32, dtype=torch.uint8))


@pytest.mark.parametrize("mode", ["dense", "windows"])
def test_later_passes_are_compiled_on_demand(clip, wrap_clip, monkeypatch, mode):
    calls = []

    def compile_(function):
        def run(rgb):
            calls.append(tuple(rgb.shape))
            return function(rgb)

        return run

    monkeypatch.setattr(torch, "compile", compile_)
    teacher = wrap_clip(clip, mode=mode, window_px=[32], window_stride_px=8)
    images = noise(1, 40, 48)
    before = teacher(images)
    assert not calls
    teacher.compile()
    torch.testing.assert_close(teacher(images), before)
    assert calls == [(1, 3, 40, 48) if mode == "dense" else (2 * 3, 3, 32, 32)]


def test_the_network_is_frozen(make_clip, wrap_clip):
    network = make_clip().train().requires_grad_(True)
    wrap_clip(network)
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_networks_without_weights_from_the_hub_are_built_without_warnings(
    small, teacher_config, caplog
):
    with caplog.at_level(logging.WARNING):
        build_clip(teacher_config("clip_vitb16"), CPU)
    assert not caplog.records


@pytest.mark.parametrize("name", CLIP_VARIANTS)
def test_openai_networks_alone_have_the_quick_activation(name, teacher_config, monkeypatch):
    found = []

    def create(variant, quick_gelu, from_hub):
        found.append(quick_gelu)
        raise OSError("far enough")

    monkeypatch.setattr(clip_module, "_create", create)
    with pytest.raises(FileNotFoundError):
        build_clip(teacher_config(name, weights="hub"), CPU)
    assert found == [name.endswith("_openai")]
