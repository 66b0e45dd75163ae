"""The right answers to the app's preset questions, as the scenes that the camera shows know them."""

from recipes.web_samples import ARROW, CAPTION, COUNT, GAUGE, LARGEST, SIGN, THIS, truths

__all__ = ["ARROW", "CAPTION", "COUNT", "GAUGE", "LARGEST", "SIGN", "THIS", "truths"]
