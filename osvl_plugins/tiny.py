"""A tiny Qwen3-VL with its tokenizer, processor and chat template, built on this machine.

It has the architecture and the wire format of the real models at 1.3 M parameters, so that the whole recipe runs on
two cores. Two things make it learn what a large model can do already: weights drawn with a larger deviation, and a
tokenizer that splits a name the same way wherever it stands, so that copying is a matter of attention alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from osvl_plugins import torchvision_ops
from osvl_plugins.errors import OsvlError
from osvl_plugins.induction import write_induction_heads

SPECIAL = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>",
    "<|box_end|>", "<|quad_start|>", "<|quad_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>",
    "<|image_pad|>", "<|video_pad|>",
)  # fmt: skip
"""Qwen's special tokens, in Qwen's order."""

SCAFFOLD = (
    "<think>", "</think>\n", "<tool_call>\n", "\n</tool_call>", "<response>", "</response>", "</think>", "<tool_call>",
    "</tool_call>", "<tool_response>\n", "\n</tool_response>", "system\n", "user\n", "assistant\n",
    '{"name": "', '", "arguments": {"', '": "', '"}}', '", "', '": ', ', "', "}}",
    "Start from what the picture shows and fill in: ", "Start from what the framed picture shows and fill in: ",
    "(1) ", "(2) ", "(3) ", "(4) ", "(5) ", "? ", "?\nAnswer with the last.",
    "img_", "[Passage 1]\nTitle: ", "[Image 1]\nTitle: ", "Title: ", "\nURL: atlas://",
    "\nSummary: ", "\n\n", ": ", "; ", " is a ", "No picture matches.", "Nothing found for ", "search ", "frame ",
    "Error (", "): ", "the service did not answer in time", "too many requests, try again later",
    "the service is not available",
)  # fmt: skip
"""Pieces of the wire format that are one token each."""

CHAT_TEMPLATE = """\
{%- macro render(content) -%}
{%- if content is string -%}{{ content }}{%- else -%}{%- for part in content -%}
{%- if part.type == 'image' -%}<|vision_start|><|image_pad|><|vision_end|>{%- else -%}{{ part.text }}{%- endif -%}
{%- endfor -%}{%- endif -%}
{%- endmacro -%}
{%- for message in messages -%}
{%- if message.role == 'system' -%}
{{ '<|im_start|>system\\n' + render(message.content) }}
{%- if tools -%}{%- for tool in tools -%}{{ ' ' + tool.function.name }}{%- endfor -%}{%- endif -%}
{{ '<|im_end|>\\n' }}
{%- elif message.role == 'tool' -%}
{{ '<|im_start|>user\\n<tool_response>\\n' + render(message.content) + '\\n</tool_response><|im_end|>\\n' }}
{%- else -%}
{{ '<|im_start|>' + message.role + '\\n' + render(message.content) + '<|im_end|>\\n' }}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\\n' }}{%- endif -%}"""
"""Qwen's chat format; of the tools it names only the names, since full schemas would be most of the tokens."""

SYSTEM_PROMPT = "Tools:"


@dataclass(frozen=True)
class TinyShape:
    """Sizes of the model. The vision tower sees 16 x 16 pixel patches and merges 2 x 2 of them into one token."""

    hidden: int = 128
    layers: int = 4
    heads: int = 4
    mlp: int = 384
    vision_hidden: int = 64
    vision_layers: int = 2
    init_std: float = 0.05
    pieces: int = 512
    """Tokens that the tokenizer learns, the 256 bytes among them; special tokens, words and labels come on top."""
    max_positions: int = 8192
    max_pixels: int = 64 * 64


