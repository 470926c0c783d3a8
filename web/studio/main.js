// The studio: a form that makes jobs, the queue that draws them, the pictures that came of it. What the form holds
// lives on the server, so that another device, or this one after a reload, goes on where it was.
import { byId, load, make, save, throttle } from "../common/dom.js";
import { documents, getOptions, jobs, lists, setOptions, watchEvents, whoAmI } from "./api.js";
import { ControlNet } from "./control_net.js";
import { Extras } from "./extras.js";
import { FIELDS, MINI, toRequest } from "./fields.js";
import { acceptPictures, fetchDataUrl, readDataUrl } from "./files.js";
import { Form, prompts } from "./form.js";
import { Gallery } from "./gallery.js";
import { Networks } from "./networks.js";
import { parseInfotext, toForm } from "./infotext.js";
import { PngInfo } from "./png_info.js";
import { bindPrompt } from "./prompt_box.js";
import { isLive, Queue } from "./queue.js";
import { Result } from "./result.js";
import { Scripts } from "./scripts.js";
import { Source } from "./source.js";
import { setUpTabs } from "./tabs.js";
import { Viewer } from "./viewer.js";

const form = new Form(byId("fields"), remember);
const source = new Source(byId("source-panel"), sourceChanged, tell);
const queue = new Queue(byId("queue"), { tell });
const viewer = new Viewer([
  { text: "★", title: "Favourite", act: (item) => kept(item) && gallery.change(kept(item), { favourite: !item.favourite }) },
  { text: "To image", act: (item) => send("img2img", item) },
  { text: "To inpaint", act: (item) => send("inpaint", item) },
  { text: "To upscale", act: (item) => send("extras", item) },
  { text: "Use its settings", act: (item) => fillFrom(item.infotext ?? "") },
  { text: "Bin", title: "Into the trash; what lies there is removed for good", act: discard },
]);
const openViewer = (items, index) => viewer.open(items, index);
const gallery = new Gallery({ onOpen: openViewer, tell });
const result = new Result({ onOpen: openViewer, onSend: send });
const extras = new Extras(byId("page-extras"), (request) => submit("extras", request));
const pngInfo = new PngInfo(byId("page-pnginfo"), { onUse: fillFrom, onSend: send, tell });
const controlNet = new ControlNet(byId("controlnet-units"), byId("controlnet-state"), tell);
const scripts = new Scripts(byId("script"), byId("script-state"), tell);
const networks = new Networks(byId("networks"), byId("prompt"), { onModel: chooseModel, tell });
const tabs = setUpTabs((tab) => chooseKind(tab));
const recount = [bindPrompt(byId("prompt"), byId("prompt-tokens"), remember), bindPrompt(byId("negative"), byId("negative-tokens"), remember)];
let isRestoring = false;
let awaited = null; // the job whose pictures the middle will show

// The gallery's row of a picture: that of a job's result says which it is.
const kept = (item) => (item.gallery === undefined ? item : item.gallery > 0 ? { ...item, id: item.gallery } : null);

async function discard(item) {
  const own = kept(item);
  if (own === null) return;
  if (!own.trashed) await gallery.change(own, { trashed: true });
  else if (confirm("Remove this picture for good?")) await gallery.remove(own);
}

let toastTimer = 0;
function tell(text) {
  const toast = byId("toast");
  toast.textContent = text;
  toast.hidden = false;
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => (toast.hidden = true), 6000);
}

function showProblem(text) {
  byId("problem").textContent = text ?? "";
  byId("problem").hidden = !text;
}

function chooseKind(tab) {
  if (tab === "txt2img" || tab === "img2img") {
    form.setKind(tab);
    scripts.setKind(tab);
  }
  byId("source-panel").hidden = tab !== "img2img";
  byId("page-generate").setAttribute("aria-labelledby", `tab-${tab}`);
  remember();
}

function sourceChanged() {
  form.set({ has_mask: source.hasMask });
}
source.onSize = (size) => size && form.set({ width: Math.round(size.width / 8) * 8, height: Math.round(size.height / 8) * 8 });

// ---- what the form holds, kept by the server

const keep = throttle(() => documents.save("form", { kind: form.kind, values: form.values, ...prompts() }).catch(() => {}), 1500);
function remember() {
  if (!isRestoring) keep();
}

