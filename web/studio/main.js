// The studio: a form that makes jobs, the queue that draws them, the pictures that came of it. What the form holds
// lives on the server, so that another device, or this one after a reload, goes on where it was.
import { byId, load, make, save, throttle } from "../common/dom.js";
import { getOptions, jobs, lists, logOut, setOptions, watchEvents, whoAmI } from "./api.js";
import { ControlNet } from "./control_net.js";
import { Extras } from "./extras.js";
import { FIELDS, MINI, toRequest } from "./fields.js";
import { acceptPictures, fetchDataUrl, readDataUrl } from "./files.js";
import { Form, prompts } from "./form.js";
import { Gallery } from "./gallery.js";
import { GalleryChoice } from "./gallery_choice.js";
import { parseInfotext, toForm } from "./infotext.js";
import { Kept, short } from "./kept.js";
import { setUpKeys } from "./keys.js";
import { Networks } from "./networks.js";
import { PngInfo } from "./png_info.js";
import { bindPrompt } from "./prompt_box.js";
import { PromptCompletion } from "./prompt_completion.js";
import { isLive, Queue } from "./queue.js";
import { Result } from "./result.js";
import { Scripts } from "./scripts.js";
import { Sender } from "./sender.js";
import { ServerSheet } from "./server_sheet.js";
import { SettingsSheet } from "./settings_sheet.js";
import { Source } from "./source.js";
import { Styles } from "./styles.js";
import { setUpTabs } from "./tabs.js";
import { Viewer } from "./viewer.js";
import { setUpViews, show as showView } from "./views.js";

const VARY = 0.15; // strength of a variation that nobody has set

const keptForm = new Kept("form", () => ({ kind: form.kind, values: form.values, ...prompts(), script: scripts.values, units: controlNet.units.map((unit) => unit.state) }));
const keptSource = new Kept("source", async () => ({ url: await short(source.url, 560000), mask: await short(source.mask.maskUrl(), 170000), colours: await short(source.mask.coloursUrl(), 170000) }));
const keptUnits = new Kept("units", async () => ({ pictures: await Promise.all(controlNet.units.map(({ url }) => short(url, 300000))) }));
const remember = () => keptForm.changed();

const form = new Form(byId("fields"), remember);
const source = new Source(byId("source-panel"), { onChange: sourceChanged, onMany: drawMany, tell });
const queue = new Queue(byId("queue"), { onMoved: () => catchUp(), tell });
const viewer = new Viewer([
  { text: "☆", title: "Favourite (F)", key: "f", act: mark, show: (item, button) => (button.textContent = item.favourite ? "★" : "☆") },
  { text: "To image", closes: true, act: (item) => send("img2img", item) },
  { text: "To inpaint", closes: true, act: (item) => send("inpaint", item) },
  { text: "To upscale", closes: true, act: (item) => send("extras", item) },
  { text: "Use its settings", closes: true, act: (item) => fillFrom(item.infotext ?? "") },
  { text: "Save", title: "Save the file (S)", key: "s", act: download },
  { text: "Restore", title: "Out of the trash", act: restore, show: (item, button) => (button.hidden = !item.trashed) },
  { text: "Bin", title: "Into the trash; what lies there is removed for good (Delete)", key: "Delete", act: discard,
    show: (item, button) => (button.textContent = item.trashed ? "Remove for good" : "Bin") },
]);
const openViewer = (items, index, more) => viewer.open([...items], index, more);
const gallery = new Gallery({ onOpen: openViewer, onShow: () => choice?.show(), tell });
const choice = new GalleryChoice(gallery, tell);
const result = new Result({ onOpen: openViewer, onSend: send });
const extras = new Extras(byId("extras-form"), { onSubmit: (request) => submit("extras", request), onMany: enlargeMany, tell });
const pngInfo = new PngInfo(byId("page-pnginfo"), { onUse: fillFrom, onSend: send, tell });
const controlNet = new ControlNet(byId("controlnet-units"), byId("controlnet-state"), { onChange: unitsChanged, shownUrl: () => result.current?.url ?? null, shape: () => form.values, tell });
const scripts = new Scripts(byId("script"), byId("script-state"), { onChange: remember, tell });
const networks = new Networks(byId("networks"), byId("prompt"), { onModel: chooseModel, shownPicture: () => (result.current && kept(result.current)?.id) ?? null, tell });
const styles = new Styles(tell);
for (const id of ["prompt", "negative"]) new PromptCompletion(byId(id), (piece) => networks.complete(piece));
const sender = new Sender({ onAccepted: accepted, onRefused: showProblem, onWaiting: showWaiting, onSlow: (isSlow) => (byId("generate").textContent = isSlow ? "Sending…" : "Generate") });
new SettingsSheet(tell);
const tabs = setUpTabs((tab) => chooseKind(tab));
const recount = [bindPrompt(byId("prompt"), byId("prompt-tokens"), remember, pasted), bindPrompt(byId("negative"), byId("negative-tokens"), remember)];
let awaited = null; // the job whose pictures the middle will show
let known = new Set(); // jobs whose end was dealt with
let wasAway = false;

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
  if (text) showView("result");
}