def build_tiny(
    out: Path,
    texts: Iterable[str],
    words: Sequence[str],
    labels: Sequence[str],
    shape: TinyShape | None = None,
    seed: int = 0,
) -> int:
    """Write model, tokenizer and processor to ``out`` in the format of ``from_pretrained``; returns the parameters.

    ``texts`` is what the tokenizer learns its pieces from; each of ``words`` (tools, arguments, names) becomes
    one token, and so does each of ``labels`` with the colon after it.
    Raises ``OsvlError`` when transformers is missing.
    """
    shape = shape or TinyShape()
    torchvision_ops.allow_missing()
    try:
        import torch
        from transformers import (
            Qwen2VLImageProcessor,
            Qwen3VLConfig,
            Qwen3VLForConditionalGeneration,
            Qwen3VLProcessor,
            Qwen3VLVideoProcessor,
        )
    except ImportError as missing:
        raise OsvlError(f"the tiny model needs transformers ({missing}); pip install 'osvl-plugins[verl]'") from missing
    tokenizer = _tokenizer(texts, words, [f"{label}: " for label in labels], shape)
    token = tokenizer.convert_tokens_to_ids
    vocabulary = -(-len(tokenizer) // 64) * 64
    half = shape.hidden // shape.heads // 2
    third = half // 3
    config = Qwen3VLConfig(
        text_config=dict(
            vocab_size=vocabulary,
            hidden_size=shape.hidden,
            intermediate_size=shape.mlp,
            num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads,
            num_key_value_heads=shape.heads,
            head_dim=shape.hidden // shape.heads,
            max_position_embeddings=shape.max_positions,
            tie_word_embeddings=True,
            initializer_range=shape.init_std,
            bos_token_id=token("<|endoftext|>"),
            eos_token_id=token("<|im_end|>"),
            pad_token_id=token("<|endoftext|>"),
            rope_parameters={
                "rope_type": "default",
                "rope_theta": 1e6,
                "mrope_section": [half - 2 * third, third, third],
                "mrope_interleaved": True,
            },
        ),
        vision_config=dict(
            depth=shape.vision_layers,
            hidden_size=shape.vision_hidden,
            intermediate_size=2 * shape.vision_hidden,
            num_heads=2,
            patch_size=16,
            spatial_merge_size=2,
            temporal_patch_size=2,
            out_hidden_size=shape.hidden,
            num_position_embeddings=256,
            deepstack_visual_indexes=[0],
            initializer_range=shape.init_std,
        ),
        tie_word_embeddings=True,
        image_token_id=token("<|image_pad|>"),
        video_token_id=token("<|video_pad|>"),
        vision_start_token_id=token("<|vision_start|>"),
        vision_end_token_id=token("<|vision_end|>"),
    )
    torch.manual_seed(seed)
    model = Qwen3VLForConditionalGeneration(config)
    write_induction_heads(model)
    processor = Qwen3VLProcessor(
        image_processor=Qwen2VLImageProcessor(
            patch_size=16,
            merge_size=2,
            temporal_patch_size=2,
            size={"shortest_edge": 32 * 32, "longest_edge": shape.max_pixels},
        ),
        tokenizer=tokenizer,
        video_processor=Qwen3VLVideoProcessor(patch_size=16, merge_size=2, temporal_patch_size=2),
        chat_template=CHAT_TEMPLATE,
    )
    out.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(out)
    processor.save_pretrained(out)
    tokenizer.save_pretrained(out)
    return sum(parameter.numel() for parameter in model.parameters())


def _tokenizer(texts: Iterable[str], words: Sequence[str], pieces: Sequence[str], shape: TinyShape) -> Any:
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            # A name is split alike wherever it stands, since what stands before it is a token of its own.
            pre_tokenizers.Split(Regex(r" ?\p{L}+|\d|\s|[^\p{L}\d\s]"), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=shape.pieces,
        min_frequency=1,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    tokenizer.add_tokens([AddedToken(token, special=False, normalized=False) for token in SCAFFOLD])
    tokenizer.add_tokens([AddedToken(piece, special=False, normalized=False) for piece in pieces])
    tokenizer.add_tokens([AddedToken(word, single_word=True, special=False, normalized=False) for word in words])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=list(SPECIAL),
        chat_template=CHAT_TEMPLATE,
        model_max_length=shape.max_positions,
        clean_up_tokenization_spaces=False,
    )