async function restore() {
  isRestoring = true;
  const kept = await documents.load("form").catch(() => null);
  if (kept !== null) {
    const known = FIELDS.filter((field) => typeof kept.values?.[field.name] === typeof field.value);
    form.set(Object.fromEntries(known.map((field) => [field.name, kept.values[field.name]])));
    byId("prompt").value = kept.prompt ?? "";
    byId("negative").value = kept.negative_prompt ?? "";
    tabs.select(kept.kind === "img2img" ? "img2img" : "txt2img");
  }
  if (kept === null && byId("model").value === "mini") form.set(MINI);
  isRestoring = false;
  recount.forEach((count) => count());
}

function fillFrom(infotext) {
  const parsed = parseInfotext(infotext);
  if (!parsed.hasSettings) {
    tell("There are no settings in this text.");
    return;
  }
  const { form: changes, model, clipSkip } = toForm(parsed);
  byId("prompt").value = parsed.prompt;
  byId("negative").value = parsed.negative;
  form.set(changes);
  byId("clip-skip").value = clipSkip;
  const option = [...byId("model").options].find((o) => o.dataset.name === model || o.value === model);
  if (option) byId("model").value = option.value;
  recount.forEach((count) => count());
  remember();
}

async function send(where, item) {
  if (!item) return;
  if (where === "prompt") return fillFrom(item.infotext ?? "");
  if (where === "seed") return form.set({ seed: item.seed ?? Number(parseInfotext(item.infotext ?? "").settings.Seed ?? -1) });
  const url = item.url.startsWith("data:") ? item.url : await fetchDataUrl(item.url);
  if (where === "extras") {
    extras.set(url);
    tabs.select("extras");
    return;
  }
  tabs.select("img2img");
  await source.set(url);
  source.onSize(source.mask.size);
}

// ---- drawing

function request() {
  const values = toRequest(form.kind, form.values);
  return { ...values, ...prompts(), ...(form.kind === "img2img" ? source.toRequest() : {}), ...controlNet.toRequest(), ...scripts.toRequest(), save_images: true, send_images: false,
    override_settings: { sd_model_checkpoint: byId("model").value, sd_vae: byId("vae").value, CLIP_stop_at_last_layers: Number(byId("clip-skip").value) } };
}

async function submit(kind, body) {
  showProblem(null);
  try {
    const { id } = kind === "extras" ? await jobs.enlarge(body) : await jobs.draw(kind, body);
    awaited = id;
    await queue.reload();
    showNow();
  } catch (error) {
    showProblem(error.message);
  }
}

async function generate() {
  if (form.kind === "img2img" && source.url === null) {
    showProblem("Choose a picture to start from, or go to Text.");
    return;
  }
  await submit(form.kind, request());
}

async function showResult(id) {
  try {
    const { pictures, seconds, notes } = await jobs.result(id);
    result.set(pictures.map((picture, index) => ({ ...picture, name: `${id}-${index + 1}.png` })), `${seconds.toFixed(1)} s`);
    if (pictures.length) form.lastSeed = pictures[0].seed;
    if (notes.length) tell(notes.join("; "));
  } catch (error) {
    showProblem(error.message);
  }
}

async function jobChanged(job) {
  const ended = queue.update(job);
  showNow();
  if (!ended && isLive(job)) return;
  if (job.state === "failed" && job.id === awaited) showProblem(job.error);
  if (job.pictures > 0) await Promise.all([showResult(job.id), gallery.reload()]);
  if (byId("forever").checked && job.id === awaited && job.state === "done" && !job.interrupted) await generate();
}

function showNow() {
  const { running } = queue;
  byId("interrupt").disabled = running === null;
  byId("skip").disabled = running === null;
  byId("queue-count").textContent = queue.jobs.size ? `${queue.jobs.size}` : "";
  result.follow(running);
}

function queueChanged({ jobs: count, paused }) {
  byId("queue-line").textContent = count ? `${count} ${count === 1 ? "job" : "jobs"} on this server` : "";
  byId("queue-paused").textContent = paused ?? "";
  byId("queue-paused").hidden = !paused;
}

const onRunning = (work) => () => queue.running && work(queue.running.id).catch((error) => tell(error.message));

// ---- lists

