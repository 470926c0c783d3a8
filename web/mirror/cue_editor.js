// The cue list on the page: rows to edit, JSON to paste, files to open and save, and the buttons that play it.
import { byId, load, make, save } from "../common/dom.js";
import { CueError, MOST_CUES, formatCueList, parseCueList } from "./cue_list.js";
import { CuePlayer } from "./cue_player.js";

const EXAMPLE = {
  loop: true,
  cues: [
    { at: 0, fade: 2, prompts: [{ text: "a psychedelic landscape", weight: 1 }] },
    { at: 20, fade: 6, prompts: [{ text: "an oil painting of a stormy sea", weight: 1 }] },
    { at: 40, fade: 6, prompts: [{ text: "a marble statue in a museum", weight: 1 }] },
  ],
};

export class CueEditor {
  // send(cue) brings a cue on air.
  constructor(send) {
    this.problem = byId("cue-problem");
    this.audio = byId("audio");
    this.player = new CuePlayer(this.audio, send, () => this.#show());
    this.player.setList(this.#stored());
    byId("cue-loop").checked = this.player.list.loop;
    this.#drawRows();
    this.#listen();
  }

  #stored() {
    try {
      return parseCueList(JSON.stringify(load("cues", EXAMPLE)));
    } catch {
      return structuredClone(EXAMPLE);
    }
  }

  #listen() {
    const { player } = this;
    const click = (id, work) => byId(id).addEventListener("click", work);
    click("cue-go", () => player.step(1));
    click("cue-back", () => player.step(-1));
    click("cue-play", () => this.togglePlay());
    click("cue-stop", () => player.stop());
    click("cue-add", () => this.#add());
    click("cue-open", () => byId("cue-file").click());
    click("cue-save", () => this.#saveFile());
    click("cue-edit", () => this.#toggleSource());
    click("cue-apply", () => this.apply(byId("cue-json").value));
    click("cue-audio", () => byId("audio-file").click());
    byId("cue-loop").addEventListener("change", (event) => this.#change({ ...player.list, loop: event.target.checked }));
    byId("cue-file").addEventListener("change", async (event) => {
      const [file] = event.target.files;
      if (file) this.apply(await file.text());
      event.target.value = "";
    });
    byId("audio-file").addEventListener("change", (event) => this.#takeAudio(event.target.files[0]));
    this.audio.addEventListener("error", () => {
      this.problem.textContent = "This browser cannot play the audio file: the cues go by their own clock.";
    });
  }

  togglePlay() {
    if (this.player.playing) this.player.pause();
    else this.player.play().catch((error) => (this.problem.textContent = `The audio does not play: ${error.message}`));
  }

  // JSON text -> the list; a fault is shown and changes nothing.
  apply(text) {
    try {
      this.#change(parseCueList(text));
      this.problem.textContent = "";
      this.#drawRows();
    } catch (error) {
      if (!(error instanceof CueError)) throw error;
      this.problem.textContent = `The cue list was not taken: ${error.message}.`;
    }
  }

  #change(list) {
    this.player.setList(list);
    byId("cue-loop").checked = list.loop;
    byId("cue-json").value = formatCueList(list);
    save("cues", JSON.parse(formatCueList(list)));
  }

  #toggleSource() {
    const source = byId("cue-source");
    source.hidden = !source.hidden;
    byId("cue-edit").setAttribute("aria-expanded", !source.hidden);
    byId("cue-json").value = formatCueList(this.player.list);
  }

  #saveFile() {
    const url = URL.createObjectURL(new Blob([formatCueList(this.player.list)], { type: "application/json" }));
    make("a", { href: url, download: "cues.json" }).click();
    setTimeout(() => URL.revokeObjectURL(url), 1000);
  }

  #takeAudio(file) {
    if (this.audio.src) URL.revokeObjectURL(this.audio.src);
    if (!file) return;
    this.problem.textContent = "";
    this.player.stop();
    this.audio.src = URL.createObjectURL(file);
    byId("cue-audio-name").textContent = file.name;
  }

  #add() {
    const { cues } = this.player.list;
    if (cues.length >= MOST_CUES) return;
    const at = this.player.playing ? Math.round(this.player.seconds() * 10) / 10 : (cues.at(-1)?.at ?? -10) + 10;
    const text = byId("prompt-a").value.trim() || "a prompt";
    this.#replace([...cues, { at, fade: 2, prompts: [{ text, weight: 1 }] }]);
  }

  #replace(cues) {
    this.#change({ ...this.player.list, cues: [...cues].sort((a, b) => a.at - b.at) });
    this.#drawRows();
  }

  #drawRows() {
    byId("cue-rows").replaceChildren(...this.player.list.cues.map((cue, index) => this.#row(cue, index)));
    this.#show();
  }

  #row(cue, index) {
    const edit = (changes) => this.#replace(this.player.list.cues.map((c, i) => (i === index ? { ...c, ...changes } : c)));
    const number = (name, label, most) =>
      make("input", {
        type: "number", min: 0, max: most, step: 0.1, value: cue[name], "aria-label": `${label} of cue ${index + 1}, seconds`,
        onchange: (event) => event.target.checkValidity() && edit({ [name]: Number(event.target.value) }),
      });
    const text = make("input", {
      type: "text", class: "text", spellcheck: "false", value: cue.prompts.map((p) => p.text).join(" + "),
      "aria-label": `Prompt of cue ${index + 1}`, readonly: cue.prompts.length > 1,
      onchange: (event) => event.target.value.trim() && edit({ prompts: [{ text: event.target.value.trim(), weight: 1 }] }),
    });
    const jump = make("button", { type: "button", class: "jump", text: String(index + 1), title: "Go to this cue",
      "aria-label": `Go to cue ${index + 1}`, onclick: () => this.player.jump(index) });
    const remove = make("button", { type: "button", class: "remove quiet", text: "×", "aria-label": `Remove cue ${index + 1}`,
      onclick: () => this.#replace(this.player.list.cues.filter((_, i) => i !== index)) });
    return make("li", { class: "cue" },
      make("div", { class: "row" }, jump, text),
      make("div", { class: "row" }, make("span", { class: "unit", text: "at" }), number("at", "Time", 86400),
        make("span", { class: "unit", text: "s, fade" }), number("fade", "Crossfade", 600), make("span", { class: "unit", text: "s" }), remove));
  }

  #show() {
    const { player } = this;
    const seconds = player.seconds();
    byId("cue-clock").value = `${Math.floor(seconds / 60)}:${(seconds % 60).toFixed(1).padStart(4, "0")}`;
    byId("cue-play").setAttribute("aria-pressed", player.playing);
    byId("cue-play").textContent = player.playing ? "Pause" : "Play";
    [...byId("cue-rows").children].forEach((row, index) => row.classList.toggle("current", index === player.index));
  }
}
