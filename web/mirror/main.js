// The mirror: camera -> framer -> link (WebRTC or WebSocket) -> display, and the controls around it.
import { byId, load, make, save } from "../common/dom.js";
import { Backoff } from "../common/backoff.js";
import { CueEditor } from "./cue_editor.js";
import { Display } from "./display.js";
import { readFlags } from "./flags.js";
import { Framer } from "./framer.js";
import { Hud } from "./hud.js";
import { Link, NAMES } from "./link.js";
import { LiveState } from "./live_state.js";
import { Midi } from "./midi.js";
import { bindKeys, bindSwitches, flick, setUpTabs, showPanel, togglePanel } from "./panel.js";
import { Parameters } from "./parameters.js";
import { Prompts } from "./prompts.js";
import { hideRestingPointer, keepAwake, toggleFullScreen } from "./screen.js";
import { FILE, FRONT, SCREEN, Source, listSources, mirrorsByNature } from "./source.js";
import { Stats } from "./stats.js";

const flags = readFlags(location.search);
const camera = byId("camera");
const stats = new Stats();
const display = new Display(byId("picture"), stats);
const framer = new Framer(camera, (captured) => link.frame(captured));
const link = new Link({ framer, display, stats, video: byId("returned") }, showLink);
const source = new Source(camera, () => restartCamera("The camera went away."));
const hud = new Hud(byId("hud"), byId("chart"), byId("figures"), stats);
const state = new LiveState();
const prompts = new Prompts(state);
const parameters = new Parameters(state);
const cues = new CueEditor(sendCue);
const cameraBackoff = new Backoff({ first: 500, most: 10000 });
let file = null;
let running = false;

function sendCue({ fade, prompts: list, strength, steps, seed }) {
  const extra = Object.fromEntries(Object.entries({ strength, steps, seed }).filter(([, value]) => value !== undefined));
  if (list.length === 1) prompts.go(list[0].text, fade);
  else state.set({ prompts: list, ramp_ms: fade * 1000 });
  if (Object.keys(extra).length) state.set(extra);
}

function showLink({ state: now, transport, why }) {
  const line = byId("link");
  const name = NAMES[transport] ?? "";
  const texts = {
    idle: "",
    connecting: `${name}: connecting (${why})`,
    live: `${name} (${why})`,
    waiting: `${name}: ${why}; trying again`,
  };
  line.dataset.state = now;
  line.dataset.transport = transport ?? "";
  line.textContent = texts[now];
}

async function fillSources() {
  const menu = byId("source");
  const chosen = menu.value || load("source", FRONT);
  menu.replaceChildren(...(await listSources()).map(({ id, label }) => make("option", { value: id, text: label })));
  menu.value = chosen;
  if (!menu.value) menu.value = FRONT;
}

const connect = () => link.start(byId("transport").value, byId("codec").value);

async function start() {
  const problem = byId("problem");
  problem.textContent = "";
  clearTimeout(start.timer);
  try {
    await source.open(byId("source").value, file);
  } catch (error) {
    problem.textContent = error.message;
    byId("welcome").hidden = false;
    if (running || flags.autoconnect) start.timer = setTimeout(start, cameraBackoff.next()); // the venue has nobody to press a button
    return;
  }
  cameraBackoff.reset();
  byId("welcome").hidden = true;
  fillSources();
  framer.start();
  if (!running) {
    keepAwake(true);
    connect();
  }
  running = true;
}

function restartCamera(reason) {
  byId("problem").textContent = reason;
  if (byId("source").value === SCREEN) stop();
  else start.timer = setTimeout(start, cameraBackoff.next());
}

function stop() {
  clearTimeout(start.timer);
  running = false;
  keepAwake(false);
  framer.stop();
  link.stop();
  source.close();
  byId("welcome").hidden = false;
}

function bindInput() {
  byId("begin").addEventListener("click", start);
  byId("stop").addEventListener("click", stop);
  byId("source").addEventListener("change", ({ target }) => {
    if (target.value === FILE) {
      byId("video-file").click();
      return;
    }
    save("source", target.value);
    byId("flip").checked = mirrorsByNature(target.value);
    byId("flip").dispatchEvent(new Event("change"));
    if (running) start();
  });
  byId("video-file").addEventListener("change", ({ target }) => {
    [file] = target.files;
    byId("flip").checked = false;
    byId("flip").dispatchEvent(new Event("change"));
    if (file) start();
  });
  byId("size").value = load("size", 512);
  byId("size").addEventListener("change", ({ target }) => {
    framer.size = Number(target.value);
    save("size", framer.size);
  });
  framer.size = Number(byId("size").value) || 512;
  for (const name of ["transport", "codec"]) {
    byId(name).value = flags[name] ?? load(name, "auto");
    byId(name).addEventListener("change", ({ target }) => {
      save(name, target.value);
      if (running) connect();
    });
  }
}

function applySwitch(name, on) {
  if (name === "flip") {
    framer.flip = on;
    camera.classList.toggle("flip", on);
  } else if (name === "square") framer.square = on;
  else if (name === "fill") document.body.classList.toggle("fill", on);
  else if (name === "show-camera") camera.classList.toggle("shown", on);
  else hud.show(on);
}

function applyFlags() {
  const force = (name, on) => {
    if (on === null) return;
    byId(name).checked = on;
    applySwitch(name, on);
  };
  force("show-hud", flags.debug);
  force("show-camera", flags.camera);
  if (flags.prompt !== null) byId("prompt-section").hidden = !flags.prompt;
  if (!flags.autoconnect) return;
  document.body.classList.add("kiosk");
  showPanel(flags.prompt === true);
  byId("welcome").hidden = true;
  start();
}

bindInput();
if (load("flip", null) === null) byId("flip").checked = mirrorsByNature(load("source", FRONT));
bindSwitches(applySwitch);
setUpTabs();
hideRestingPointer();
new Midi();
byId("fullscreen").addEventListener("click", toggleFullScreen);
byId("toggle").addEventListener("click", togglePanel);
bindKeys({
  f: toggleFullScreen,
  c: togglePanel,
  h: () => flick("show-hud"),
  m: () => flick("flip"),
  p: () => parameters.togglePassthrough(),
  x: () => prompts.fadeOver(),
  " ": () => cues.player.step(1),
  ArrowRight: () => cues.player.step(1),
  ArrowLeft: () => cues.player.step(-1),
});
navigator.mediaDevices?.addEventListener?.("devicechange", fillSources);
await fillSources();
state.start();
applyFlags();
