"""Trains mini, the built-in model: autoencoder, then text encoder and U-Net together, in one sitting on one GPU.

    python tools/mini/train.py --data .mini-data --out models/mini

`prepare.py` makes the data folder. Every stage is boxed in time; the model's folder is written at the end of each stage
and every minute, and `--resume` starts from such a folder. With `torchrun --nproc_per_node=N` the batch is N times as large.
"""
from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import time
from pathlib import Path

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

import measure
from bpe import Tokenizer
from compose import Material, Painter, Scene, plain_scene
from mixture import Mixture
from model import AutoencoderTiny, CLIPTextModel, UNet2DConditionModel, load_part, write_safetensors

BEGAN = time.time()
VAE = dict(_class_name="AutoencoderTiny", _diffusers_version="0.40.0", act_fn="relu", block_out_channels=[32] * 4,
           decoder_block_out_channels=[32] * 4, encoder_block_out_channels=[32] * 4, force_upcast=False, in_channels=3,
           latent_channels=8, latent_magnitude=3, latent_shift=0.5, num_decoder_blocks=[3, 3, 3, 1],
           num_encoder_blocks=[1, 3, 3, 3], out_channels=3, scaling_factor=1.0, shift_factor=0.0, upsample_fn="nearest",
           upsampling_scaling_factor=2)
UNET = dict(_class_name="UNet2DConditionModel", _diffusers_version="0.40.0", act_fn="silu", attention_head_dim=4,
            block_out_channels=[96, 128, 128], center_input_sample=False, cross_attention_dim=256, downsample_padding=1,
            down_block_types=["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"], flip_sin_to_cos=True, freq_shift=0,
            in_channels=8, layers_per_block=1, mid_block_scale_factor=1, mid_block_type="UNetMidBlock2DCrossAttn", norm_eps=1e-5,
            norm_num_groups=32, out_channels=8, sample_size=32, transformer_layers_per_block=1,
            up_block_types=["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"], use_linear_projection=True)
TEXT = dict(architectures=["CLIPTextModel"], attention_dropout=0.0, hidden_act="quick_gelu", hidden_size=256, intermediate_size=1024,
            layer_norm_eps=1e-5, max_position_embeddings=77, model_type="clip_text_model", num_attention_heads=4, num_hidden_layers=3,
            projection_dim=256)
SCHEDULER = dict(_class_name="EulerDiscreteScheduler", _diffusers_version="0.40.0", beta_start=0.00085, beta_end=0.012,
                 beta_schedule="scaled_linear", num_train_timesteps=1000, prediction_type="v_prediction", timestep_spacing="trailing",
                 rescale_betas_zero_snr=False, steps_offset=1, trained_betas=None, interpolation_type="linear", use_karras_sigmas=False)
INDEX = dict(_class_name="StableDiffusionPipeline", _diffusers_version="0.40.0", unet=["diffusers", "UNet2DConditionModel"],
             vae=["diffusers", "AutoencoderTiny"], text_encoder=["transformers", "CLIPTextModel"], tokenizer=["transformers", "CLIPTokenizer"],
             scheduler=["diffusers", "EulerDiscreteScheduler"], feature_extractor=[None, None], safety_checker=[None, None],
             requires_safety_checker=False)
FEW_STEPS = (749, 749, 499, 499, 249, 249, 666, 332)      # the timesteps after the first of 2 to 4 trailing steps
WORLD = int(os.environ.get("WORLD_SIZE", 1))
RANK = int(os.environ.get("RANK", 0))


def say(*words: object) -> None:
    if RANK == 0:
        print(*words, flush=True)


