"""The Python API from a config to generated tokens: ``python examples/model_demo.py``.

Read it from top to bottom. Every figure it prints is computed on the spot, and the same on every run.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch

from tinylm_cli.analysis.params import total_params
from tinylm_cli.analysis.tensor_table import tensor_table
from tinylm_cli.config.blocks import Norm, Position
from tinylm_cli.config.loader import load_config
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.config.yaml_writer import to_yaml
from tinylm_cli.model import TinyTransformerLM
from tinylm_cli.model.weights import load_model, save_model


def main() -> None:
    """Go through the API, one step after the other."""
    # 1. A config: a preset by its name (or a YAML file by its path), with changes on top ...
    config = load_config("tiny", ["max_len=256"]).config
    print(f"tiny: {config.n_layers} layers of width {config.d_model}, {config.d_head} dimensions per head")

    # ... or written in code. It is frozen and validated: `n_heads=5` would raise an error that names both fields.
    custom = ModelConfig(
        vocab_size=500,
        d_model=96,
        n_heads=6,
        n_layers=3,
        d_ff=384,
        position=Position(kind="learned"),
        norm=Norm(kind="rmsnorm"),
    )

    # 2. Count before building. The closed form needs neither torch nor memory ...
    for name, each in {"tiny": config, "custom": custom}.items():
        counted = total_params(tensor_table(each))
        # ... and a model on the meta device has shapes without storage, to hold it against.
        instantiated = sum(p.numel() for p in TinyTransformerLM.from_config(each, device="meta").parameters())
        print(f"{name}: {counted:,} parameters in closed form, {instantiated:,} instantiated")

    # 3. Build. One seed gives one set of weights, on every device and with any number of threads.
    model = TinyTransformerLM.from_config(config, seed=0).eval()  # eval() turns dropout off

    # 4. Forward: a score (logit) for every possible next token, after every token.
    tokens = torch.tensor([[5, 12, 8]])  # (B, T)
    with torch.no_grad():
        logits = model(tokens)  # (B, T, V)
    print(f"forward: tokens {tuple(tokens.shape)} give logits {tuple(logits.shape)}")

    # 5. Causality: change the last token, and nothing before it notices.
    with torch.no_grad():
        changed = model(torch.tensor([[5, 12, 9]]))  # (B, T, V)
    moved = (changed - logits).abs().amax(dim=(0, 2))  # (T), the largest change at each position
    print(f"causality: positions whose logits moved: {moved.gt(1e-6).nonzero().flatten().tolist()}")

    # 6. Tying: the head and the embedding hold the same tensor, not equal ones.
    table = model.embedding.token_embedding.embedding.weight  # (V, D)
    print(f"tying: one tensor: {model.lm_head.weight is table}, saving {table.nbytes:,} bytes")

    # 7. Generate: the likeliest token each time, or a draw; a seed makes the draw repeatable.
    greedy = model.generate(tokens, max_new_tokens=5, temperature=0.0)  # (B, T + 5)
    sampled = model.generate(tokens, max_new_tokens=5, temperature=0.8, top_k=40, seed=1)  # (B, T + 5)
    print(f"greedy: {greedy[0].tolist()}")
    print(f"sampled: {sampled[0].tolist()}")

    # 8. Save and load: safetensors beside the config they belong to, a tied tensor stored once.
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "tiny-model"
        save_model(model, folder, config_text=to_yaml(config))
        size = (folder / "model.safetensors").stat().st_size
        loaded = load_model(load_config(str(folder / "config.yaml")).config, folder).eval()
        with torch.no_grad():
            same = torch.equal(loaded(tokens), logits)
        print(f"saved: {size:,} bytes, and the loaded model predicts the same: {same}")


if __name__ == "__main__":
    main()
