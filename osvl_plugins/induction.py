"""Starting weights with a copying circuit, for a transformer that is too small and too briefly trained to find it.

A pretrained model can look up "capital: " on a page and copy what follows: a head of one layer tells each token what
stood before it, and a head of the next attends to the place whose predecessor equals the current token and copies it
(induction heads; Olsson et al. 2022, arXiv 2209.11895). From random weights the pair takes millions of tokens to form.
Here it is written into layers 0 and 1; everything else stays random, and all of it is trained.
"""

from __future__ import annotations

from typing import Any

EMBEDDING_STD = 0.2
SHARPNESS = 2.5
"""Weight of the query and key norms of the two heads: how far they attend to one place alone."""
FAST_PAIRS = 4
"""Rotary pairs, fastest first, that tell neighbouring positions apart."""
SLOW_PAIRS = 9
"""Rotary pairs, slowest last, that hardly turn within some hundred tokens."""
COPY_STRENGTH = 0.5
RECENCY = 0.6
"""Size of the part of the copying heads' queries and keys that prefers near places, against their content part."""


def write_induction_heads(model: Any) -> None:
    """Write the circuit into a Qwen3-VL ``model`` with tied embeddings and at least 2 layers and 4 heads.

    Residual dimension 0 becomes a constant, and the last ``head_dim`` dimensions carry the previous token.
    Raises ``ValueError`` when the model is too small.
    """
    import torch

    config = model.config.get_text_config()
    head, hidden, heads = config.head_dim, config.hidden_size, config.num_attention_heads
    if config.num_hidden_layers < 2 or heads < 4 or hidden < 4 * head or head < 2 * (FAST_PAIRS + SLOW_PAIRS):
        raise ValueError("the copying circuit needs 2 layers, 4 heads, and heads that share the hidden size")
    previous = slice(hidden - head, hidden)
    content = slice(1, hidden - head)
    half = head // 2
    slow = [*range(half - SLOW_PAIRS, half), *range(head - SLOW_PAIRS, head)]
    with torch.no_grad():
        embedding = model.get_input_embeddings().weight
        embedding.normal_(0, EMBEDDING_STD)
        embedding[:, 0] = EMBEDDING_STD
        embedding[:, previous] = 0
        first, second = (layer.self_attn for layer in model.model.language_model.layers[:2])
        for layer in (first, second):
            layer.q_norm.weight.fill_(SHARPNESS)
            layer.k_norm.weight.fill_(SHARPNESS)

        # Layer 0, head 0: a constant query and a constant key that agree best one position apart.
        frequencies = 1.0 / config.rope_parameters["rope_theta"] ** (torch.arange(half) / half)
        query, key = torch.zeros(head), torch.zeros(head)
        for pair in range(FAST_PAIRS):
            query[pair] = 1.0
            key[pair], key[pair + half] = frequencies[pair].cos(), frequencies[pair].sin()
        for projection, direction in ((first.q_proj, query), (first.k_proj, key)):
            projection.weight[:head] = 0
            projection.weight[:head, 0] = direction
        read = torch.linalg.qr(torch.randn(hidden - head - 1, head))[0].T
        first.v_proj.weight[:head] = 0
        first.v_proj.weight[:head, content] = read
        first.o_proj.weight[:, :head] = 0
        first.o_proj.weight[previous, :head] = EMBEDDING_STD * torch.eye(head)

        # Layer 1, three heads: query the current token, key the previous one, value the token itself. A constant
        # part in pairs that turn half way over some hundred tokens makes the latest of several matches win.
        for index in range(3):
            rows = slice(index * head, (index + 1) * head)
            for projection in (second.q_proj, second.k_proj, second.v_proj):
                projection.weight[rows] = 0
            block = torch.zeros(head, head)
            block[slow, : len(slow)] = torch.eye(len(slow))
            second.q_proj.weight[rows, content] = block @ read
            second.k_proj.weight[rows, previous] = block
            for pair in range(half - SLOW_PAIRS - 2, half - SLOW_PAIRS):
                second.q_proj.weight[rows.start + pair, 0] = RECENCY
                second.k_proj.weight[rows.start + pair, 0] = RECENCY
            part = torch.arange(1 + index * head, min(1 + (index + 1) * head, hidden - head))
            second.v_proj.weight[rows.start + torch.arange(len(part)), part] = 1.0
            second.o_proj.weight[:, rows] = 0
            second.o_proj.weight[part, rows.start + torch.arange(len(part))] = COPY_STRENGTH
