"""Time each sequence mixer other than attention against the module of transformers, of the same sizes.

Both run on two threads in float32 with the same random weights, without gradients; transformers runs its operations in
torch, not kernels of other libraries.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from benchmarks.measure import Options, Row, Target, alternate, call

D_MODEL, LENGTH, STEPS = 512, 1024, 64
THREADS = 2
ENOUGH_SECONDS = 0.15
NOISE = 1.1
"""How much slower a mixer may be measured that takes as long."""


class Pair(NamedTuple):
    """A mixer of both libraries, with the same weights."""

    ours: Any
    theirs: Any
    config: Any  # of ours
    their_cache: Any


def mixers(options: Options) -> Iterator[Row]:
    """Time reading a prompt and decoding, each with a state."""
    import torch
    from transformers.utils import logging

    torch.set_num_threads(THREADS)
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]  # it warns of its operations in torch
    rounds = options.rounds_or(7)
    for name, make in MIXERS.items():
        pair = make()
        works = {f"read {LENGTH:,} tokens": _read, f"decode {STEPS} tokens": _decode}
        for work, timed in works.items():
            ours, theirs = timed(pair)
            programs = {
                "ours": call(ours, at_least_seconds=ENOUGH_SECONDS),
                "theirs": call(theirs, at_least_seconds=ENOUGH_SECONDS),
            }
            figures = alternate(programs, rounds)
            against = type(pair.theirs).__name__
            yield Row(f"{name}: {work}", against, "s", rounds, figures["ours"], figures["theirs"], Target(NOISE))


def _pair(
    fields: dict[str, Any],
    theirs: Any,
    their_config: Any,
    rename: Callable[[str], str] = str,
    separate: Callable[[dict[str, Any]], dict[str, Any]] = dict,
) -> Pair:
    """Return tinylm's mixer of a config with these fields, with the random weights of the mixer of transformers.

    ``separate`` returns its tensors with separate projections; ``rename`` returns our name of a tensor.
    """
    import torch
    from transformers.cache_utils import DynamicCache

    from tinylm_cli.config.schema import ModelConfig
    from tinylm_cli.model.mixers.registry import mixer_classes

    sizes = {"vocab_size": 9, "d_model": D_MODEL, "n_heads": 8, "n_layers": 1, "d_ff": 9, "position": {"kind": "none"}}
    config = ModelConfig.model_validate({**sizes, **fields})
    (make,) = mixer_classes(config).values()
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.normal_(0.0, 0.1)
    ours = make(config).to_empty(device="cpu")
    ours.load_state_dict({rename(name): tensor for name, tensor in separate(theirs.state_dict()).items()})
    return Pair(ours.eval(), theirs.eval(), config, DynamicCache(config=their_config))


def _short_conv() -> Pair:
    from transformers import Lfm2Config
    from transformers.models.lfm2.modeling_lfm2 import Lfm2ShortConv

    config = Lfm2Config(hidden_size=D_MODEL, num_hidden_layers=1, layer_types=["conv"])
    return _pair({"block": {"mixer": "short_conv"}}, Lfm2ShortConv(config, 0), config)


def _mamba() -> Pair:
    from transformers import MambaConfig
    from transformers.models.mamba.modeling_mamba import MambaMixer

    config = MambaConfig(hidden_size=D_MODEL, num_hidden_layers=1)
    theirs = MambaMixer(config, 0)
    return _pair({"block": {"mixer": "mamba"}}, theirs, config, lambda name: name.replace("conv1d.", "conv."))


def _mamba2() -> Pair:
    from transformers import Mamba2Config
    from transformers.models.mamba2.modeling_mamba2 import Mamba2Mixer

    sizes: dict[str, Any] = {"num_heads": 2 * D_MODEL // 64, "head_dim": 64, "state_size": 128, "n_groups": 1}
    config = Mamba2Config(hidden_size=D_MODEL, num_hidden_layers=1, **sizes)
    theirs = Mamba2Mixer(config, 0)
    return _pair({"block": {"mixer": "mamba2"}}, theirs, config, lambda name: name.replace("conv1d.", "conv."))


def _rg_lru() -> Pair:
    import torch
    from transformers import RecurrentGemmaConfig
    from transformers.models.recurrent_gemma.modeling_recurrent_gemma import RecurrentGemmaRecurrentBlock

    class RecurrentBlock(RecurrentGemmaRecurrentBlock):
        """The module of transformers, which keeps its state itself, with the signature of the others."""

        length = 0

        def forward(self, x: Any, cache: Any = None) -> Any:  # type: ignore[override]
            start = self.length if cache is not None else 0
            positions = torch.arange(start, start + x.shape[1])[None]
            self.length = 0 if cache is None else start + x.shape[1]
            return super().forward(x, positions, attention_mask=x, use_cache=cache is not None)[0]

    config = RecurrentGemmaConfig(hidden_size=D_MODEL, num_hidden_layers=1, num_attention_heads=8)
    names = {
        "recurrent_param": "decay",
        "recurrent_gate_": "decay_gate.",
        "input_gate_": "input_gate.",
        "rg_lru.": "",
        "linear_y": "gate_proj",
        "linear_x": "in_proj",
        "linear_out": "out_proj",
        "conv_1d": "conv",
    }

    def rename(name: str) -> str:
        for theirs, ours in names.items():
            name = name.replace(theirs, ours)
        return name

    fields = {"block": {"mixer": "rg_lru"}, "rg_lru": {"n_blocks": 8}}
    return _pair(fields, RecurrentBlock(config, 0), config, rename)


def _rwkv() -> Pair:
    import torch
    from transformers import RwkvConfig
    from transformers.models.rwkv.modeling_rwkv import RwkvSelfAttention

    class TimeMixing(RwkvSelfAttention):
        """The module of transformers, which updates a list of states, with the signature of the others."""

        states: Any = None

        def forward(self, x: Any, cache: Any = None) -> Any:  # type: ignore[override]
            if cache is not None and x.shape[1] > 1:
                self.states = [torch.zeros(1, D_MODEL, 1) for _ in range(5)]
                self.states[4] -= 1e38  # the exponent
            states = None if cache is None else self.states
            return super().forward(x, states, use_cache=cache is not None)[0]  # type: ignore[no-untyped-call]

    config = RwkvConfig(hidden_size=D_MODEL, num_hidden_layers=1)
    names = {
        "time_mix_receptance": "mix_r",
        "time_mix_": "mix_",
        "mix_key": "mix_k",
        "mix_value": "mix_v",
        "time_decay": "decay",
        "time_first": "bonus",
        "receptance": "r_proj",
        "key": "k_proj",
        "value": "v_proj",
        "output": "o_proj",
    }

    def rename(name: str) -> str:
        for theirs, ours in names.items():
            name = name.replace(theirs, ours)
        return name

    return _pair(
        {"block": {"mixer": "rwkv"}},
        TimeMixing(config, 0),  # type: ignore[no-untyped-call]
        config,
        rename,
        lambda tensors: {name: each.squeeze() for name, each in tensors.items()},
    )


def _gated_deltanet() -> Pair:
    from transformers import OlmoHybridConfig
    from transformers.models.olmo_hybrid.modeling_olmo_hybrid import OlmoHybridGatedDeltaNet

    heads = {"n_key_heads": 4, "n_value_heads": 8, "d_key": 64, "d_value": 64}
    config = OlmoHybridConfig(
        hidden_size=D_MODEL,
        num_attention_heads=8,
        num_hidden_layers=2,
        layer_types=["linear_attention", "full_attention"],
        linear_num_key_heads=heads["n_key_heads"],
        linear_num_value_heads=heads["n_value_heads"],
        linear_key_head_dim=heads["d_key"],
        linear_value_head_dim=heads["d_value"],
    )
    fields = {"block": {"mixer": "gated_deltanet"}, "gated_deltanet": {**heads, "negative_eigenvalues": True}}
    names = {"g_proj": "gate_proj", "conv1d": "conv"}
    return _pair(
        fields,
        OlmoHybridGatedDeltaNet(config, 0),
        config,
        lambda name: ".".join(names.get(part, part) for part in name.split(".")),
    )


def _lightning_attention() -> Pair:
    from transformers import MiniMaxConfig
    from transformers.models.minimax.modeling_minimax import MiniMaxCache, MiniMaxLightningAttention

    class LightningAttention(MiniMaxLightningAttention):
        """The module of transformers with the signature of the others."""

        def forward(self, x: Any, cache: Any = None) -> Any:
            return super().forward(x, (x, x), None, cache)[0]

    heads, d_head = 8, 64
    config = MiniMaxConfig(
        hidden_size=D_MODEL,
        num_attention_heads=heads,
        head_dim=d_head,
        num_hidden_layers=1,
        layer_types=["linear_attention"],
    )

    def separate(tensors: dict[str, Any]) -> dict[str, Any]:
        fused = tensors["qkv_proj.weight"].view(heads, 3, d_head, D_MODEL)
        return {
            **{f"{part}_proj.weight": fused[:, index].flatten(0, 1) for index, part in enumerate("qkv")},
            "gate_proj.weight": tensors["output_gate.weight"],
            "o_norm.weight": tensors["norm.weight"],
            "o_proj.weight": tensors["out_proj.weight"],
        }

    fields = {
        "block": {"mixer": "lightning_attention"},
        "lightning_attention": {"n_heads": heads, "d_head": d_head, "o_norm_eps": 1e-6},
    }
    pair = _pair(fields, LightningAttention(config, 0), config, separate=separate)
    return pair._replace(their_cache=MiniMaxCache())  # type: ignore[no-untyped-call]  # untyped in transformers


def _mlstm() -> Pair:
    from transformers.models.xlstm.configuration_xlstm import xLSTMConfig
    from transformers.models.xlstm.modeling_xlstm import xLSTMLayer

    class MatrixMemory(xLSTMLayer):
        """The module of transformers, which returns a state, with the signature of the others."""

        kept: Any = None

        def forward(self, x: Any, cache: Any = None) -> Any:
            earlier = None if cache is None or x.shape[1] > 1 else self.kept
            y, kept = super().forward(x, earlier)
            self.kept = None if cache is None else kept
            return y

    heads = 8
    config = xLSTMConfig(hidden_size=D_MODEL, num_heads=heads, num_hidden_layers=1)
    names = {
        "q": "q_proj",
        "k": "k_proj",
        "v": "v_proj",
        "igate_preact": "i_proj",
        "fgate_preact": "f_proj",
        "ogate_preact": "gate_proj",
        "multihead_norm": "o_norm",
        "out_proj": "o_proj",
    }
    sizes = {"n_heads": heads, "d_key": config.qk_head_dim, "d_value": config.v_head_dim, "gate_softcap": 15.0}
    return _pair(
        {"block": {"mixer": "mlstm"}, "mlstm": {**sizes, "o_norm_eps": 1e-6}},
        MatrixMemory(config),
        config,
        lambda name: ".".join(names.get(part, part) for part in name.split(".")),
    )


def _kimi_delta_attention() -> Pair:
    from transformers import KimiLinearConfig
    from transformers.models.kimi_linear.modeling_kimi_linear import KimiLinearDeltaAttention

    heads, d_head = 8, 64
    config = KimiLinearConfig(
        hidden_size=D_MODEL,
        linear_num_heads=heads,
        linear_head_dim=d_head,
        num_hidden_layers=1,
        layer_types=["linear_attention"],
    )
    names = {"f_a_proj": "decay_a_proj", "f_b_proj": "decay_b_proj", "g_a_proj": "gate_a_proj"}
    names |= {"g_b_proj": "gate_b_proj", "conv1d": "conv"}

    def rename(name: str) -> str:
        return ".".join(names.get(part, part) for part in name.removeprefix("forget_gate.").split("."))

    settings = {"n_heads": heads, "d_head": d_head, "gate_rank": d_head}
    return _pair(
        {"block": {"mixer": "kimi_delta_attention"}, "kimi_delta_attention": settings},
        KimiLinearDeltaAttention(config, 0),
        config,
        rename,
        lambda tensors: tensors | {"forget_gate.A_log": tensors["forget_gate.A_log"].flatten()},
    )


MIXERS: dict[str, Callable[[], Pair]] = {
    "short_conv": _short_conv,
    "mamba": _mamba,
    "mamba2": _mamba2,
    "rg_lru": _rg_lru,
    "rwkv": _rwkv,
    "gated_deltanet": _gated_deltanet,
    "kimi_delta_attention": _kimi_delta_attention,
    "lightning_attention": _lightning_attention,
    "mlstm": _mlstm,
}


def _vectors(length: int) -> Any:
    import torch

    return torch.randn(1, length, D_MODEL, generator=torch.Generator().manual_seed(0))


def _read(pair: Pair) -> tuple[Callable[[], None], Callable[[], None]]:
    """Return the reading of a prompt by each."""
    import torch

    x = _vectors(LENGTH)

    def ours() -> None:
        with torch.inference_mode():
            pair.ours(x)

    def theirs() -> None:
        with torch.inference_mode():
            pair.theirs(x)

    return ours, theirs


def _decode(pair: Pair) -> tuple[Callable[[], None], Callable[[], None]]:
    """Return the decoding of tokens by each, after a prompt."""
    import torch

    from tinylm_cli.model.kv_cache import KVCache

    prompt, token = _vectors(8), _vectors(1)
    cache = KVCache(pair.config, batch_size=1, capacity=9, device=torch.device("cpu"), dtype=torch.float32)
    with torch.inference_mode():
        (state,) = cache.extend(8)
        torch.testing.assert_close(pair.ours(prompt, cache=state), pair.theirs(prompt, cache=pair.their_cache))
        (state,) = cache.extend(1)

    def ours() -> None:
        with torch.inference_mode():
            for _ in range(STEPS):
                pair.ours(token, cache=state)

    def theirs() -> None:
        with torch.inference_mode():
            for _ in range(STEPS):
                pair.theirs(token, cache=pair.their_cache)

    return ours, theirs
