"""Tensors that autograd saves in the forward pass for the backward pass, one by one, in the order of the module.

An operation saves the tensors that its derivative needs: a linear map its input; a matmul of activations both factors;
a norm its input and the statistics of each vector; softmax, ReLU, tanh and sigmoid their output; an addition nothing.
A tensor that several operations save has one name and counts once.

Letters: B batch_size, T seq_len on one GPU, S positions attended to, D d_model, H n_heads, G n_kv_heads, K d_head, F
d_ff or d_expert, V vocab_size, E n_experts, M d_latent or d_model, k top_k; latent attention has C kv_rank, Q q_rank, N
d_nope, R d_rope and K_v d_value. ``element_bytes`` is the size of an element, ``upcast_bytes`` its size in float32 or
wider.
"""
