// Clients of AUTOMATIC1111's API, as their authors published them, against this server.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { after, before, describe, test } from "node:test";
import { startServer } from "./server.mjs";

const require = createRequire(import.meta.url);
const sharp = require("sharp");
const metadata = require("stable-diffusion-image-metadata");
const SMALL = { prompt: "a red fox", negative_prompt: "blue", steps: 1, width: 64, height: 64, seed: 7 };

// Two of the packages mix the two kinds of modules, which Node tells apart by itself from 20.19 and 22.12 on only.
const [major, minor] = process.versions.node.split(".").map(Number);
const tooOld = major < 20 || (major === 20 && minor < 19) || (major === 22 && minor < 12) ? "Node 20.19 or newer loads this package" : false;

let server;
before(async () => (server = await startServer()));
after(() => server.stop());

const picture = () => sharp({ create: { width: 64, height: 64, channels: 3, background: { r: 200, g: 80, b: 40 } } });
const base64 = async (image) => (await image.png().toBuffer()).toString("base64");
async function sizeOf(image) {
  const { width, height } = await image.metadata();
  return [width, height];
}

/* What the two packages on axios have in common. */
function axiosClient(name) {
  describe(name, () => {
    const { StableDiffusionApi } = require(name);
    const api = () => new StableDiffusionApi({ baseUrl: server.url, defaultStepCount: 1 });

    test("txt2img", async () => {
      const result = await api().txt2img({ ...SMALL, batch_size: 2 });
      assert.equal(result.images.length, 2);
      assert.deepEqual(await sizeOf(result.image), [64, 64]);
      const info = JSON.parse(result.info);
      assert.deepEqual(info.all_seeds, [7, 8]);
      assert.match(info.infotexts[0], /^a red fox\nNegative prompt: blue\nSteps: 1, Sampler: Euler a,/);
      assert.equal(result.parameters.sampler_name, "Euler a");
    });

    test("txt2img with hires fix", async () => {
      const result = await api().txt2img({ ...SMALL, enable_hr: true, hr_scale: 2, hr_upscaler: "Latent" });
      assert.deepEqual(await sizeOf(result.image), [128, 128]);
    });

    test("img2img, inpainting", async () => {
      const redrawn = await api().img2img({ ...SMALL, init_images: [picture()], denoising_strength: 0.5 });
      assert.deepEqual(await sizeOf(redrawn.image), [64, 64]);
      assert.equal(redrawn.parameters.init_images, null);
      const mask = sharp({ create: { width: 64, height: 64, channels: 3, background: "black" } }).composite([
        { input: { create: { width: 16, height: 16, channels: 3, background: "white" } }, left: 32, top: 32 }]);
      const painted = await api().img2img({ ...SMALL, init_images: [picture()], mask_image: mask, inpainting_fill: 1 });
      const { data } = await painted.image.raw().toBuffer({ resolveWithObject: true });
      assert.deepEqual([...data.subarray(0, 3)], [200, 80, 40], "outside of the mask nothing changes");
    });

    test("extras, png-info, interrogate", async () => {
      const large = await api().extraSingle({ image: picture(), upscaler_1: "Lanczos", upscaling_resize: 3 });
      assert.deepEqual(await sizeOf(large.image), [192, 192]);
      /* It sends "image_list" where A1111 reads "imageList". */
      await assert.rejects(api().extraBatch({ images: [picture()], name_list: ["a"], upscaler_1: "Lanczos" }),
        (error) => error.response.status === 422 && error.response.data.detail[0].loc[1] === "imageList");
      await api().pngInfo(picture());
      await assert.rejects(api().interrogate(picture(), "clip"), (error) => error.response.status === 501);
    });

    test("lists and options", async () => {
      const client = api();
      const samplers = await client.getSamplers(), upscalers = await client.getUpscalers();
      assert.ok(samplers.some((s) => s.name === "Euler a" && s.aliases.includes("k_euler_a")));
      assert.equal(upscalers[0].name, "None");
      for (const list of ["getHypernetworks", "getFaceRestorers", "getRealesrganModels", "getPromptStyles"])
        assert.ok(Array.isArray(await client[list]()), list);
      assert.equal((await client.getCmdFlags()).api, true);
      const options = await client.getOptions();
      assert.equal(options.samples_format, "png");
      await client.setOptions({ ...options, CLIP_stop_at_last_layers: 2 });
      assert.equal((await client.getOptions()).CLIP_stop_at_last_layers, 2);
      await client.setOptions({ CLIP_stop_at_last_layers: 1 });
      await client.refreshCheckpoints();
      assert.ok((await client.getCurrentModel()).length > 0);
    });

    test("idle", async () => {
      assert.equal(await api().waitForReady(0.05), true);
      assert.equal((await api().getProgress()).progress, 0);
    });

    test("ControlNet's lists", async () => {
      assert.ok(Array.isArray(await api().ControlNet.getModels()));
      assert.ok((await api().ControlNet.getModules()).includes("none"));
    });
  });
}
axiosClient("a1111-webui-api");
axiosClient("stable-diffusion-api");

