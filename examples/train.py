"""Train a model on the bytes of this file: ``python examples/train.py [CONFIG]``, where CONFIG defaults to ``tiny``."""

import sys
from pathlib import Path

import torch
from torch.nn.functional import cross_entropy

import tinylm_cli as tinylm

STEPS, BATCH_SIZE, SEQ_LEN = 60, 4, 64

torch.manual_seed(0)
model = tinylm.load(sys.argv[1] if len(sys.argv) > 1 else "tiny").build(seed=0).train()
data = torch.tensor(list(Path(__file__).read_bytes())) % model.config.vocab_size  # (n), token ids
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
for step in range(STEPS + 1):
    starts = torch.randint(len(data) - SEQ_LEN, (BATCH_SIZE,)).tolist()
    batch = torch.stack([data[start : start + SEQ_LEN + 1] for start in starts])  # (B, T + 1)
    logits = model(batch[:, :-1])  # (B, T, V)
    loss = cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())  # ()
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    if step % 10 == 0:
        print(f"step {step:2}  loss {loss.item():.3f}")