class Average:
    """An exponential moving average of a network's parameters."""

    def __init__(self, network: nn.Module, decay: float):
        self.live, self.decay, self.steps = list(network.parameters()), decay, 0
        self.names = [n for n, _ in network.named_parameters()]
        self.mean = [p.detach().clone() for p in self.live]

    def update(self) -> None:
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        torch._foreach_mul_(self.mean, decay)
        torch._foreach_add_(self.mean, [p.detach() for p in self.live], alpha=1 - decay)

    def state(self) -> dict[str, Tensor]:
        return {n: m.half().contiguous() for n, m in zip(self.names, self.mean)}

    def into(self, network: nn.Module) -> nn.Module:
        with torch.no_grad():
            for p, m in zip(network.parameters(), self.mean):
                p.copy_(m.half().float())
        return network.eval()


class Clock:
    """The part of a time box that is gone; the box opens at the first call."""

    def __init__(self, minutes: float):
        self.seconds, self.start = minutes * 60, 0.0

    def part(self) -> float:
        self.start = self.start or time.time()
        return (time.time() - self.start) / self.seconds


def share_start(networks: list[nn.Module]) -> None:
    if WORLD > 1:
        for n in networks:
            for p in n.parameters():
                same = p.detach().contiguous().clone()
                dist.broadcast(same, 0)
                p.data.copy_(same)


def step(optimiser: torch.optim.Optimizer, parameters: list[Tensor], rate: float) -> None:
    if WORLD > 1:
        flat = torch.cat([p.grad.flatten() for p in parameters])
        dist.all_reduce(flat)
        for p, part in zip(parameters, flat.div_(WORLD).split([p.numel() for p in parameters])):
            p.grad.copy_(part.view(p.shape))
    nn.utils.clip_grad_norm_(parameters, 1.0)
    for group in optimiser.param_groups:
        group["lr"] = rate
    optimiser.step()
    optimiser.zero_grad(set_to_none=False)


def finished(part: float, device: str) -> bool:
    """The same answer on every process."""
    flag = torch.tensor([float(part >= 1)], device=device)
    if WORLD > 1:
        dist.broadcast(flag, 0)
    return bool(flag.item())


def write_part(folder: Path, config: dict, state: dict[str, Tensor], name: str = "diffusion_pytorch_model") -> None:
    if RANK == 0:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
        write_safetensors(folder / f"{name}.safetensors", state)


def maybe_compile(function, on: bool):
    return torch.compile(function, dynamic=False) if on else function


