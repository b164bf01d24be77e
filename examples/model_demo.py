"""The Python API from a config to generated tokens: ``python examples/model_demo.py``.

Read it from top to bottom. Every printed figure is computed and the same in every run.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch

import tinylm_cli as tinylm


def main() -> None:
    """Go through the API, one step after the other."""
    # 1. Load a config: a preset by its name (or a YAML file by its path), with changes. It is frozen and
    # validated: `n_heads=5` would raise an error that names both fields.
    tiny = tinylm.load("tiny", set={"max_len": 256})
    custom = tinylm.load(
        "tiny",
        set={
            "vocab_size": 500,
            "d_model": 96,
            "n_heads": 6,
            "n_layers": 3,
            "d_ff": 384,
            "position.kind": "learned",
            "norm.kind": "rmsnorm",
        },
    )
    config = tiny.config
    print(f"tiny: {config.n_layers} layers of width {config.d_model}, {config.d_head} dimensions per head")

    # 2. Count before building. The closed form needs neither torch nor memory; a model on the meta device, which has
    # shapes without storage, confirms it.
    for name, each in {"tiny": tiny, "custom": custom}.items():
        closed_form = each.params().total_params
        built = sum(parameter.numel() for parameter in each.build(device="meta").parameters())
        print(f"{name}: {closed_form:,} parameters in closed form, {built:,} instantiated")

    # 3. Build. One seed gives the same weights on every device, with any number of threads.
    model = tiny.build(seed=0).eval()  # eval() turns dropout off

    # 4. Forward: a logit for every possible next token, at every position.
    tokens = torch.tensor([[5, 12, 8]])  # (B, T)
    with torch.no_grad():
        logits = model(tokens)  # (B, T, V)
    print(f"forward: tokens {tuple(tokens.shape)} give logits {tuple(logits.shape)}")

    # 5. Causality: changing the last token changes no earlier logits.
    with torch.no_grad():
        changed = model(torch.tensor([[5, 12, 9]]))  # (B, T, V)
    moved = (changed - logits).abs().amax(dim=(0, 2))  # (T), the largest change at each position
    print(f"causality: positions whose logits changed: {moved.gt(1e-6).nonzero().flatten().tolist()}")

    # 6. Tying: LM head and embedding are one tensor, not two equal tensors.
    table = model.embedding.token_embedding.embedding.weight  # (V, D)
    print(f"tying: one tensor: {model.lm_head.weight is table}, saving {table.nbytes:,} bytes")

    # 7. Generate: the most likely token each time, or a sample; a seed makes it repeatable.
    greedy = model.generate(tokens, max_new_tokens=5, temperature=0.0)  # (B, T + 5)
    sampled = model.generate(tokens, max_new_tokens=5, temperature=0.8, top_k=40, seed=1)  # (B, T + 5)
    print(f"greedy: {greedy[0].tolist()}")
    print(f"sampled: {sampled[0].tolist()}")

    # 8. Save and load: a safetensors file next to its config; a tied tensor is stored once.
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "tiny-model"
        tiny.save(folder, weights=model)
        size = (folder / "model.safetensors").stat().st_size
        loaded = tiny.build(weights=folder).eval()
        with torch.no_grad():
            same = torch.equal(loaded(tokens), logits)
        print(f"saved: {size:,} bytes, and the loaded model predicts the same: {same}")


if __name__ == "__main__":
    main()
