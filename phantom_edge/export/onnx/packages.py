"""The small JSON files that transformers.js and tokenizer libraries read beside the graphs."""

from __future__ import annotations

import json
from typing import Any, Final

from phantom_edge.export.base import ExportOptions
from phantom_edge.model.folded import FoldedModel
from phantom_edge.text.prompt import PromptTemplate, template_for


def contents(
    model: FoldedModel, options: ExportOptions, dtype: str, device: str | None = None
) -> dict[str, bytes]:
    """The files by name, for graphs of transformers.js's type ``dtype`` and its ``device``."""
    template = template_for(model.config.decoder.type)
    files = {
        "config.json": model_config(model, options, dtype, device),
        "generation_config.json": {"eos_token_id": list(options.end_ids), "do_sample": False},
        "preprocessor_config.json": image_config(model),
        "processor_config.json": processor_config(model, template),
        "tokenizer_config.json": tokenizer_config(template, options),
    }
    return {
        name: (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()
        for name, content in files.items()
    }


def model_config(
    model: FoldedModel, options: ExportOptions, dtype: str, device: str | None
) -> dict[str, Any]:
    """``config.json``: transformers.js's LLaVA, whose three graphs and inputs are ours.

    It reads from it the graphs' names and type, the number of layers and the image token; the cache's shape
    and type it takes from the decoder itself.
    """
    d = model.config.decoder
    return {
        "model_type": "llava",
        "architectures": ["LlavaForConditionalGeneration"],
        "image_token_index": model.config.image_token_id,
        "text_config": {
            "model_type": "qwen2",
            "hidden_size": d.hidden_size,
            "num_attention_heads": d.heads,
            "num_hidden_layers": d.layers,
            "num_key_value_heads": d.kv_heads,
            "max_position_embeddings": options.context,
            "vocab_size": d.vocab_size,
        },
        "transformers.js_config": {"dtype": dtype, "use_external_data_format": True}
        | ({"device": device} if device else {}),
    }


def image_config(model: FoldedModel) -> dict[str, Any]:
    """``preprocessor_config.json``: one tile, values in 0..1 (normalisation is part of the graph)."""
    side = model.config.tile_size
    return {
        "image_processor_type": "CLIPImageProcessor",
        "processor_class": "LlavaProcessor",
        "do_resize": True,
        "size": {"height": side, "width": side},
        "resample": 3,
        "do_center_crop": False,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": False,
        "do_convert_rgb": True,
    }


def processor_config(model: FoldedModel, template: PromptTemplate) -> dict[str, Any]:
    """``processor_config.json``: how many image tokens a tile's sides stand for."""
    v = model.config.vision
    return {
        "processor_class": "LlavaProcessor",
        "image_token": template.image_context,
        "patch_size": v.patch_size * model.config.downsample,
        "num_additional_image_tokens": 0,
    }


def tokenizer_config(template: PromptTemplate, options: ExportOptions) -> dict[str, Any]:
    """``tokenizer_config.json`` with the prompt as a chat template."""
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "add_bos_token": False,
        "clean_up_tokenization_spaces": False,
        "eos_token": template.user_end,
        "chat_template": chat_template(template),
    }


def chat_template(template: PromptTemplate) -> str:
    """The prompt in Jinja: of a user's message, an image's place comes first, then the text.

    A message's content is a string or a list of ``{"type": "image"}`` and ``{"type": "text", "text": …}``.
    The image stands as one image token, to be repeated once per row of its features.
    """
    names = ("user_start", "user_end", "assistant_start", "assistant_end")
    values = {"image": template.image_start + template.image_context + template.image_end}
    values |= {name: getattr(template, name) for name in names}
    return "".join(f"{{%- set {name} = {json.dumps(text)} -%}}\n" for name, text in values.items()) + _CHAT


_CHAT: Final = """\
{%- for message in messages -%}
  {%- if message['role'] == 'user' -%}
    {{- user_start -}}
    {%- if message['content'] is string -%}
      {{- message['content'] -}}
    {%- else -%}
      {%- for part in message['content'] if part['type'] == 'image' -%}{{- image -}}{%- endfor -%}
      {%- for part in message['content'] if part['type'] == 'text' -%}{{- part['text'] -}}{%- endfor -%}
    {%- endif -%}
    {{- user_end -}}
  {%- else -%}
    {{- assistant_start + message['content'] + assistant_end -}}
  {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- assistant_start -}}{%- endif -%}
"""