// ---- what is done with pictures

// The gallery's row of a picture: that of a job's result says which it is.
const kept = (item) => (item.gallery === undefined ? item : item.gallery > 0 ? { ...item, id: item.gallery } : null);

async function change(item, changes) {
  const own = kept(item);
  if (own === null) return tell("This picture is not kept in the history.");
  try {
    await gallery.change(own, changes);
    Object.assign(item, changes);
  } catch (error) {
    tell(error.message);
  }
}

function mark(item) {
  return change(item, { favourite: !item.favourite });
}

const takeOut = (item) => viewer.items.splice(viewer.items.indexOf(item), 1);

async function restore(item) {
  await change(item, { trashed: false });
  if (!item.trashed) takeOut(item);
}

async function discard(item) {
  if (!item.trashed) {
    await change(item, { trashed: true });
    if (item.trashed) takeOut(item);
  } else if (confirm("Remove this picture for good?")) {
    await gallery.remove(kept(item)).then(() => takeOut(item), (error) => tell(error.message));
  }
}

function download(item) {
  make("a", { href: item.url, download: item.name ?? "picture.png" }).click();
}

function chooseKind(tab) {
  if (tab === "txt2img" || tab === "img2img") {
    form.setKind(tab);
    scripts.setKind(tab);
  }
  byId("source-panel").hidden = tab !== "img2img";
  if (tab !== "extras" && tab !== "pnginfo") byId("page-generate").setAttribute("aria-labelledby", `tab-${tab}`);
  remember();
}

function sourceChanged() {
  form.set({ has_mask: source.hasMask });
  keptSource.changed();
}
source.onSize = (size) => size && form.set({ width: Math.round(size.width / 8) * 8, height: Math.round(size.height / 8) * 8 });

function unitsChanged() {
  keptUnits.changed();
  remember();
}

// ---- what the form holds, kept by the server

function restoreForm(document) {
  const fields = FIELDS.filter((field) => typeof document.values?.[field.name] === typeof field.value);
  form.set(Object.fromEntries(fields.map((field) => [field.name, document.values[field.name]])));
  byId("prompt").value = document.prompt ?? "";
  byId("negative").value = document.negative_prompt ?? "";
  tabs.select(document.kind === "img2img" ? "img2img" : "txt2img");
  if (document.script) scripts.values = document.script;
}

async function restoreAll() {
  const [document, picture, units] = await Promise.all([keptForm.load(), keptSource.load(), keptUnits.load()]);
  if (document !== null) restoreForm(document);
  else if (byId("model").value === "mini") form.set(MINI);
  if (picture?.url) await source.set(picture.url);
  if (picture?.url && picture.colours) await source.mask.setColours(picture.colours);
  if (picture?.url && picture.mask) await source.mask.setMask(picture.mask);
  controlNet.units.forEach((unit, index) => {
    if (units?.pictures?.[index]) unit.set(units.pictures[index]);
    if (document?.units?.[index]) unit.state = document.units[index];
    unit.onChange();
  });
  recount.forEach((count) => count());
}

