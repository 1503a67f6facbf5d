"""The same Vision Transformer in JAX with jit; AdamW is written out."""

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.shape import Shape


def parameters(shape: Shape) -> dict:
    rng = np.random.default_rng(0)

    def dense(i, o):
        return {
            "w": jnp.asarray(0.02 * rng.standard_normal((i, o)), jnp.float32),
            "b": jnp.zeros(o),
        }

    def norm():
        return {"g": jnp.ones(shape.dim), "b": jnp.zeros(shape.dim)}

    C, F = shape.dim, int(shape.dim * shape.mlp_ratio)
    block = {"qkv": (C, 3 * C), "proj": (C, C), "fc1": (C, F), "fc2": (F, C)}
    blocks = [
        {name: dense(*size) for name, size in block.items()} | {"n1": norm(), "n2": norm()}
        for _ in range(shape.depth)
    ]
    return {
        "patch": dense(3 * shape.patch_size**2, C),
        "cls": jnp.zeros((1, 1, C)),
        "pos": jnp.asarray(0.02 * rng.standard_normal((1, shape.tokens, C)), jnp.float32),
        "blocks": blocks,
        "norm": norm(),
        "head": dense(C, shape.num_classes),
    }


def contender(shape: Shape, train: bool):
    """A function that runs one training step, or one forward pass over the batch."""
    P, G, H = shape.patch_size, shape.image_size // shape.patch_size, shape.num_heads

    def linear(p, x):
        return x @ p["w"] + p["b"]

    def norm(p, x):
        x = x - x.mean(-1, keepdims=True)
        return x * jax.lax.rsqrt((x * x).mean(-1, keepdims=True) + 1e-6) * p["g"] + p["b"]

    def attention(p, x):
        B, T, C = x.shape
        q, k, v = linear(p["qkv"], x).reshape(B, T, 3, H, C // H).transpose(2, 0, 3, 1, 4)
        probs = jax.nn.softmax(q @ k.swapaxes(-1, -2) / (C // H) ** 0.5)
        return linear(p["proj"], (probs @ v).transpose(0, 2, 1, 3).reshape(B, T, C))

    def model(p, images):
        B = len(images)
        x = images.reshape(B, 3, G, P, G, P).transpose(0, 2, 4, 3, 5, 1).reshape(B, G * G, -1)
        x = linear(p["patch"], x)
        x = jnp.concatenate([jnp.broadcast_to(p["cls"], (B, 1, shape.dim)), x], 1) + p["pos"]
        for block in p["blocks"]:
            x = x + attention(block, norm(block["n1"], x))
            h = jax.nn.gelu(linear(block["fc1"], norm(block["n2"], x)), shape.activation != "gelu")
            x = x + linear(block["fc2"], h)
        return linear(p["head"], norm(p["norm"], x)[:, 0])

    def loss(p, images, labels):
        soft = 0.9 * jax.nn.one_hot(labels, shape.num_classes) + 0.1 / shape.num_classes
        return -(soft * jax.nn.log_softmax(model(p, images))).sum(-1).mean()

    @jax.jit
    def update(p, m, v, t, images, labels):
        value, grads = jax.value_and_grad(loss)(p, images, labels)
        m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, grads)
        v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, grads)

        def adamw(p, m, v):
            p = p * (1 - 1e-3 * 0.05 * (p.ndim >= 2))
            return p - 1e-3 * (m / (1 - 0.9**t)) / (jnp.sqrt(v / (1 - 0.999**t)) + 1e-8)

        return jax.tree.map(adamw, p, m, v), m, v, value

    rng = np.random.default_rng(0)
    size = (shape.batch, 3, shape.image_size, shape.image_size)
    images = jnp.asarray(rng.standard_normal(size), jnp.float32)
    labels = jnp.arange(shape.batch) % shape.num_classes
    p = parameters(shape)
    if not train:
        forward = jax.jit(model)
        return lambda: forward(p, images).block_until_ready()
    zeros = jax.tree.map(jnp.zeros_like, p)
    state = {"p": p, "m": zeros, "v": zeros, "t": 0}

    def step():
        state["t"] += 1
        p, m, v, value = update(state["p"], state["m"], state["v"], state["t"], images, labels)
        state.update(p=p, m=m, v=v)
        return float(value)

    return step
