"""Print the tables of an evaluation as Markdown.

python -m benchmarks.scores reports/unseen/methods.json
"""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.report import table

# By key of methods.json: title, number of digits.
COLUMNS = {
    "psnr_db": ("PSNR dB", 2),
    "feature_cosine": ("feature cosine", 3),
    "iou": ("IoU", 3),
    "boundary_f": ("boundary F", 3),
    "average_precision": ("AP", 3),
    "accuracy": ("accuracy", 3),
    "text_iou": ("text IoU", 3),
    "text_average_precision": ("text AP", 3),
    "consistency_cosine": ("consistency", 3),
    "consistency_pck": ("PCK", 3),
}
Methods = dict[str, dict[str, float]]


def methods_table(methods: Methods) -> str:
    """Return one line for each method; ± is the spread over prompts."""
    columns = [key for key in COLUMNS if any(key in scores for scores in methods.values())]
    rows = [
        [method.replace("_", " "), *(_cell(scores, key) for key in columns)]
        for method, scores in methods.items()
    ]
    return table(["", *(COLUMNS[key][0] for key in columns)], rows)


def scenes_table(scenes: dict[str, Methods], key: str) -> str:
    """Return one score: a line for each scene and a column for each method that have it."""
    found = [
        (scene, method)
        for scene in scenes
        for method in scenes[scene]
        if key in scenes[scene][method]
    ]
    methods = list(dict.fromkeys(method for _, method in found))
    rows = [
        [scene, *(_cell(scenes[scene].get(method, {}), key) for method in methods)]
        for scene in dict.fromkeys(scene for scene, _ in found)
    ]
    return table([COLUMNS[key][0], *(method.replace("_", " ") for method in methods)], rows)


def _cell(scores: dict[str, float], key: str) -> str:
    if key not in scores:
        return "–"
    digits = COLUMNS[key][1]
    spread = scores.get(f"{key}_std")
    return f"{scores[key]:.{digits}f}" + (f" ± {spread:.{digits}f}" if spread is not None else "")


def main(
    methods: Annotated[Path, typer.Argument(help="methods.json of an evaluation.")],
) -> None:
    """Print means over scenes, then the main scores of every scene."""
    content: dict[str, Any] = json.loads(methods.read_text(encoding="utf-8"))
    scenes = content.pop("scenes")
    content.pop("objects", None)  # too many to print
    parts = [methods_table(content)]
    for key in ("psnr_db", "feature_cosine", "iou", "average_precision"):
        if any(key in scores for of_scene in scenes.values() for scores in of_scene.values()):
            parts.append(scenes_table(scenes, key))
    typer.echo("\n\n".join(parts))


if __name__ == "__main__":
    typer.run(main)