function fillFrom(infotext) {
  const parsed = parseInfotext(infotext);
  if (!parsed.hasSettings) {
    tell("There are no settings in this text.");
    return;
  }
  const { form: changes, model, clipSkip, vae } = toForm(parsed);
  byId("prompt").value = parsed.prompt;
  byId("negative").value = parsed.negative;
  form.set(changes);
  byId("clip-skip").value = clipSkip;
  if (vae !== undefined && [...byId("vae").options].some((o) => o.value === vae)) byId("vae").value = vae;
  const option = [...byId("model").options].find((o) => o.dataset.name === model || o.value === model);
  if (option) byId("model").value = option.value;
  if (byId("page-generate").hidden) tabs.select(form.kind);
  recount.forEach((count) => count());
  byId("prompt").dispatchEvent(new Event("input", { bubbles: true }));
  showView("controls");
}

// Infotext in the clipboard fills the form instead of becoming a prompt.
function pasted(text) {
  if (!parseInfotext(text).hasSettings || !/(^|\n)Steps: \d/.test(text)) return false;
  fillFrom(text);
  tell("The form is filled from the text.");
  return true;
}

// A picture dropped where nothing else takes it: its settings, or else the picture itself.
async function dropped(file) {
  const url = await readDataUrl(file);
  await pngInfo.set(url);
  if (parseInfotext(pngInfo.text.textContent).hasSettings) {
    fillFrom(pngInfo.text.textContent);
    tell("The form is filled from the picture.");
  } else await send("img2img", { url });
}

async function send(where, item) {
  if (!item) return;
  const seed = item.seed ?? Number(parseInfotext(item.infotext ?? "").settings.Seed ?? -1);
  if (where === "prompt") return fillFrom(item.infotext ?? "");
  if (where === "seed") return form.set({ seed });
  if (where === "vary") {
    form.set({ seed, subseed: -1, subseed_strength: form.values.subseed_strength || VARY });
    return tell("Each picture varies this one; the panel Variation says how much.");
  }
  try {
    const url = item.url.startsWith("data:") ? item.url : await fetchDataUrl(item.url);
    showView("controls");
    if (where === "extras") {
      extras.set(url);
      return tabs.select("extras");
    }
    tabs.select("img2img");
    await source.set(url);
    source.onSize(source.mask.size);
    byId("source-panel").scrollIntoView({ block: innerWidth > 760 ? "nearest" : "start" });
    if (where === "inpaint") source.mask.canvas.focus({ preventScroll: true });
  } catch (error) {
    tell(error.message);
  }
}

// ---- drawing

function request() {
  const values = toRequest(form.kind, form.values), units = controlNet.toRequest();
  const alwayson_scripts = { ...values.alwayson_scripts, ...units.alwayson_scripts };
  return { ...values, ...prompts(), ...(form.kind === "img2img" ? source.toRequest() : {}), ...units, ...scripts.toRequest(), alwayson_scripts, do_not_save_grid: !scripts.isUsed, save_images: true, send_images: false,
    override_settings: { sd_model_checkpoint: byId("model").value, sd_vae: byId("vae").value, CLIP_stop_at_last_layers: Number(byId("clip-skip").value) } };
}

function submit(kind, body) {
  showProblem(null);
  showView("result");
  return sender.send(kind, body);
}

// Its events tell the rest, should the list be missed.
async function accepted(id) {
  awaited = id;
  await catchUp().catch(() => {});
}

function showWaiting(isWaiting) {
  showProblem(isWaiting ? "The server cannot be reached. This job is sent as soon as it is back; Stop takes it back." : null);
  showNow();
}

// One job for each file; request(url) makes it.
async function submitMany(kind, files, request) {
  if (files.length > 1 && !confirm(`Make ${files.length} jobs, one for each picture?`)) return;
  for (const [index, file] of files.entries()) {
    if (!(await submit(kind, request(await readDataUrl(file))))) return;
    tell(`${index + 1} of ${files.length} sent.`);
  }
}

function drawMany(files) {
  return submitMany("img2img", files, (url) => {
    const { mask, ...body } = request();
    return { ...body, init_images: [url] };
  });
}

function enlargeMany(files) {
  return submitMany("extras", files, (url) => extras.toRequest(url));
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
    pictures.sort((a, b) => (b.role === "grid") - (a.role === "grid")); // grids first, else as they were drawn
    result.set(pictures.map((picture, index) => ({ ...picture, name: `${id}-${index + 1}.png` })), `drawn in ${seconds.toFixed(1)} s`);
    if (pictures.length) form.lastSeed = pictures[0].seed;
    if (notes.length) tell(notes.join("; "));
  } catch (error) {
    showProblem(error.message);
  }
}

