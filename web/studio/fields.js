// Every setting of the form, under its A1111 name. `on` says which kinds of job have it; `when` hides it.
const both = ["txt2img", "img2img"];
const hires = (form) => form.enable_hr;
const refined = (form) => form.refiner_checkpoint !== "None";
const soft = (form) => form.soft_inpainting;
const inpaint = (form) => form.has_mask;

// Soft inpainting's settings in the order of its arguments.
const SOFT = [
  { name: "soft_schedule_bias", label: "Schedule bias", min: 0, max: 8, step: 0.1, value: 1 },
  { name: "soft_preservation_strength", label: "Preservation strength", min: 0, max: 8, step: 0.05, value: 0.5 },
  { name: "soft_transition_contrast_boost", label: "Transition contrast boost", min: 1, max: 32, step: 0.5, value: 4 },
  { name: "soft_mask_influence", label: "Mask influence", min: 0, max: 1, step: 0.05, value: 0 },
  { name: "soft_difference_threshold", label: "Difference threshold", min: 0, max: 8, step: 0.25, value: 0.5 },
  { name: "soft_difference_contrast", label: "Difference contrast", min: 0, max: 8, step: 0.25, value: 2 },
];

export const GROUPS = [
  {
    fields: [
      { name: "sampler_name", label: "Sampler", type: "list", list: "samplers", value: "Euler a", on: both },
      { name: "scheduler", label: "Schedule", type: "list", list: "schedulers", value: "Automatic", on: both },
      { name: "steps", label: "Steps", type: "range", min: 1, max: 150, step: 1, value: 20, on: both, wide: true },
      { name: "width", label: "Width", type: "number", min: 64, max: 2048, step: 8, value: 512, on: both },
      { name: "height", label: "Height", type: "number", min: 64, max: 2048, step: 8, value: 512, on: both },
      { name: "aspect", type: "aspect", on: both, wide: true },
      { name: "cfg_scale", label: "Guidance (CFG)", type: "range", min: 1, max: 30, step: 0.5, value: 7, on: both, wide: true },
      { name: "denoising_strength", label: "Denoising strength", type: "range", min: 0, max: 1, step: 0.01, value: 0.75, on: ["img2img"], wide: true },
      { name: "resize_mode", label: "Resize", type: "choice", value: 0, on: ["img2img"], wide: true,
        choices: [[0, "Just resize"], [1, "Crop and resize"], [2, "Resize and fill"], [3, "Just resize (latent)"]] },
      { name: "batch_size", label: "Pictures at a time", type: "number", min: 1, max: 8, step: 1, value: 1, on: both },
      { name: "n_iter", label: "Times", type: "number", min: 1, max: 100, step: 1, value: 1, on: both },
      { name: "seed", label: "Seed", type: "seed", min: -1, max: 4294967295, step: 1, value: -1, on: both, wide: true },
    ],
  },
  {
    title: "Variation",
    fields: [
      { name: "subseed", label: "Variation seed", type: "seed", min: -1, max: 4294967295, step: 1, value: -1, on: both, wide: true },
      { name: "subseed_strength", label: "Variation strength", type: "range", min: 0, max: 1, step: 0.01, value: 0, on: both, wide: true },
      { name: "seed_resize_from_w", label: "Seed's width", type: "number", min: -1, max: 2048, step: 1, value: -1, on: both },
      { name: "seed_resize_from_h", label: "Seed's height", type: "number", min: -1, max: 2048, step: 1, value: -1, on: both },
    ],
  },
  {
    title: "Inpainting",
    when: inpaint,
    fields: [
      { name: "mask_blur", label: "Mask blur", type: "range", min: 0, max: 64, step: 1, value: 4, on: ["img2img"], wide: true },
      { name: "inpainting_mask_invert", label: "Change", type: "choice", value: 0, on: ["img2img"], choices: [[0, "what is painted"], [1, "what is not painted"]] },
      { name: "inpainting_fill", label: "Start from", type: "choice", value: 1, on: ["img2img"],
        choices: [[0, "Fill"], [1, "Original"], [2, "Latent noise"], [3, "Latent nothing"]] },
      { name: "inpaint_full_res", label: "Work on the masked area only", type: "check", value: true, on: ["img2img"], wide: true },
      { name: "inpaint_full_res_padding", label: "Around it, pixels", type: "range", min: 0, max: 256, step: 4, value: 32, on: ["img2img"], wide: true },
      { name: "soft_inpainting", label: "Soft inpainting: the mask says how much (best with much blur)", type: "check", value: false, on: ["img2img"], wide: true },
      ...SOFT.map((field) => ({ ...field, type: "range", on: ["img2img"], when: soft, wide: true })),
    ],
  },
  {
    title: "Hires fix",
    fields: [
      { name: "enable_hr", label: "Draw larger in a second pass", type: "check", value: false, on: ["txt2img"], wide: true },
      { name: "hr_scale", label: "Scale", type: "range", min: 1, max: 4, step: 0.05, value: 2, on: ["txt2img"], when: hires, wide: true },
      { name: "hr_resize_x", label: "Or to width (0: by scale)", type: "number", min: 0, max: 4096, step: 8, value: 0, on: ["txt2img"], when: hires },
      { name: "hr_resize_y", label: "Or to height", type: "number", min: 0, max: 4096, step: 8, value: 0, on: ["txt2img"], when: hires },
      { name: "hr_upscaler", label: "Upscaler", type: "list", list: "hrUpscalers", value: "Latent", on: ["txt2img"], when: hires },
      { name: "hr_checkpoint_name", label: "Model", type: "list", list: "hrModels", value: "Use same checkpoint", on: ["txt2img"], when: hires },
      { name: "hr_sampler_name", label: "Sampler", type: "list", list: "hrSamplers", value: "Use same sampler", on: ["txt2img"], when: hires },
      { name: "hr_scheduler", label: "Schedule", type: "list", list: "hrSchedulers", value: "Use same scheduler", on: ["txt2img"], when: hires },
      { name: "hr_second_pass_steps", label: "Steps (0: the same)", type: "number", min: 0, max: 150, step: 1, value: 0, on: ["txt2img"], when: hires },
      { name: "hr_denoising_strength", label: "Denoising strength", type: "range", min: 0, max: 1, step: 0.01, value: 0.7, on: ["txt2img"], when: hires, wide: true },
      { name: "hr_prompt", label: "Prompt (empty: the same)", type: "text", value: "", on: ["txt2img"], when: hires, wide: true },
      { name: "hr_negative_prompt", label: "Negative prompt (empty: the same)", type: "text", value: "", on: ["txt2img"], when: hires, wide: true },
    ],
  },
  {
    title: "Refiner and tiling",
    fields: [
      { name: "refiner_checkpoint", label: "Refiner", type: "list", list: "refiners", value: "None", on: both },
      { name: "refiner_switch_at", label: "Takes over at", type: "range", min: 0, max: 1, step: 0.01, value: 0.8, on: both, when: refined, wide: true },
      { name: "tiling", label: "Tiling: edges that fit each other", type: "check", value: false, on: both, wide: true },
    ],
  },
];

// What the built-in model is made for; others begin with the values above.
export const MINI = { sampler_name: "Euler", steps: 4, width: 256, height: 256, cfg_scale: 1 };

// Some rows are helpers without a value of their own.
export const FIELDS = GROUPS.flatMap((group) => group.fields).filter((field) => field.value !== undefined);
export const isOn = (field, kind, form) => field.on.includes(kind) && (field.when === undefined || field.when(form));

// Ratios of width and height to choose from.
export const RATIOS = ["1:1", "5:4", "4:3", "3:2", "16:9", "21:9", "4:5", "3:4", "2:3", "9:16"];

// The part of an A1111 request that these fields make.
export function toRequest(kind, form) {
  const request = {};
  for (const field of FIELDS)
    if (isOn(field, kind, form)) request[field.name] = form[field.name];
  if (kind === "txt2img" && form.enable_hr) request.denoising_strength = form.hr_denoising_strength;
  if (kind === "img2img" && form.has_mask && form.soft_inpainting)
    request.alwayson_scripts = { "Soft Inpainting": { args: [true, ...SOFT.map(({ name }) => form[name])] } };
  for (const { name } of [{ name: "hr_denoising_strength" }, { name: "soft_inpainting" }, ...SOFT]) delete request[name];
  return request;
}
