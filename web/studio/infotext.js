// A1111's "parameters" text: prompt, "Negative prompt: ...", and a last line of "Key: value, Key: value".
// Values that hold commas or colons are JSON strings.

const PAIR = /\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)/g;

function unquoted(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text.slice(1, -1);
  }
}

export function parseInfotext(text) {
  const lines = text.trim().split("\n");
  const last = lines.at(-1) ?? "";
  const pairs = [...last.matchAll(PAIR)];
  const settings = {};
  if (pairs.length >= 3) {
    lines.pop();
    for (const [, key, raw] of pairs) settings[key.trim()] = raw.startsWith('"') ? unquoted(raw) : raw.trim();
  }
  const at = lines.findIndex((line) => line.startsWith("Negative prompt:"));
  const positive = at < 0 ? lines : lines.slice(0, at);
  const negative = at < 0 ? [] : [lines[at].slice("Negative prompt:".length).trim(), ...lines.slice(at + 1)];
  return { prompt: positive.join("\n").trim(), negative: negative.join("\n").trim(), settings, hasSettings: pairs.length >= 3 };
}

const NUMBERS = {
  Steps: "steps", "CFG scale": "cfg_scale", Seed: "seed", "Variation seed": "subseed", "Variation seed strength": "subseed_strength",
  "Denoising strength": "denoising_strength", "Hires upscale": "hr_scale", "Hires steps": "hr_second_pass_steps", "Mask blur": "mask_blur",
  "Refiner switch at": "refiner_switch_at", "Masked area padding": "inpaint_full_res_padding",
  ...Object.fromEntries(["schedule bias", "preservation strength", "transition contrast boost", "mask influence", "difference threshold", "difference contrast"]
    .map((text) => [`Soft inpainting ${text}`, `soft_${text.replaceAll(" ", "_")}`])),
};
const TEXTS = { Sampler: "sampler_name", "Schedule type": "scheduler", "Hires upscaler": "hr_upscaler" };

const FILLS = ["fill", "original", "latent noise", "latent nothing"];
const withoutHash = (title) => title?.replace(/ \[[0-9a-f]+\]$/, "");

// What the form takes from it: {form: changes by field name, model, vae, clipSkip}.
export function toForm({ settings }) {
  const form = {};
  for (const [key, name] of Object.entries(NUMBERS))
    if (settings[key] !== undefined && !Number.isNaN(Number(settings[key]))) form[name] = Number(settings[key]);
  for (const [key, name] of Object.entries(TEXTS)) if (settings[key] !== undefined) form[name] = settings[key];
  const size = /^(\d+)x(\d+)$/.exec(settings.Size ?? "");
  const target = /^(\d+)x(\d+)$/.exec(settings["Hires resize"] ?? "");
  [form.hr_resize_x, form.hr_resize_y] = target ? [Number(target[1]), Number(target[2])] : [0, 0];
  if (size) [form.width, form.height] = [Number(size[1]), Number(size[2])];
  form.enable_hr = settings["Hires upscale"] !== undefined || target !== null;
  if (form.enable_hr && form.denoising_strength !== undefined) form.hr_denoising_strength = form.denoising_strength;
  form.hr_checkpoint_name = withoutHash(settings["Hires checkpoint"]) ?? "Use same checkpoint";
  form.hr_sampler_name = settings["Hires sampler"] ?? "Use same sampler";
  form.hr_scheduler = settings["Hires schedule type"] ?? "Use same scheduler";
  form.hr_prompt = settings["Hires prompt"] ?? "";
  form.hr_negative_prompt = settings["Hires negative prompt"] ?? "";
  form.refiner_checkpoint = withoutHash(settings.Refiner) ?? "None";
  if (settings["Mask blur"] !== undefined) {
    form.inpainting_mask_invert = settings["Mask mode"] === "Inpaint not masked" ? 1 : 0;
    form.inpainting_fill = Math.max(FILLS.indexOf(settings["Masked content"] ?? "original"), 0);
    form.inpaint_full_res = settings["Inpaint area"] === "Only masked";
  }
  form.soft_inpainting = settings["Soft inpainting enabled"] === "True";
  form.tiling = settings.Tiling === "True";
  if (settings.Sampler !== undefined && settings["Schedule type"] === undefined) form.scheduler = "Automatic";
  return { form, model: settings.Model, vae: settings.VAE, clipSkip: settings["Clip skip"] === undefined ? 1 : Number(settings["Clip skip"]) };
}