// The last job's pictures, for a page that has just been opened.
function showLast() {
  const [first] = gallery.items;
  if (!first || result.items.length > 0) return;
  const items = gallery.items.filter(({ job }) => job === first.job).reverse();
  result.set(items, "");
  form.lastSeed = items[0].seed;
}

async function jobEnded(job) {
  if (known.has(job.id)) return;
  known.add(job.id);
  if (job.state === "failed" && job.id === awaited) showProblem(job.error);
  if (job.pictures > 0) await Promise.all([showResult(job.id), gallery.reload()]);
  if (byId("forever").checked && job.id === awaited && job.state === "done" && !job.interrupted) await generate();
}

async function jobChanged(job) {
  const ended = queue.update(job);
  showNow();
  if (ended) await jobEnded(job);
}

// Of a batch that is done, or a grid that was made of an ended job's pictures.
async function pictureKept(job) {
  await Promise.all([gallery.reload(), ...(!isLive(job) && job.id === awaited ? [showResult(job.id)] : [])]);
}

// The queue as it is now, and what ended while nobody told.
async function catchUp() {
  const { list, ended, queue: all } = await queue.reload();
  showQueue(all);
  showNow();
  const missed = list.filter((job) => job.id === awaited && !isLive(job) && !ended.includes(job));
  for (const job of [...ended, ...missed].sort((a, b) => a.ended - b.ended)) await jobEnded(job);
}

function showNow() {
  const { running } = queue;
  byId("interrupt").disabled = byId("interrupt-here").hidden = running === null && sender.unsent === null;
  byId("skip").disabled = running === null;
  byId("queue-count").textContent = queue.jobs.size ? `${queue.jobs.size}` : "";
  result.follow(running);
}

// Places and times change with what others do.
const lookAgain = throttle(() => catchUp().catch(() => {}), 1000);

function queueChanged(all) {
  showQueue(all);
  if ([...queue.jobs.values()].some((job) => job.state === "queued")) lookAgain();
}

function showQueue({ jobs: count, paused }) {
  byId("queue-line").textContent = count ? `${count} ${count === 1 ? "job" : "jobs"} on this server` : "";
  byId("queue-paused").textContent = paused ?? "";
  byId("queue-paused").hidden = !paused;
}

const onRunning = (work) => () => queue.running && work(queue.running.id).catch((error) => tell(error.message));
const interrupt = onRunning(jobs.interrupt);
const stop = () => (sender.unsent === null ? interrupt() : sender.forget());
const skip = onRunning(jobs.skip);

// ---- lists

async function fillLists() {
  const pairs = (names) => names.map((name) => [name, name]);
  const [models, vaes, samplers, schedulers, upscalers, latent, styleList, options] = await Promise.all(
    [lists.models(), lists.vaes(), lists.samplers(), lists.schedulers(), lists.upscalers(), lists.latentModes(), lists.styles(), getOptions()]);
  byId("model").replaceChildren(...models.map((m) => make("option", { value: m.title, text: m.title, "data-name": m.model_name })));
  const chosen = models.find((m) => m.title === options.sd_model_checkpoint || m.model_name === options.sd_model_checkpoint);
  if (chosen) byId("model").value = chosen.title;
  byId("vae").replaceChildren(...["Automatic", "None", ...vaes.map((vae) => vae.model_name)].map((text) => make("option", { value: text, text })));
  byId("vae").value = [...byId("vae").options].some((o) => o.value === options.sd_vae) ? options.sd_vae : "Automatic";
  byId("clip-skip").value = options.CLIP_stop_at_last_layers ?? 1;
  const names = models.map((m) => m.model_name);
  gallery.setModels(names);
  styles.set(styleList);
  form.setLists({
    refiners: pairs(["None", ...names]),
    hrSamplers: [["Use same sampler", "The same"], ...pairs(samplers.map((s) => s.name))],
    hrSchedulers: [["Use same scheduler", "The same"], ...schedulers.map((s) => [s.label, s.label])],
    hrModels: [["Use same checkpoint", "The same"], ...pairs(names)],
    samplers: pairs(samplers.map((s) => s.name)),
    schedulers: schedulers.map((s) => [s.label, s.label]),
    hrUpscalers: pairs([...latent.map((l) => l.name), ...upscalers.map((u) => u.name).filter((name) => name !== "None")]),
  });
  const samplerNames = samplers.map((s) => s.name), upscalerNames = upscalers.map((u) => u.name);
  scripts.setLists({ Sampler: samplerNames, "Hires sampler": samplerNames, "Schedule type": schedulers.map((s) => s.label), "Checkpoint name": names, "Refiner checkpoint": names, Upscaler: upscalerNames,
    VAE: ["Automatic", "None", ...vaes.map((vae) => vae.model_name)], Styles: styleList.map((style) => style.name), "Hires upscaler": [...latent.map((l) => l.name), ...upscalerNames], "RNG source": ["NV", "CPU", "GPU"] });
  extras.setUpscalers(upscalers.map((u) => u.name));
}