# ---------------------------------------------------------------------------------------------- autoencoder
def train_vae(material: Material, painter: Painter, mixture: Mixture, args: argparse.Namespace) -> AutoencoderTiny:
    device = args.device
    low = args.low_blocks
    config = dict(VAE, latent_channels=args.latent, num_encoder_blocks=[1, 3, 3, low], num_decoder_blocks=[low, 3, 3, 1])
    network = load_part(AutoencoderTiny, args.vae_resume).train() if args.vae_resume else AutoencoderTiny(config)
    network.to(device, memory_format=torch.channels_last)
    config = network.config
    share_start([network])
    parameters = list(network.parameters())
    optimiser = torch.optim.AdamW(parameters, lr=1e-3, betas=(0.9, 0.99), weight_decay=1e-4, **(dict(fused=True) if device == "cuda" else {}))
    average, clock, n = Average(network, 0.998), Clock(args.vae_minutes), args.vae_batch
    _, pool, _ = mixture.batch(args.scenes, device)
    ready = [plain_scene(torch.arange(len(material.names), device=device)[i:i + 128]) for i in range(0, len(material.names), 128)]
    ready += [pool[slice(i, i + 128)] for i in range(0, args.scenes, 128)]
    drawn = torch.cat([painter.draw(scenes).mul(255).round().to(torch.uint8) for scenes in ready])
    say(f"{len(drawn)} pictures drawn, {time.time() - BEGAN:.0f} s")

    def loss_of(x: Tensor, jitter: Tensor) -> Tensor:
        with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
            z = network.encode(x * 2 - 1)
            y = network.decode(z + jitter)
        error, z = (y.float() + 1) / 2 - x, z.float()
        return 0.5 * error.abs().mean() + 20 * error.square().mean() + 1e-3 * z.square().mean() + 0.01 * F.relu(z.abs() - 4).mean()

    compiled, i, folded, losses = maybe_compile(loss_of, args.compile), 0, bool(args.vae_resume), []
    if folded:
        normalise(network, average, painter, pool, device)
    while True:
        photos = painter.photograph(torch.randint(len(material.photos), (n * 3 // 4,), device=device))
        others = drawn[torch.randint(len(drawn), (n - len(photos),), device=device)].float() / 255
        x = torch.cat([photos, others]).contiguous(memory_format=torch.channels_last)
        jitter = torch.randn(n, config["latent_channels"], 32, 32, device=device) * torch.rand(n, 1, 1, 1, device=device) * 0.1
        loss = compiled(x, jitter)
        loss.backward()
        part = clock.part()
        step(optimiser, parameters, args.vae_rate * min(1, (i + 1) / 200) * (0.01 + 0.99 * math.cos(min(part, 1) * math.pi / 2)))
        average.update()
        losses.append(loss.detach())
        i += 1
        if i % 500 == 0:
            say(f"vae step {i} {part:5.1%} loss {torch.stack(losses[-500:]).mean():.4f} {time.time() - clock.start:.0f} s")
        if not folded and i % 20 == 0 and finished(2 * part, device):
            normalise(network, average, painter, pool, device)
            folded = True
        if i % 20 == 0 and finished(part, device):
            break
    final = average.into(AutoencoderTiny(config).to(device))
    say(f"vae {i} steps of {n * WORLD} pictures in {time.time() - clock.start:.0f} s, {n * i * WORLD} pictures")
    measure.report_psnr(final, material, say)
    return final


@torch.no_grad()
def statistics(network: AutoencoderTiny, painter: Painter, pool: Scene, device: str) -> tuple[Tensor, Tensor]:
    z = []
    for i in range(8):
        glyphs = plain_scene(torch.randint(len(painter.m.names), (32,), device=device))
        for scenes in (pool[i * 32:i * 32 + 32], glyphs):
            z.append(network.encode(painter.draw(scenes) * 2 - 1).float())
    z = torch.cat(z).transpose(0, 1).flatten(1)
    mean, std = z.mean(1), z.std(1)
    if WORLD > 1:
        for t in (mean, std):
            dist.broadcast(t, 0)
    return mean, std


@torch.no_grad()
def normalise(network: AutoencoderTiny, average: Average, painter: Painter, pool: Scene, device: str) -> None:
    """Folds a zero mean and a unit deviation of each latent channel into the last convolution of the encoder."""
    mean, std = statistics(network, painter, pool, device)
    say("latent mean", [round(v, 2) for v in mean.tolist()], "deviation", [round(v, 2) for v in std.tolist()])
    tables = [dict(network.named_parameters()), dict(zip(average.names, average.mean))]
    last = f"encoder.layers.{len(network.encoder.layers) - 1}"
    for table in tables:
        table[f"{last}.weight"].div_(std.view(-1, 1, 1, 1))
        table[f"{last}.bias"].sub_(mean).div_(std)
        weight = table["decoder.layers.0.weight"]
        table["decoder.layers.0.bias"].add_((weight * mean.view(1, -1, 1, 1)).sum((1, 2, 3)))
        weight.mul_(std.view(1, -1, 1, 1))


# ---------------------------------------------------------------------------------------------- text encoder and U-Net
@torch.no_grad()
def encode_all(vae: AutoencoderTiny, painter: Painter, scenes: Scene, device: str, bare: bool = False) -> list[Tensor]:
    """The latents of the scenes, and with `bare` those of their bare backgrounds as well."""
    out: list[list[Tensor]] = [[], []]
    for i in range(0, len(scenes.glyph), 128):
        for pictures, latents in list(zip(painter.draw_pair(scenes[slice(i, i + 128)])[::-1], out))[:1 + bare]:
            with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
                latents.append(vae.encode((pictures * 2 - 1).contiguous(memory_format=torch.channels_last)).half().contiguous())
    return [torch.cat(latents) for latents in out[:1 + bare]]


def full_rows(tokens: Tensor, tokenizer: Tokenizer) -> Tensor:
    rows = torch.full((len(tokens), 77), tokenizer.end, device=tokens.device, dtype=torch.long)
    rows[:, 0] = tokenizer.start
    rows[:, 1:1 + tokens.shape[1]] = torch.where(tokens >= 0, tokens.long(), tokenizer.end)
    return rows


def train_denoiser(vae: AutoencoderTiny, material: Material, painter: Painter, mixture: Mixture, tokenizer: Tokenizer,
                   args: argparse.Namespace) -> None:
    device, n = args.device, args.batch
    text_config = dict(TEXT, vocab_size=len(tokenizer.vocab), bos_token_id=tokenizer.start, eos_token_id=tokenizer.end, pad_token_id=tokenizer.end)
    if args.resume and (args.resume / "unet").exists():
        unet, text = load_part(UNet2DConditionModel, args.resume / "unet"), load_part(CLIPTextModel, args.resume / "text_encoder", "model")
    else:
        unet = UNet2DConditionModel(dict(UNET, in_channels=vae.config["latent_channels"], out_channels=vae.config["latent_channels"]))
        text = CLIPTextModel(text_config)
        nn.init.zeros_(unet.conv_out.weight)
    unet, text = unet.train().to(device, memory_format=torch.channels_last), text.train().to(device)
    share_start([unet, text])
    began = time.time()
    plain = encode_all(vae, painter, plain_scene(torch.arange(len(material.names), device=device)), device)[0].float()
    std = float(plain.std())
    varied_tokens, scenes, until = mixture.batch(args.pool, device)
    varied, *sources = encode_all(vae, painter, scenes, device, bare=args.edit)
    editable = (scenes.photo >= 0) & ((scenes.style >= 0) | (scenes.palette >= 0))
    spread = torch.cat([plain[:2000].flatten(), varied[:2000].float().flatten()]).std()
    if WORLD > 1:
        dist.broadcast(spread, 0)
    config = dict(vae.config, scaling_factor=round(1 / float(spread), 4))
    if args.resume and (args.resume / "unet").exists():
        config["scaling_factor"] = json.loads((args.resume / "vae" / "config.json").read_text())["scaling_factor"]
    scale = config["scaling_factor"]
    say(f"{len(plain)} plain and {len(varied)} varied latents in {time.time() - began:.0f} s; deviation {std:.3f}, scaling_factor {scale}")
    plain *= scale
    tokens = torch.from_numpy(material.tokens).to(device)
    weight = torch.from_numpy(mixture.weight).float().to(device)
    alphas = measure.alphas_cumprod().to(device)
    few = torch.tensor(FEW_STEPS, device=device)
    parameters = [*unet.parameters(), *text.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=args.rate, betas=(0.9, 0.98), weight_decay=0.01, **(dict(fused=True) if device == "cuda" else {}))
    averages, clock = [Average(unet, 0.9995), Average(text, 0.9995)], Clock(args.minutes)

    def predict(rows: Tensor, x: Tensor, t: Tensor) -> Tensor:
        with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
            return unet(x, t, text(rows)).float()

    def loss_of(rows: Tensor, x: Tensor, t: Tensor, target: Tensor) -> Tensor:
        return (predict(rows, x, t) - target).square().mean((1, 2, 3))

    def save() -> None:
        write_part(args.out / "unet", unet.config, averages[0].state())
        write_part(args.out / "text_encoder", text.config, averages[1].state(), "model")

    write_part(args.out / "vae", config, {k: v.half().contiguous() for k, v in vae.state_dict().items()})
    compiled, i, losses, saved = maybe_compile(loss_of, args.compile), 0, [], time.time()
    half = n // 2
    while True:
        glyph = torch.multinomial(weight, half, replacement=True)
        which = torch.randint(tokens.shape[1], (half,), device=device)
        which = torch.where(torch.rand(half, device=device) < 0.12, torch.zeros_like(which), which)
        row = torch.randint(len(varied), (n - half,), device=device)
        rows = torch.cat([full_rows(tokens[glyph, which], tokenizer), full_rows(varied_tokens[row], tokenizer)])
        z = torch.cat([plain[glyph], varied[row].float() * scale])
        limit = torch.cat([torch.full((half,), 1000, device=device), until[row]])
        roll = torch.rand(n, device=device)
        roll[:half] += 0.2
        t = (torch.rand(n, device=device) * limit).long()
        t = torch.where(roll < 0.42, (few[torch.randint(len(few), (n,), device=device)] + torch.randint(-12, 13, (n,), device=device)), t)
        t = torch.where(roll > 0.72, 999, t)
        t = torch.where(t < limit, t, (torch.rand(n, device=device) * limit).long())
        noise = torch.randn_like(z)
        pure = (t >= 999) & (torch.rand(n, device=device) < 0.8)
        a = alphas[t].view(-1, 1, 1, 1)
        x = a.sqrt() * z * ~pure.view(-1, 1, 1, 1) + (1 - a).sqrt() * noise
        target = a.sqrt() * noise - (1 - a).sqrt() * z
        if args.edit:
            # a photograph's noisy latent, or a blend with its repainted one, must lead to the repainted one
            share = torch.where(torch.rand(n - half, device=device) < 0.5, 1.0, torch.rand(n - half, device=device))
            share *= editable[row] & (t[half:] > 80) & (t[half:] < 780)
            goal, b = z[half:], a[half:]
            source = goal + share.view(-1, 1, 1, 1) * (sources[0][row].float() * scale - goal)
            x = torch.cat([x[:half], torch.where(share.view(-1, 1, 1, 1) > 0, b.sqrt() * source + (1 - b).sqrt() * noise[half:], x[half:])])
            other = (b.sqrt() * x[half:] - goal) / (1 - b).sqrt()
            target = torch.cat([target[:half], torch.where(share.view(-1, 1, 1, 1) > 0, other, target[half:])])
        if args.rollout and i % 2 == 0:
            # plain rows: the first step from noise is the model's own, and the next must still reach the glyph
            with torch.no_grad():
                first = torch.full((half,), 999, device=device)
                a0 = alphas[999]
                start = (1 - a0).sqrt() * noise[:half]
                guess = a0.sqrt() * start - (1 - a0).sqrt() * predict(rows[:half], start, first)
                later = few[torch.randint(len(few), (half,), device=device)]
                b = alphas[later].view(-1, 1, 1, 1)
                t = torch.cat([later, t[half:]])
                x = torch.cat([b.sqrt() * guess + (1 - b).sqrt() * noise[:half], x[half:]])
                target = torch.cat([(b.sqrt() * x[:half] - z[:half]) / (1 - b).sqrt(), target[half:]])
        loss = compiled(rows, x.contiguous(memory_format=torch.channels_last), t, target)
        loss.mean().backward()
        if i == 0 and args.until:
            clock.seconds = args.until - (time.time() - BEGAN)
        part = clock.part()
        fall = args.rate_end + (1 - args.rate_end) * 0.5 * (1 + math.cos(math.pi * min(part, 1)))
        step(optimiser, parameters, args.rate * min(1, (i + 1) / 300) * fall)
        for average in averages:
            average.update()
        losses.append(torch.stack([loss.detach()[:half].mean(), loss.detach()[half:].mean()]))
        i += 1
        if i % 500 == 0:
            mean = torch.stack(losses[-500:]).mean(0)
            say(f"step {i} {part:5.1%} loss plain {mean[0]:.4f} varied {mean[1]:.4f} {time.time() - clock.start:.0f} s")
        if time.time() - saved > 60:
            save()
            saved = time.time()
        if i % 20 == 0 and finished(part, device):
            break
    save()
    say(f"denoiser {i} steps of {n * WORLD} in {time.time() - clock.start:.0f} s")


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--data", type=Path, default=Path(".mini-data"))
    p.add_argument("--out", type=Path, default=Path("models/mini"))
    p.add_argument("--resume", type=Path, help="a model folder: its autoencoder is kept, its other parts go on")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--vae-minutes", type=float, default=4)
    p.add_argument("--vae-rate", type=float, default=1.5e-3)
    p.add_argument("--vae-resume", type=Path, help="an autoencoder's folder to go on from")
    p.add_argument("--latent", type=int, default=12, help="latent channels")
    p.add_argument("--low-blocks", type=int, default=3, help="the autoencoder's blocks at the lowest resolution")
    p.add_argument("--until", type=float, default=0, help="end the denoiser's training this many seconds after the start")
    p.add_argument("--vae-batch", type=int, default=64)
    p.add_argument("--minutes", type=float, default=16, help="text encoder and U-Net")
    p.add_argument("--batch", type=int, default=512)
    p.add_argument("--pool", type=int, default=80000, help="varied pictures")
    p.add_argument("--scenes", type=int, default=8192, help="varied pictures for the autoencoder")
    p.add_argument("--rate", type=float, default=1e-3)
    p.add_argument("--rate-end", type=float, default=0.02, help="the last learning rate over the first")
    p.add_argument("--rollout", action="store_true", help="train on the model's own first step as well (for the last minutes)")
    p.add_argument("--edit", action="store_true", help="also teach to repaint a photograph's own latent as the caption says")
    p.add_argument("--no-compile", dest="compile", action="store_false")
    p.add_argument("--no-measure", dest="measure", action="store_false")
    args = p.parse_args()
    args.device = "cuda" if torch.cuda.is_available() else "cpu"
    if WORLD > 1:
        if args.device == "cuda":
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        dist.init_process_group("nccl" if args.device == "cuda" else "gloo")
    torch.manual_seed(args.seed * 1000 + RANK)
    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.benchmark = True
    began = time.time()
    material = Material(args.data, args.device)
    painter, mixture = Painter(material, args.device), Mixture(material, args.seed * 1000 + RANK)
    painter.random.manual_seed(args.seed * 1000 + RANK)
    tokenizer = Tokenizer.read(args.data / "tokenizer")
    say(f"{len(material.names)} glyphs, {len(material.photos)} photo crops on {args.device} x{WORLD}, {time.time() - began:.0f} s")
    if RANK == 0:
        args.out.mkdir(parents=True, exist_ok=True)
        shutil.copytree(args.data / "tokenizer", args.out / "tokenizer", dirs_exist_ok=True)
        (args.out / "model_index.json").write_text(json.dumps(INDEX, indent=1) + "\n")
        (args.out / "scheduler").mkdir(exist_ok=True)
        (args.out / "scheduler" / "scheduler_config.json").write_text(json.dumps(SCHEDULER, indent=1) + "\n")
    if args.resume:
        vae = load_part(AutoencoderTiny, args.resume / "vae").to(args.device)
    else:
        vae = train_vae(material, painter, mixture, args)
        write_part(args.out / "vae", vae.config, {k: v.half().contiguous() for k, v in vae.state_dict().items()})
    vae = vae.eval().requires_grad_(False).to(memory_format=torch.channels_last)
    if args.minutes > 0:
        train_denoiser(vae, material, painter, mixture, tokenizer, args)
    say(f"trained in {(time.time() - began) / 60:.1f} minutes")
    if args.measure and RANK == 0 and (args.out / "unet").exists():
        measure.run(args.out, material, args.out.parent / "report" if args.out.name == "mini" else args.out / "report")
    if WORLD > 1:
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