test("a1111-webui-api: model switch by name, log-in", async () => {
  const { StableDiffusionApi } = require("a1111-webui-api");
  const locked = await startServer({ users: "anna:secret\n" });
  try {
    const api = new StableDiffusionApi({ baseUrl: locked.url });
    await assert.rejects(api.getSamplers(), (error) => error.response.status === 401 &&
      error.response.data.detail === "Not authenticated");
    api.setAuth("anna", "wrong");
    await assert.rejects(api.getSamplers(), (error) => error.response.data.detail === "Incorrect username or password");
    api.setAuth("anna", "secret");
    const models = await api.getSdModels();
    assert.ok(models.length > 0);
    await api.setModel(models[0].model_name);
    assert.equal(await api.waitForReady(0.05), true);
    assert.equal(await api.getCurrentModel(), models[0].title);
  } finally {
    await locked.stop();
  }
});

describe("stable-diffusion-client", { skip: tooOld }, () => {
  if (tooOld) return;
  const { StableDiffusionApi } = require("stable-diffusion-client");
  const api = () => new StableDiffusionApi({ baseUrl: server.url, defaultStepCount: 1 });

  test("txt2img, img2img", async () => {
    const result = await api().txt2img(SMALL);
    assert.equal(result.info.seed, 7);
    assert.equal(result.info.infotexts.length, 1);
    const redrawn = await api().img2img({ ...SMALL, init_images: [picture()] });
    assert.equal(redrawn.images.length, 1);
  });

  test("every call answers JSON, empty ones too", async () => {
    const client = api();
    await client.refreshCheckpoints();
    assert.equal(await client.setOptions({ jpeg_quality: 81 }), null);
    for (const call of ["getSamplers", "getUpscalers", "getSdModels", "getHypernetworks", "getFaceRestorers",
      "getRealesrganModels", "getPromptStyles"])
      assert.ok(Array.isArray(await client[call]()), call);
    assert.equal(await client.waitForReady(0.05), true);
  });
});

describe("node-sd-webui", { skip: tooOld }, () => {
  test("txt2img, img2img, png-info", async () => {
    const { default: sdwebui } = await import("node-sd-webui");
    const client = sdwebui({ apiUrl: server.url });
    const small = { prompt: "a red fox", steps: 1, width: 64, height: 64, seed: 7, samplingMethod: "Euler a", batchSize: 2 };
    const { images, info } = await client.txt2img(small);
    assert.equal(images.length, 2);
    assert.deepEqual(JSON.parse(info).all_seeds, [7, 8]);
    const redrawn = await client.img2img({ ...small, batchSize: 1, imageData: [images[0]] });
    assert.equal(redrawn.images.length, 1);
    const read = await client.pngInfo({ imageData: images[0] });
    assert.equal(read.prompt, "a red fox");
    assert.equal(read.steps, 1);
    assert.equal(read.samplingMethod, "Euler a");
  });
});

describe("stable-diffusion-image-metadata", () => {
  const { StableDiffusionApi } = require("a1111-webui-api");
  const read = async (format, prompt) => {
    const api = new StableDiffusionApi({ baseUrl: server.url });
    const result = await api.txt2img({ ...SMALL, prompt, sampler_name: "Euler a", cfg_scale: 6.5,
      override_settings: { samples_format: format } });
    const bytes = Buffer.from(result.response.data.images[0], "base64");
    const [parameters, isParameters] = await metadata.extract(bytes);
    assert.ok(isParameters);
    assert.equal(parameters, JSON.parse(result.info).infotexts[0], `${format}: every character`);
    return metadata.parse(parameters);
  };
  for (const format of ["png", "jpg", "webp"])
    test(`reads what we write into ${format}`, async () => {
      const found = await read(format, "ein roter Fuchs über dem Fluß");
      assert.equal(found.prompt, "ein roter Fuchs über dem Fluß");
      assert.equal(found.negativePrompt, "blue");
      assert.equal(found.seed, "7");
      assert.equal(found.steps, "1");
      assert.equal(found.sampler, "Euler a");
      assert.equal(found.cfgScale, "6.5");
      assert.deepEqual([found.width, found.height], [64, 64]);
    });
  test("beyond Latin-1", async () => {
    assert.equal((await read("jpg", "赤い狐")).prompt, "赤い狐");
    assert.equal((await read("png", "赤い狐")).prompt, "赤い狐");
  });
});
