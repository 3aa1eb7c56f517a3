"""How well a picture fits a text, by a dual encoder such as CLIP or SigLIP."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from PIL import Image

from osvl_plugins import torchvision_ops
from osvl_plugins.errors import SettingError

if TYPE_CHECKING:
    from torch import Tensor


class Similarity(Protocol):
    """Scores pictures against texts."""

    def score(self, image: Image.Image, text: str) -> float:
        """The cosine of the two embeddings, −1 to 1."""


class EncoderSimilarity:
    """A model of transformers with an image tower and a text tower, on the processor."""

    def __init__(self, folder: Path) -> None:
        """Raises ``SettingError`` when the folder holds no such model, or torch or transformers is missing."""
        try:
            import torch

            torchvision_ops.allow_missing()
            from transformers import AutoModel, AutoProcessor

            self._model = AutoModel.from_pretrained(folder, local_files_only=True).eval()
            self._processor = AutoProcessor.from_pretrained(folder, local_files_only=True)
        except (ImportError, OSError, ValueError) as error:
            problem = f"{folder}: no image-text model can be opened there: {error}"
            raise SettingError("similarity_model", problem) from error
        if not hasattr(self._model, "get_image_features") or not hasattr(self._model, "get_text_features"):
            raise SettingError("similarity_model", f"{folder}: the model embeds no pictures and texts")
        self._torch = torch

    def score(self, image: Image.Image, text: str) -> float:
        """As ``Similarity.score``."""
        with self._torch.inference_mode():
            inputs = self._processor(
                text=[text], images=image.convert("RGB"), return_tensors="pt", padding="max_length", truncation=True
            )
            words = self._model.get_text_features(**{key: inputs[key] for key in inputs if key != "pixel_values"})
            picture = self._model.get_image_features(pixel_values=inputs["pixel_values"])
            return float(self._torch.nn.functional.cosine_similarity(_vector(words), _vector(picture))[0])


def _vector(output: Tensor) -> Tensor:
    # Some versions of transformers give the embedding alone, some an output that holds it.
    vector: Tensor = getattr(output, "pooler_output", output)
    return vector


@lru_cache(maxsize=1)
def open_similarity(folder: str) -> Similarity:
    """The model in ``folder``, opened once in a process. Raises as ``EncoderSimilarity``."""
    return EncoderSimilarity(Path(folder))
