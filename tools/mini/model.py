"""The three networks of mini, with the parameter names and the arithmetic of transformers' CLIPTextModel and of
diffusers' UNet2DConditionModel and AutoencoderTiny, and a safetensors reader and writer.

Only the options that Stable Diffusion 1.x/2.x models use are here. `measure.py --golden` compares these modules
with outputs of the public implementations.
"""
from __future__ import annotations

import json
import math
import struct
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

Config = dict


# ---------------------------------------------------------------------------------------------- shared pieces
def attend(query: Tensor, key: Tensor, value: Tensor, heads: int, causal: bool = False) -> Tensor:
    """Multi-head attention over [batch, tokens, channels] tensors."""
    batch, tokens, width = query.shape
    q, k, v = (x.view(batch, -1, heads, width // heads).transpose(1, 2) for x in (query, key, value))
    if hasattr(F, "scaled_dot_product_attention"):
        out = F.scaled_dot_product_attention(q, k, v, is_causal=causal)
    else:
        score = q @ k.transpose(-1, -2) * (width // heads) ** -0.5
        if causal:
            score = score + torch.full((tokens, tokens), -math.inf, device=q.device).triu(1)
        out = score.softmax(-1) @ v
    return out.transpose(1, 2).reshape(batch, tokens, width)


# ---------------------------------------------------------------------------------------------- text encoder
class CLIPAttention(nn.Module):
    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.k_proj, self.v_proj = nn.Linear(width, width), nn.Linear(width, width)
        self.q_proj, self.out_proj = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.out_proj(attend(self.q_proj(x), self.k_proj(x), self.v_proj(x), self.heads, causal=True))


class CLIPMLP(nn.Module):
    def __init__(self, width: int, inner: int, act: str):
        super().__init__()
        self.fc1, self.fc2, self.act = nn.Linear(width, inner), nn.Linear(inner, width), act

    def forward(self, x: Tensor) -> Tensor:
        x = self.fc1(x)
        return self.fc2(x * torch.sigmoid(1.702 * x) if self.act == "quick_gelu" else F.gelu(x))


class CLIPLayer(nn.Module):
    def __init__(self, c: Config):
        super().__init__()
        width, eps = c["hidden_size"], c["layer_norm_eps"]
        self.self_attn = CLIPAttention(width, c["num_attention_heads"])
        self.layer_norm1 = nn.LayerNorm(width, eps=eps)
        self.mlp = CLIPMLP(width, c["intermediate_size"], c["hidden_act"])
        self.layer_norm2 = nn.LayerNorm(width, eps=eps)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.self_attn(self.layer_norm1(x))
        return x + self.mlp(self.layer_norm2(x))


class CLIPTextTransformer(nn.Module):
    def __init__(self, c: Config):
        super().__init__()
        width = c["hidden_size"]
        self.embeddings = nn.ModuleDict(dict(token_embedding=nn.Embedding(c["vocab_size"], width),
                                             position_embedding=nn.Embedding(c["max_position_embeddings"], width)))
        self.encoder = nn.ModuleDict(dict(layers=nn.ModuleList(CLIPLayer(c) for _ in range(c["num_hidden_layers"]))))
        self.final_layer_norm = nn.LayerNorm(width, eps=c["layer_norm_eps"])

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embeddings["token_embedding"](ids) + self.embeddings["position_embedding"].weight[:ids.shape[1]]
        for layer in self.encoder["layers"]:
            x = layer(x)
        return self.final_layer_norm(x)


class CLIPTextModel(nn.Module):
    """Token ids [batch, tokens] to conditioning [batch, tokens, hidden]: the last layer, after the final norm."""

    def __init__(self, c: Config):
        super().__init__()
        self.config, self.text_model = c, CLIPTextTransformer(c)
        for table in self.text_model.embeddings.values():
            nn.init.normal_(table.weight, std=0.02)

    def forward(self, ids: Tensor) -> Tensor:
        return self.text_model(ids)


# ---------------------------------------------------------------------------------------------- U-Net
class ResnetBlock(nn.Module):
    def __init__(self, n_in: int, n_out: int, n_time: int, c: Config):
        super().__init__()
        groups, eps = c["norm_num_groups"], c["norm_eps"]
        self.norm1 = nn.GroupNorm(groups, n_in, eps=eps)
        self.conv1 = nn.Conv2d(n_in, n_out, 3, padding=1)
        self.time_emb_proj = nn.Linear(n_time, n_out)
        self.norm2 = nn.GroupNorm(groups, n_out, eps=eps)
        self.conv2 = nn.Conv2d(n_out, n_out, 3, padding=1)
        self.conv_shortcut = nn.Conv2d(n_in, n_out, 1) if n_in != n_out else None

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x))) + self.time_emb_proj(F.silu(time))[:, :, None, None]
        h = self.conv2(F.silu(self.norm2(h)))
        return (x if self.conv_shortcut is None else self.conv_shortcut(x)) + h