async function fillLists() {
  const pairs = (names) => names.map((name) => [name, name]);
  const [models, vaes, samplers, schedulers, upscalers, latent, styles, options] = await Promise.all(
    [lists.models(), lists.vaes(), lists.samplers(), lists.schedulers(), lists.upscalers(), lists.latentModes(), lists.styles(), getOptions()]);
  byId("model").replaceChildren(...models.map((m) => make("option", { value: m.title, text: m.title, "data-name": m.model_name })));
  byId("model").value = options.sd_model_checkpoint ?? models[0]?.title;
  byId("vae").replaceChildren(...["Automatic", "None", ...vaes.map((v) => v.model_name)].map((name) => make("option", { value: name, text: name })));
  byId("vae").value = options.sd_vae ?? "Automatic";
  byId("clip-skip").value = options.CLIP_stop_at_last_layers ?? 1;
  byId("styles").replaceChildren(make("option", { value: "", text: "Styles" }), ...styles.map((s) => make("option", { value: s.name, text: s.name })));
  byId("styles").styles = styles;
  const names = models.map((m) => m.model_name);
  form.setLists({
    refiners: pairs(["None", ...names]),
    hrModels: pairs(["Use same checkpoint", ...names]),
    samplers: pairs(samplers.map((s) => s.name)),
    schedulers: schedulers.map((s) => [s.label, s.label]),
    hrUpscalers: pairs([...latent.map((l) => l.name), ...upscalers.map((u) => u.name).filter((name) => name !== "None")]),
  });
  extras.setUpscalers(upscalers.map((u) => u.name));
}

function chooseModel(title) {
  byId("model").value = title;
  byId("model").dispatchEvent(new Event("change"));
}

function addStyle() {
  const style = byId("styles").styles?.find((s) => s.name === byId("styles").value);
  if (!style) return;
  for (const [id, text] of [["prompt", style.prompt], ["negative", style.negative_prompt]]) {
    if (!text) continue;
    const box = byId(id);
    if (text.includes("{prompt}")) box.value = text.replace("{prompt}", box.value);
    else box.value = box.value.trim() === "" ? text : `${box.value.trim()}, ${text}`;
    box.dispatchEvent(new Event("input"));
  }
}

// A style is this user's: the prompts as they stand, under a name.
async function saveStyle() {
  const name = prompt("The style's name", byId("styles").value)?.trim();
  if (!name) return;
  const styles = [...(byId("styles").styles ?? []).filter((style) => style.name !== name), { name, ...prompts() }];
  try {
    await documents.save("styles", { styles });
    await fillLists();
    byId("styles").value = name;
  } catch (error) {
    tell(error.message);
  }
}

function bindControls() {
  byId("page-generate").addEventListener("submit", (event) => {
    event.preventDefault();
    generate();
  });
  byId("interrupt").addEventListener("click", onRunning(jobs.interrupt));
  byId("skip").addEventListener("click", onRunning(jobs.skip));
  byId("style-apply").addEventListener("click", addStyle);
  byId("style-save").addEventListener("click", saveStyle);
  byId("paste").addEventListener("click", () => fillFrom(byId("prompt").value));
  acceptPictures(byId("prompt"), async (file) => {
    await pngInfo.set(await readDataUrl(file));
    fillFrom(byId("pnginfo-text").textContent);
  });
  for (const [id, name, of] of [["model", "sd_model_checkpoint", String], ["vae", "sd_vae", String], ["clip-skip", "CLIP_stop_at_last_layers", Number]])
    byId(id).addEventListener("change", () => setOptions({ [name]: of(byId(id).value) }).catch((error) => tell(error.message)));
  byId("theme").addEventListener("click", () => setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark"));
  addEventListener("keydown", (event) => {
    if ((event.ctrlKey || event.metaKey) && event.key === "Enter") generate();
    else if (event.key === "Escape" && !byId("viewer").open) onRunning(jobs.interrupt)();
    else return;
    event.preventDefault();
  });
}

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  byId("theme").textContent = theme === "dark" ? "Light" : "Dark";
  save("theme", theme);
}

async function begin() {
  setTheme(load("theme", matchMedia("(prefers-color-scheme: light)").matches ? "light" : "dark"));
  bindControls();
  whoAmI().then(({ name }) => (byId("user").textContent = name ?? ""), () => {});
  try {
    await fillLists();
  } catch (error) {
    showProblem(error.message);
  }
  await Promise.all([scripts.load(), controlNet.load(), networks.load()]);
  await restore();
  await queue.reload().catch((error) => showProblem(error.message));
  watchEvents({ job: jobChanged, progress: jobChanged, queue: queueChanged }, (isOpen) => {
    document.body.classList.toggle("offline", !isOpen);
    if (isOpen) queue.reload().then(showNow, () => {});
    else byId("progress-text").textContent = "The server is not reachable; trying again.";
  });
  showNow();
  await gallery.reload();
  document.body.dataset.ready = "true";
}

begin();