// Files came or went in the models' folders: what is chosen stays, as long as it is there.
const listsChanged = throttle(() => Promise.all([fillLists(), controlNet.load(), networks.load()]).catch((error) => tell(error.message)), 1000);

function chooseModel(title) {
  byId("model").value = title;
  byId("model").dispatchEvent(new Event("change"));
}

function bindControls() {
  byId("generate-form").addEventListener("submit", (event) => {
    event.preventDefault();
    generate();
  });
  for (const id of ["interrupt", "interrupt-here"]) byId(id).addEventListener("click", stop);
  byId("skip").addEventListener("click", skip);
  byId("paste").addEventListener("click", () => fillFrom(byId("prompt").value));
  acceptPictures(document.body, dropped);
  for (const [id, name, of] of [["model", "sd_model_checkpoint", String], ["vae", "sd_vae", String], ["clip-skip", "CLIP_stop_at_last_layers", Number]])
    byId(id).addEventListener("change", () => setOptions({ [name]: of(byId(id).value) }).catch((error) => tell(error.message)));
  addEventListener("beforeunload", (event) => sender.unsent !== null && event.preventDefault());
  const turnTheme = () => setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark");
  byId("theme").addEventListener("click", turnTheme);
  byId("log-out").addEventListener("click", () => logOut().then(() => location.reload(), (error) => tell(error.message)));
  setUpKeys({ draw: generate, stop, skip, theme: turnTheme, tab: (name) => {
    tabs.select(name);
    byId(`tab-${name}`).focus();
  } });
}

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  byId("theme").textContent = theme === "dark" ? "Light" : "Dark";
  save("theme", theme);
}

async function showUser() {
  const { user, admin: isAdmin, login } = await whoAmI();
  byId("user").textContent = user;
  byId("server").hidden = !isAdmin;
  byId("log-out").hidden = !login;
  if (isAdmin) new ServerSheet(tell);
}

function linkChanged(isOpen) {
  byId("offline").hidden = isOpen;
  if (!isOpen) return void (wasAway = true);
  for (const kept of [keptForm, keptSource, keptUnits]) kept.retry();
  catchUp().then(() => gallery.reload()).then(() => sender.retry()).catch(() => {});
  if (!wasAway) return;
  wasAway = false;
  listsChanged();
  tell("The server is there again.");
}

async function begin() {
  setTheme(load("theme", matchMedia("(prefers-color-scheme: light)").matches ? "light" : "dark"));
  setUpViews();
  bindControls();
  showUser().catch(() => {});
  await Kept.hold([keptForm, keptSource, keptUnits], async () => {
    await Promise.all([fillLists().catch((error) => showProblem(error.message)), scripts.load(), controlNet.load(), networks.load(), gallery.reload()]);
    await restoreAll();
  });
  byId("controls").inert = false; // what was typed before would have been overwritten
  byId("empty").textContent = "Nothing drawn yet.";
  showLast();
  await catchUp().catch((error) => showProblem(error.message));
  watchEvents({ job: jobChanged, progress: jobChanged, picture: pictureKept, queue: queueChanged, models: listsChanged }, linkChanged);
  document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && gallery.reload());
  document.body.dataset.ready = "true";
}

begin();