class Attention(nn.Module):
    def __init__(self, width: int, context: int, heads: int):
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(width, width, bias=False)
        self.to_k, self.to_v = nn.Linear(context, width, bias=False), nn.Linear(context, width, bias=False)
        self.to_out = nn.ModuleList([nn.Linear(width, width)])

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        return self.to_out[0](attend(self.to_q(x), self.to_k(context), self.to_v(context), self.heads))


class GEGLU(nn.Module):
    def __init__(self, width: int, inner: int):
        super().__init__()
        self.proj = nn.Linear(width, 2 * inner)

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.proj(x).chunk(2, dim=-1)
        return value * F.gelu(gate)


class FeedForward(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.net = nn.ModuleList([GEGLU(width, 4 * width), nn.Identity(), nn.Linear(4 * width, width)])

    def forward(self, x: Tensor) -> Tensor:
        return self.net[2](self.net[0](x))


class TransformerBlock(nn.Module):
    def __init__(self, width: int, context: int, heads: int):
        super().__init__()
        self.norm1, self.attn1 = nn.LayerNorm(width), Attention(width, width, heads)
        self.norm2, self.attn2 = nn.LayerNorm(width), Attention(width, context, heads)
        self.norm3, self.ff = nn.LayerNorm(width), FeedForward(width)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        y = self.norm1(x)
        x = x + self.attn1(y, y)
        x = x + self.attn2(self.norm2(x), context)
        return x + self.ff(self.norm3(x))


class Transformer2D(nn.Module):
    def __init__(self, width: int, heads: int, depth: int, c: Config):
        super().__init__()
        self.linear = c.get("use_linear_projection", False)
        project = nn.Linear if self.linear else lambda a, b: nn.Conv2d(a, b, 1)
        self.norm = nn.GroupNorm(c["norm_num_groups"], width, eps=1e-6)
        self.proj_in, self.proj_out = project(width, width), project(width, width)
        self.transformer_blocks = nn.ModuleList(TransformerBlock(width, c["cross_attention_dim"], heads) for _ in range(depth))

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        batch, width, height, breadth = x.shape
        y = self.norm(x)
        if not self.linear:
            y = self.proj_in(y)
        y = y.permute(0, 2, 3, 1).reshape(batch, height * breadth, width)
        if self.linear:
            y = self.proj_in(y)
        for block in self.transformer_blocks:
            y = block(y, context)
        if self.linear:
            y = self.proj_out(y)
        y = y.reshape(batch, height, breadth, width).permute(0, 3, 1, 2)
        if not self.linear:
            y = self.proj_out(y)
        return x + y


class Resample(nn.Module):
    def __init__(self, width: int, up: bool):
        super().__init__()
        self.up, self.conv = up, nn.Conv2d(width, width, 3, stride=1 if up else 2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest") if self.up else x)


class Stage(nn.Module):
    """One level of the U-Net: resnets, each followed by a transformer if the level attends, and a resampler."""

    def __init__(self, inputs: list[int], width: int, n_time: int, heads: int, depth: int, resample: str, c: Config):
        super().__init__()
        self.resnets = nn.ModuleList(ResnetBlock(n, width, n_time, c) for n in inputs)
        self.attentions = nn.ModuleList(Transformer2D(width, heads, depth, c) for _ in inputs) if heads else None
        self.downsamplers = nn.ModuleList([Resample(width, up=False)]) if resample == "down" else None
        self.upsamplers = nn.ModuleList([Resample(width, up=True)]) if resample == "up" else None

    def layer(self, i: int, x: Tensor, time: Tensor, context: Tensor) -> Tensor:
        x = self.resnets[i](x, time)
        return x if self.attentions is None else self.attentions[i](x, context)


class MidBlock(nn.Module):
    def __init__(self, width: int, n_time: int, heads: int, depth: int, c: Config):
        super().__init__()
        self.resnets = nn.ModuleList(ResnetBlock(width, width, n_time, c) for _ in range(2))
        self.attentions = nn.ModuleList([Transformer2D(width, heads, depth, c)])

    def forward(self, x: Tensor, time: Tensor, context: Tensor) -> Tensor:
        return self.resnets[1](self.attentions[0](self.resnets[0](x, time), context), time)


def per_level(value: int | list[int], levels: int) -> list[int]:
    return list(value) if isinstance(value, (list, tuple)) else [value] * levels


class UNet2DConditionModel(nn.Module):
    """Noisy latent, timestep and text conditioning to the prediction of the schedule's kind (epsilon or v).

    `attention_head_dim` in a config is the number of heads, as in diffusers, unless `num_attention_heads` is given.
    """

    def __init__(self, c: Config):
        super().__init__()
        self.config = c
        width, layers = c["block_out_channels"], c["layers_per_block"]
        levels = len(width)
        heads = per_level(c.get("num_attention_heads") or c["attention_head_dim"], levels)
        depth = per_level(c.get("transformer_layers_per_block") or 1, levels)
        n_time = 4 * width[0]
        self.conv_in = nn.Conv2d(c["in_channels"], width[0], 3, padding=1)
        self.time_embedding = nn.ModuleDict(dict(linear_1=nn.Linear(width[0], n_time), linear_2=nn.Linear(n_time, n_time)))
        self.down_blocks, self.up_blocks = nn.ModuleList(), nn.ModuleList()
        skips, n = [width[0]], width[0]
        for i in range(levels):
            attends, last = c["down_block_types"][i].startswith("CrossAttn"), i == levels - 1
            self.down_blocks.append(Stage([n] + [width[i]] * (layers - 1), width[i], n_time, heads[i] if attends else 0,
                                          depth[i], "" if last else "down", c))
            n = width[i]
            skips += [n] * (layers + (not last))
        self.mid_block = MidBlock(n, n_time, heads[-1], depth[-1], c)
        for i in range(levels):
            j, last = levels - 1 - i, i == levels - 1
            attends, inputs = c["up_block_types"][i].startswith("CrossAttn"), []
            for _ in range(layers + 1):
                inputs.append(n + skips.pop())
                n = width[j]
            self.up_blocks.append(Stage(inputs, n, n_time, heads[j] if attends else 0, depth[j], "" if last else "up", c))
        self.conv_norm_out = nn.GroupNorm(c["norm_num_groups"], width[0], eps=c["norm_eps"])
        self.conv_out = nn.Conv2d(width[0], c["out_channels"], 3, padding=1)

    def forward(self, x: Tensor, timestep: Tensor, context: Tensor) -> Tensor:
        half = self.config["block_out_channels"][0] // 2
        rate = torch.exp(-math.log(10000) * torch.arange(half, device=x.device, dtype=torch.float32) / half)
        angle = timestep.float().reshape(-1, 1) * rate
        time = torch.cat([angle.cos(), angle.sin()], dim=-1).expand(x.shape[0], -1)
        time = self.time_embedding["linear_2"](F.silu(self.time_embedding["linear_1"](time)))
        x = self.conv_in(x)
        skips = [x]
        for stage in self.down_blocks:
            for i in range(len(stage.resnets)):
                x = stage.layer(i, x, time, context)
                skips.append(x)
            if stage.downsamplers is not None:
                x = stage.downsamplers[0](x)
                skips.append(x)
        x = self.mid_block(x, time, context)
        for stage in self.up_blocks:
            for i in range(len(stage.resnets)):
                x = stage.layer(i, torch.cat([x, skips.pop()], dim=1), time, context)
            if stage.upsamplers is not None:
                x = stage.upsamplers[0](x)
        return self.conv_out(F.silu(self.conv_norm_out(x)))


# ---------------------------------------------------------------------------------------------- autoencoder
class TinyBlock(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1),
                                  nn.ReLU(), nn.Conv2d(width, width, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.conv(x) + x)


class TinyEncoder(nn.Module):
    def __init__(self, c: Config):
        super().__init__()
        layers: list[nn.Module] = []
        for i, (count, width) in enumerate(zip(c["num_encoder_blocks"], c["encoder_block_out_channels"])):
            layers.append(nn.Conv2d(c["in_channels"], width, 3, padding=1) if i == 0 else
                          nn.Conv2d(width, width, 3, padding=1, stride=2, bias=False))
            layers += [TinyBlock(width) for _ in range(count)]
        layers.append(nn.Conv2d(width, c["latent_channels"], 3, padding=1))
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers((x + 1) / 2)


class TinyDecoder(nn.Module):
    def __init__(self, c: Config):
        super().__init__()
        blocks, widths = c["num_decoder_blocks"], c["decoder_block_out_channels"]
        layers: list[nn.Module] = [nn.Conv2d(c["latent_channels"], widths[0], 3, padding=1), nn.ReLU()]
        for i, (count, width) in enumerate(zip(blocks, widths)):
            last = i == len(blocks) - 1
            layers += [TinyBlock(width) for _ in range(count)]
            if not last:
                layers.append(nn.Upsample(scale_factor=2, mode="nearest"))
            layers.append(nn.Conv2d(width, c["out_channels"] if last else width, 3, padding=1, bias=last))
        self.layers = nn.Sequential(*layers)

    def forward(self, z: Tensor) -> Tensor:
        return self.layers(torch.tanh(z / 3) * 3) * 2 - 1


class AutoencoderTiny(nn.Module):
    """Pictures in -1..1, [batch, 3, height, width], to latents of an eighth of the size, and back."""

    def __init__(self, c: Config):
        super().__init__()
        self.config, self.encoder, self.decoder = c, TinyEncoder(c), TinyDecoder(c)

    def encode(self, x: Tensor) -> Tensor:
        return self.encoder(x)

    def decode(self, z: Tensor) -> Tensor:
        return self.decoder(z)


# ---------------------------------------------------------------------------------------------- files
TYPES = dict(F64=np.float64, F32=np.float32, F16=np.float16, I64=np.int64, I32=np.int32, U8=np.uint8)
NAMES = {np.dtype(v): k for k, v in TYPES.items()}


def read_safetensors(path: str | Path) -> dict[str, Tensor]:
    raw = Path(path).read_bytes()
    size, = struct.unpack("<Q", raw[:8])
    out = {}
    for name, entry in json.loads(raw[8:8 + size]).items():
        if name != "__metadata__":
            first, last = (8 + size + n for n in entry["data_offsets"])
            out[name] = torch.from_numpy(np.frombuffer(raw[first:last], TYPES[entry["dtype"]]).reshape(entry["shape"]).copy())
    return out


def write_safetensors(path: str | Path, tensors: dict[str, Tensor]) -> None:
    header, chunks, at = {"__metadata__": {"format": "pt"}}, [], 0
    for name in sorted(tensors):
        a = tensors[name].detach().cpu().contiguous().numpy()
        header[name] = dict(dtype=NAMES[a.dtype], shape=list(a.shape), data_offsets=[at, at + a.nbytes])
        chunks.append(a.tobytes())
        at += a.nbytes
    head = json.dumps(header, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 8)
    Path(path).write_bytes(struct.pack("<Q", len(head)) + head + b"".join(chunks))


def load_part(kind: type[nn.Module], folder: Path, name: str = "diffusion_pytorch_model") -> nn.Module:
    """A network from its folder of a diffusers-layout model, in float32."""
    network = kind(json.loads((folder / "config.json").read_text()))
    state = {k: v.float() for k, v in read_safetensors(folder / f"{name}.safetensors").items()}
    network.load_state_dict(state)
    return network.eval()
